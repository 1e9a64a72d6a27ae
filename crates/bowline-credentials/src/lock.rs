//! The lock beside a token file, as cloudflared writes and reads it: a file made exclusively, with the holder's process
//! id and start time in JSON.
//!
//! Source: cloudflared 2026.8, `token/`: waiters poll, give up after ten minutes, and take a lock for stale when its
//! holder is gone, started at another time, or the file is older than that.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// An older lock is nobody's.
const STALE: Duration = Duration::from_secs(600);
/// How often a waiter looks.
const POLL: Duration = Duration::from_millis(200);
/// Clocks of two programs may tell one start time differently by this much.
const SAME_START_MS: u64 = 1000;

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Holder {
    pid: u32,
    /// Milliseconds since 1970.
    start_time: u64,
}

/// A lock that is held until dropped.
#[derive(Debug)]
pub(crate) struct Lock(PathBuf);

impl Lock {
    /// Waits for the lock of `file`, at most until `deadline`. Nothing is left behind when the future is dropped.
    pub(crate) async fn take(file: &Path, deadline: Instant) -> io::Result<Self> {
        let path = with_suffix(file, ".lock");
        loop {
            if let Some(lock) = Self::try_take(&path)? {
                return Ok(lock);
            }
            if Instant::now() + POLL > deadline {
                let text = format!("another process holds {}", path.display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let holder = Holder {
            pid: std::process::id(),
            start_time: start_time(std::process::id()).unwrap_or_default(),
        };
        // Written first and linked then: nobody ever reads half a lock.
        let mut whole = tempfile::NamedTempFile::new_in(folder)?;
        whole.write_all(&serde_json::to_vec(&holder)?)?;
        match fs::hard_link(whole.path(), path) {
            Ok(()) => return Ok(Some(Self(path.to_owned()))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        if is_stale(path) {
            // Moved away rather than removed: should another waiter have been faster, what is moved is its lock, which
            // then shows and goes back.
            let aside = folder.join(format!(
                ".stale-{}-{:08x}",
                std::process::id(),
                rand::random::<u32>()
            ));
            if fs::rename(path, &aside).is_ok() {
                if !is_stale(&aside) {
                    let _ = fs::hard_link(&aside, path);
                }
                let _ = fs::remove_file(&aside);
            }
        }
        Ok(None)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// `file` with something after its name.
pub(crate) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn is_stale(path: &Path) -> bool {
    let Ok(metadata) = fs::metadata(path) else {
        return false;
    };
    let old = metadata
        .modified()
        .ok()
        .and_then(|at| at.elapsed().ok())
        .is_some_and(|age| age > STALE);
    let holder = fs::read(path)
        .ok()
        .and_then(|text| serde_json::from_slice::<Holder>(&text).ok());
    match holder {
        // Another program may still be writing it.
        None => old,
        Some(holder) => old || !runs(&holder),
    }
}

/// Whether the very process that made the lock still runs.
fn runs(holder: &Holder) -> bool {
    match start_time(holder.pid) {
        Some(start) => start.abs_diff(holder.start_time) <= SAME_START_MS,
        None => !can_tell(),
    }
}

/// Whether this system tells start times at all.
fn can_tell() -> bool {
    cfg!(target_os = "linux")
}

/// When a process started, in milliseconds since 1970.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Fields after the name, which is in parentheses and may hold anything; the start is field 22 of all.
    let ticks: u64 = stat
        .rsplit_once(") ")?
        .1
        .split_ascii_whitespace()
        .nth(19)?
        .parse()
        .ok()?;
    let boot: u64 = fs::read_to_string("/proc/stat")
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(boot * 1000 + ticks * 1000 / per_second)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test]
    async fn one_holder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a-token");
        let lock = Lock::take(&file, soon()).await.unwrap();
        let holder: Holder =
            serde_json::from_slice(&fs::read(folder.path().join("a-token.lock")).unwrap()).unwrap();
        assert_eq!(holder.pid, std::process::id());
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_millis() as u64;
        assert!(
            holder.start_time <= now + 2000 && holder.start_time + 600_000 > now,
            "{holder:?}"
        );
        let error = Lock::take(&file, soon()).await.unwrap_err();
        assert!(error.to_string().contains("another process holds"), "{error}");
        drop(lock);
        Lock::take(&file, soon()).await.unwrap();
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            0,
            "nothing is left behind"
        );
    }

    #[tokio::test]
    async fn stale_locks_are_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let (file, lock) = (folder.path().join("t"), folder.path().join("t.lock"));
        let mine = start_time(std::process::id()).unwrap();
        let pid = std::process::id();
        for (text, age, stale) in [
            (r#"{"pid":4294967295,"start_time":0}"#.to_owned(), 0, true),
            (
                format!(r#"{{"pid":{pid},"start_time":{}}}"#, mine - 1500),
                0,
                true,
            ),
            (
                format!(r#"{{"pid":{pid},"start_time":{}}}"#, mine + 900),
                0,
                false,
            ),
            (format!(r#"{{"pid":{pid},"start_time":{mine}}}"#), 601, true),
            (String::new(), 0, false),
            ("{".to_owned(), 601, true),
        ] {
            fs::write(&lock, &text).unwrap();
            let at = SystemTime::now() - Duration::from_secs(age);
            File::options()
                .write(true)
                .open(&lock)
                .unwrap()
                .set_modified(at)
                .unwrap();
            assert_eq!(Lock::take(&file, soon()).await.is_ok(), stale, "{text} {age}");
            let _ = fs::remove_file(&lock);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_waiters_over_a_stale_lock() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t");
        fs::write(
            folder.path().join("t.lock"),
            r#"{"pid":4294967295,"start_time":0}"#,
        )
        .unwrap();
        let inside = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let tasks = (0..8).map(|_| {
            let (file, inside) = (file.clone(), inside.clone());
            tokio::spawn(async move {
                let lock = Lock::take(&file, Instant::now() + Duration::from_secs(30))
                    .await
                    .unwrap();
                assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                drop(lock);
            })
        });
        for task in futures_util::future::join_all(tasks).await {
            task.unwrap();
        }
    }
}
