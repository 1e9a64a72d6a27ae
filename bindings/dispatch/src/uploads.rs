//! Uploaded Workers, kept in the state folder.
//!
//! ```text
//! <state>/dispatch/<namespace>/<worker>/current      names the version in use
//!                                      /<version>/   a project: a wrangler configuration and modules
//! ```
//!
//! A version is a folder of its own, so that a Worker that runs is not changed under its feet, and a call after an upload
//! starts another.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The file that names the version in use.
const CURRENT: &str = "current";

/// The uploaded Workers of every namespace of a state folder. Cheap to clone. All methods block for some file operations.
#[derive(Debug, Clone)]
pub struct Uploads {
    folder: PathBuf,
    /// Held while anything is changed.
    changing: Arc<Mutex<()>>,
}

impl Uploads {
    /// Those of a state folder, which may have none.
    pub fn new(state: &Path) -> Self {
        Self {
            folder: state.join("dispatch"),
            changing: Arc::default(),
        }
    }

    /// Whether a namespace was made.
    pub fn has(&self, namespace: &str) -> bool {
        crate::is_name(namespace) && self.folder.join(namespace).is_dir()
    }

    /// The namespaces, by name.
    ///
    /// # Errors
    /// The file system's.
    pub fn namespaces(&self) -> io::Result<Vec<String>> {
        names(&self.folder)
    }

    /// Makes a namespace. `false`: it is there already.
    ///
    /// # Errors
    /// `InvalidInput` for what is no name; the file system's.
    pub fn create(&self, namespace: &str) -> io::Result<bool> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.folder.join(checked(namespace)?);
        std::fs::create_dir_all(&self.folder)?;
        match std::fs::create_dir(folder) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a namespace and its Workers. `false`: there is none.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove(&self, namespace: &str) -> io::Result<bool> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.has(namespace) && {
            std::fs::remove_dir_all(self.folder.join(namespace))?;
            true
        })
    }

    /// The Workers of a namespace, by name.
    ///
    /// # Errors
    /// The file system's.
    pub fn workers(&self, namespace: &str) -> io::Result<Vec<String>> {
        let mut workers = names(&self.folder.join(checked(namespace)?))?;
        workers.retain(|worker| self.find(namespace, worker).is_some());
        Ok(workers)
    }

    /// The project of a Worker's version in use.
    pub fn find(&self, namespace: &str, worker: &str) -> Option<PathBuf> {
        if !crate::is_name(namespace) || !crate::is_name(worker) {
            return None;
        }
        let folder = self.folder.join(namespace).join(worker);
        let version = std::fs::read_to_string(folder.join(CURRENT)).ok()?;
        crate::is_name(&version).then(|| folder.join(version))
    }

    /// Puts a version in use, once `write` has written its project into the folder that it is given. The version before
    /// stays, for who is about to start it; those before that one go.
    ///
    /// # Errors
    /// `InvalidInput` for what is no name; `NotFound` without the namespace; the file system's; those of `write`.
    pub fn put(
        &self,
        namespace: &str,
        worker: &str,
        version: &str,
        write: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.has(namespace) {
            return Err(ErrorKind::NotFound.into());
        }
        let before = self.find(namespace, worker);
        let folder = self.folder.join(namespace).join(checked(worker)?);
        let project = folder.join(checked(version)?);
        std::fs::create_dir_all(&project)?;
        if let Err(error) = write(&project) {
            // Nobody looks for it; what is left goes with the next upload.
            let _ = std::fs::remove_dir_all(&project);
            return Err(error);
        }
        let next = folder.join(format!("{CURRENT}.next"));
        std::fs::write(&next, version)?;
        std::fs::File::open(&next)?.sync_all()?;
        std::fs::rename(next, folder.join(CURRENT))?;
        for entry in std::fs::read_dir(&folder)?.flatten() {
            let path = entry.path();
            if path.is_dir() && path != project && Some(&path) != before.as_ref() {
                let _ = std::fs::remove_dir_all(path);
            }
        }
        Ok(())
    }

    /// Removes a Worker. `false`: there is none.
    ///
    /// # Errors
    /// The file system's.
    pub fn delete(&self, namespace: &str, worker: &str) -> io::Result<bool> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.find(namespace, worker).is_some() && {
            std::fs::remove_dir_all(self.folder.join(namespace).join(worker))?;
            true
        })
    }
}

fn checked(name: &str) -> io::Result<&str> {
    if crate::is_name(name) {
        return Ok(name);
    }
    let text = format!("\"{name}\" is no name: 1 to 63 letters, digits, `-` and `_` are");
    Err(io::Error::new(ErrorKind::InvalidInput, text))
}

/// Names of the folders in a folder, which may be missing.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};

    use super::Uploads;

    #[test]
    fn versions_follow_each_other() {
        let state = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(state.path());
        assert!(uploads.namespaces().unwrap().is_empty());
        let put = |version: &str| {
            uploads.put("n", "w", version, |folder| {
                std::fs::write(folder.join("text"), version)
            })
        };
        assert_eq!(put("v1").unwrap_err().kind(), ErrorKind::NotFound);
        assert!(uploads.create("n").unwrap() && !uploads.create("n").unwrap());
        for version in ["v1", "v2", "v3"] {
            put(version).unwrap();
            let project = uploads.find("n", "w").unwrap();
            assert_eq!(std::fs::read_to_string(project.join("text")).unwrap(), version);
        }
        let kept = |version: &str| state.path().join("dispatch/n/w").join(version).exists();
        assert!(!kept("v1") && kept("v2"), "the version before the last is kept");
        // What cannot be written changes nothing.
        let failed = uploads.put("n", "w", "v4", |_| Err(io::Error::other("full")));
        assert_eq!(failed.unwrap_err().to_string(), "full");
        assert!(uploads.find("n", "w").unwrap().ends_with("v3") && !kept("v4"));
        let failed = uploads.put("n", "half", "v1", |_| Err(io::Error::other("full")));
        assert!(failed.is_err());
        assert_eq!(uploads.workers("n").unwrap(), ["w"]);
        assert!(uploads.delete("n", "w").unwrap() && !uploads.delete("n", "w").unwrap());
        assert!(uploads.remove("n").unwrap() && !uploads.remove("n").unwrap());
    }

    #[test]
    fn names_lead_nowhere_else() {
        let state = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(state.path());
        uploads.create("n").unwrap();
        for name in ["", ".", "..", "../n", "a/b", "/etc", "a\0", &"x".repeat(64)] {
            assert_eq!(
                uploads.create(name).unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{name}"
            );
            let put = uploads.put("n", name, "v", |_| Ok(()));
            assert_eq!(put.unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
            assert_eq!(uploads.find("n", name), None);
            assert!(!uploads.has(name) && !uploads.remove(name).unwrap());
        }
        // A pointer that somebody tampered with.
        uploads.put("n", "w", "v", |_| Ok(())).unwrap();
        std::fs::write(state.path().join("dispatch/n/w/current"), "../..").unwrap();
        assert_eq!(uploads.find("n", "w"), None);
    }
}
