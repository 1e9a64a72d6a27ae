//! Room that is kept for taking things away: on a full disk SQLite could not even write that something is gone.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rand::TryRng;
use rand::rngs::SysRng;

/// An error that may be that of a full disk.
pub trait Full {
    /// Whether it is.
    fn is_full(&self) -> bool;
}

/// Several times what a deletion writes to SQLite's log, that of a repository with a hundred tokens included.
const ROOM: u64 = 1 << 20;
const CHUNK: usize = 64 * 1024;

/// A file that is there to be deleted.
#[derive(Debug)]
pub struct Reserve(PathBuf);

impl Reserve {
    /// The reserve in a folder on the catalog's disk, filled as far as there is room.
    pub fn open(folder: &Path) -> Self {
        let reserve = Self(folder.join("reserve"));
        reserve.fill();
        reserve
    }

    /// Runs a change that takes something away; once more, with the room of the reserve, when the disk is full.
    ///
    /// Whoever else writes may take that room first. Then the change fails as it did, and can be tried again.
    pub fn run<T, E: Full>(&self, change: impl Fn() -> Result<T, E>) -> Result<T, E> {
        match change() {
            Err(full) if full.is_full() => {
                tracing::warn!("the store is full: the room that is kept for deletions is used");
                if let Err(error) = std::fs::remove_file(&self.0)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    return Err(full);
                }
                change()
            }
            outcome => outcome,
        }
    }

    /// Takes the room again after something was deleted; as much as there is.
    pub fn fill(&self) {
        if let Err(error) = self.try_fill()
            && error.kind() != io::ErrorKind::StorageFull
        {
            tracing::warn!(file = %self.0.display(), error = %error, "no room could be reserved for deletions");
        }
    }

    fn try_fill(&self) -> io::Result<()> {
        let mut file = self.file()?;
        let mut left = ROOM.saturating_sub(file.metadata()?.len());
        // Nothing that a file system could compress.
        let mut noise = [0; CHUNK];
        if left > 0 {
            SysRng.try_fill_bytes(&mut noise).map_err(io::Error::other)?;
        }
        while left > 0 {
            let part = left.min(CHUNK as u64) as usize;
            file.write_all(&noise[..part])?;
            left -= part as u64;
        }
        Ok(())
    }

    fn file(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).open(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{Full, ROOM, Reserve};

    #[derive(Debug)]
    struct NoRoom;

    impl Full for NoRoom {
        fn is_full(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_full_disk_gives_the_room_up_and_takes_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let size = || std::fs::metadata(folder.path().join("reserve")).map(|metadata| metadata.len());
        let reserve = Reserve::open(folder.path());
        assert_eq!(size().unwrap(), ROOM);
        let calls = Cell::new(0);
        let full_while_reserved = || {
            calls.set(calls.get() + 1);
            match size() {
                Ok(_) => Err(NoRoom),
                Err(_) => Ok(7),
            }
        };
        assert_eq!(reserve.run(full_while_reserved).unwrap(), 7);
        assert_eq!(calls.get(), 2);
        reserve.fill();
        assert_eq!(size().unwrap(), ROOM);
        // What is full all the same says so, and a reserve that is gone is no other failure.
        for _ in 0..2 {
            let never = || Err::<(), _>(NoRoom);
            assert!(reserve.run(never).is_err());
        }
        // Half of it was taken when there was no more room.
        std::fs::write(folder.path().join("reserve"), [0; 1000]).unwrap();
        reserve.fill();
        assert_eq!(size().unwrap(), ROOM);
    }
}
