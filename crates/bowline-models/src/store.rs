//! Where models lie, and whether they are what they should be.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::Model;

/// A folder of models.
#[derive(Debug, Clone)]
pub struct ModelStore(PathBuf);

/// What there is of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// All of it, as pinned.
    Here,
    /// Nothing.
    Absent,
    /// Something else than there should be: the file and what is wrong.
    Damaged(String),
}

/// The store could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}", .path.display())]
pub struct StoreError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl StoreError {
    pub(crate) fn new(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self { what, path, source }
    }
}

impl ModelStore {
    /// The models in `<cache>/models`. Creates nothing.
    pub fn in_cache(cache: &Path) -> Self {
        Self(cache.join("models"))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Where a model's files are, or would be.
    pub fn path(&self, model: &Model) -> PathBuf {
        self.0.join(model.name)
    }

    /// Whether a model's files are there, without reading them.
    pub fn has(&self, model: &Model) -> bool {
        let folder = self.path(model);
        model.files.iter().all(|file| folder.join(file.name).is_file())
    }

    /// Reads all of a model's files and compares them with what is pinned.
    pub fn check(&self, model: &Model) -> Result<State, StoreError> {
        if !self.path(model).exists() {
            return Ok(State::Absent);
        }
        for file in model.files {
            let path = self.path(model).join(file.name);
            if !path.is_file() {
                return Ok(State::Damaged(format!("{} is missing", path.display())));
            }
            let found = hash(&path)?;
            if found != file.sha256 {
                return Ok(State::Damaged(format!(
                    "{} has the SHA-256 {found} instead of {}",
                    path.display(),
                    file.sha256
                )));
            }
        }
        Ok(State::Here)
    }

    /// Takes a model's files over from `folder`, a copy on the same file system that was checked. Whoever looks sees all
    /// of them or none.
    pub(crate) fn adopt(&self, model: &Model, folder: &Path) -> Result<(), StoreError> {
        let place = self.path(model);
        if place.exists() {
            fs::remove_dir_all(&place).map_err(StoreError::new("remove", &place))?;
        }
        fs::rename(folder, &place).map_err(StoreError::new("move a model to", &place))
    }
}

/// SHA-256 of a file, in hex.
pub(crate) fn hash(path: &Path) -> Result<String, StoreError> {
    let mut file = fs::File::open(path).map_err(StoreError::new("open", path))?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut chunk).map_err(StoreError::new("read", path))? {
            0 => break,
            read => hash.update(&chunk[..read]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
