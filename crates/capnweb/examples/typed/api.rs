//! What both sides know.

use capnweb::{Callback, Error, Readable, ReadableStream, Writable, interface};
use serde::{Deserialize, Serialize};

/// A note.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) title: String,
    pub(crate) tags: Vec<String>,
    pub(crate) stars: Option<u8>,
}

/// What happened on a shelf.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(crate) enum Change {
    /// A note is new.
    Added {
        /// Its number.
        id: u32,
        /// The note.
        note: Note,
    },
    /// All are gone.
    Cleared,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// It does not exist.
    #[error("there is no note {id}")]
    NoSuchNote {
        /// What was asked for.
        id: u32,
    },
    /// Whatever else went wrong, on the way too.
    #[error(transparent)]
    Rpc(Error),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoSuchNote { id } => {
                Self::new("NoSuchNote", format!("there is no note {id}")).with("id", &id)
            }
            Refused::Rpc(error) => error,
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match (error.name(), error.prop("id")) {
            ("NoSuchNote", Some(id)) => Self::NoSuchNote { id },
            _ => Self::Rpc(error),
        }
    }
}

/// The main object.
#[interface]
pub(crate) trait Notebook {
    /// Opens somebody's shelf.
    async fn open_shelf(&self, owner: String) -> Result<ShelfStub, Error>;

    /// What the server is.
    #[rpc(get)]
    fn version(&self) -> String;
}

/// One person's notes.
#[interface]
pub(crate) trait Shelf {
    /// Adds a note: its number.
    fn add(&self, note: Note) -> u32;

    /// One note.
    fn note(&self, id: u32) -> Result<Note, Refused>;

    /// All numbers.
    fn ids(&self) -> Vec<u32>;

    /// Calls for every change from now on.
    fn watch(&self, on_change: Callback<fn(Change)>);

    /// Takes everything over from another shelf, wherever that is.
    async fn copy_from(&self, other: ShelfStub) -> Result<u32, Refused>;

    /// All notes, one by one.
    fn export(&self) -> Readable<Note>;

    /// Takes notes, one by one.
    fn import(&self) -> Writable<Note>;

    /// Counts the bytes of an attachment.
    async fn measure(&self, attachment: ReadableStream) -> Result<u64, Refused>;

    /// Throws everything away: how many there were.
    #[rpc(name = "throwAllAway")]
    fn clear(&self) -> u64;
}
