//! The lock beside a token file, as cloudflared writes and reads it: a file made exclusively, with the holder's process
//! id and start time in JSON.
//!
//! Source: cloudflared 2026.8, `token/`: waiters poll, give up after ten minutes, and take a lock for stale when its
//! holder is gone, started at another time, or the file is older than that.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
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
/// Nothing longer is a lock.
const LONGEST: u64 = 1024;

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Holder {
    pid: u32,
    /// Milliseconds since 1970.
    start_time: u64,
}

/// A lock that is held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    file: File,
}

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
            Ok(()) => {
                return Ok(Some(Self {
                    path: path.to_owned(),
                    file: whole.into_file(),
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        remove_stale(path)?;
        Ok(None)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Waiters hold it no longer than a look takes. Should the lock have been taken over, it is another's by now.
        if self.file.lock().is_ok() && is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a lock whose holder is gone.
///
/// Of several that see it, one removes it and nobody what was made in its place: who removes has locked the very file (as
/// `flock` does), and looked again whether the name still means it.
fn remove_stale(path: &Path) -> io::Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !is_stale(&file) {
        return Ok(());
    }
    match file.try_lock() {
        Ok(()) if is_at(&file, path) => fs::remove_file(path),
        Ok(()) | Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => {
            let text = format!(
                "{error}; the holder of {} is gone: delete that file",
                path.display()
            );
            Err(io::Error::new(error.kind(), text))
        }
    }
}

/// Whether the name still leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(this), Ok(there)) => (this.dev(), this.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// `file` with something after its name.
pub(crate) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn is_stale(file: &File) -> bool {
    let old = file
        .metadata()
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|at| at.elapsed().ok())
        .is_some_and(|age| age > STALE);
    let mut text = Vec::new();
    let holder = file
        .take(LONGEST)
        .read_to_end(&mut text)
        .ok()
        .and_then(|_| serde_json::from_slice::<Holder>(&text).ok());
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
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;
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

    #[test]
    fn who_comes_late_removes_nothing_that_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.lock");
        fs::write(&path, r#"{"pid":4294967295,"start_time":0}"#).unwrap();
        let late = File::open(&path).unwrap();
        assert!(is_stale(&late));
        remove_stale(&path).unwrap();
        let lock = Lock::try_take(&path).unwrap().expect("free now");
        assert!(!is_at(&late, &path));
        remove_stale(&path).unwrap();
        assert!(Lock::try_take(&path).unwrap().is_none(), "still held");

        // Taken over from it, as from one that is too old.
        fs::remove_file(&path).unwrap();
        let next = Lock::try_take(&path).unwrap().expect("free again");
        drop(lock);
        assert!(path.exists(), "it was no longer its own");
        drop(next);
        assert!(!path.exists());
    }

    #[test]
    fn many_waiters_over_a_stale_lock() {
        const WAITERS: usize = 8;
        for _ in 0..200 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("t.lock");
            fs::write(&path, r#"{"pid":4294967295,"start_time":0}"#).unwrap();
            let (inside, turns) = (AtomicUsize::new(0), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for _ in 0..WAITERS {
                    scope.spawn(|| {
                        let lock = loop {
                            match Lock::try_take(&path).unwrap() {
                                Some(lock) => break lock,
                                None => std::thread::yield_now(),
                            }
                        };
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, SeqCst);
                        drop(lock);
                        turns.fetch_add(1, SeqCst);
                    });
                }
            });
            assert_eq!(turns.into_inner(), WAITERS);
            assert!(!path.exists());
        }
    }
}
