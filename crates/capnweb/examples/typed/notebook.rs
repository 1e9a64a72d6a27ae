//! The server's side: plain implementations of the traits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use capnweb::{Callback, Error, Readable, ReadableStream, Writable};
use tokio::io::AsyncReadExt;

use crate::api::{Change, Note, Notebook, Refused, Shelf, ShelfStub};

#[derive(Default)]
pub(crate) struct Shelves(Mutex<BTreeMap<String, Arc<OneShelf>>>);

impl Notebook for Shelves {
    async fn open_shelf(&self, owner: String) -> Result<ShelfStub, Error> {
        if owner.is_empty() {
            return Err(Error::new("RangeError", "an owner has a name"));
        }
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(ShelfStub::shared(Arc::clone(shelves.entry(owner).or_default())))
    }

    fn version(&self) -> String {
        "1".into()
    }
}

#[derive(Default)]
pub(crate) struct OneShelf(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    notes: Vec<Note>,
    watchers: Vec<Callback<fn(Change)>>,
}

impl Notes {
    fn tell(&self, change: &Change) {
        for watcher in &self.watchers {
            // Not awaited: nobody here wants to know what it returns.
            drop(watcher.call(change));
        }
    }

    fn add(&mut self, note: Note) -> u32 {
        let id = self.notes.len() as u32;
        self.notes.push(note.clone());
        self.tell(&Change::Added { id, note });
        id
    }
}

impl OneShelf {
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf for OneShelf {
    fn add(&self, note: Note) -> u32 {
        self.lock().add(note)
    }

    fn note(&self, id: u32) -> Result<Note, Refused> {
        let found = self.lock().notes.get(id as usize).cloned();
        found.ok_or(Refused::NoSuchNote { id })
    }

    fn ids(&self) -> Vec<u32> {
        (0..self.lock().notes.len() as u32).collect()
    }

    fn watch(&self, on_change: Callback<fn(Change)>) {
        self.lock().watchers.push(on_change);
    }

    async fn copy_from(&self, other: ShelfStub) -> Result<u32, Refused> {
        // One round trip for any number of notes.
        let notes = other.ids().map(|id| other.note(id)).await?;
        let mut own = self.lock();
        let copied = notes.len() as u32;
        for note in notes {
            own.add(note);
        }
        Ok(copied)
    }

    fn export(&self) -> Readable<Note> {
        let notes = self.lock().notes.clone();
        Readable::new(futures_util::stream::iter(notes.into_iter().map(Ok::<_, Error>)))
    }

    fn import(&self) -> Writable<Note> {
        let notes = Arc::clone(&self.0);
        Writable::new(futures_util::sink::unfold(notes, async |notes, note| {
            notes.lock().unwrap_or_else(PoisonError::into_inner).add(note);
            Ok::<_, Error>(notes)
        }))
    }

    async fn measure(&self, attachment: ReadableStream) -> Result<u64, Refused> {
        let mut bytes = attachment.into_async_read();
        let (mut total, mut buffer) = (0, vec![0; 8192]);
        loop {
            let read = bytes.read(&mut buffer).await;
            match read.map_err(|error| Error::new("Error", error.to_string()))? {
                0 => return Ok(total),
                more => total += more as u64,
            }
        }
    }

    fn clear(&self) -> u64 {
        let mut own = self.lock();
        own.tell(&Change::Cleared);
        std::mem::take(&mut own.notes).len() as u64
    }
}
