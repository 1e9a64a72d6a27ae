//! The export table: what the peer can name.

use std::collections::HashMap;

use super::capability::PipeId;
use super::promise::PromiseId;
use crate::ProtocolError;

/// One entry.
#[derive(Debug)]
pub(super) enum Export<T> {
    /// A target.
    Target { target: T, refcount: u64 },
    /// The result of a push or stream message.
    Result {
        promise: PromiseId,
        pulled: bool,
        answered: bool,
        stream: bool,
    },
    /// The writable end of a stream the peer sends.
    Pipe(PipeId),
}

impl<T> Export<T> {
    /// A push's result, or a stream message's, which counts as pulled.
    pub(super) fn result(promise: PromiseId, stream: bool) -> Self {
        Self::Result {
            promise,
            pulled: stream,
            answered: false,
            stream,
        }
    }
}

/// Ids are never used again: positive ones are counted by the peer's messages, negative ones by us.
#[derive(Debug)]
pub(super) struct Exports<T> {
    entries: HashMap<i64, Export<T>>,
    /// The id of the peer's next push, stream or pipe.
    next_positive: i64,
    next_negative: i64,
}

impl<T> Exports<T> {
    pub(super) fn new(main: T) -> Self {
        let entries = HashMap::from([(
            0,
            Export::Target {
                target: main,
                refcount: 1,
            },
        )]);
        Self {
            entries,
            next_positive: 1,
            next_negative: -1,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, id: i64) -> Option<&Export<T>> {
        self.entries.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: i64) -> Option<&mut Export<T>> {
        self.entries.get_mut(&id)
    }

    /// Takes the id of the message being handled.
    pub(super) fn reserve(&mut self) -> i64 {
        let id = self.next_positive;
        self.next_positive += 1;
        id
    }

    pub(super) fn insert(&mut self, id: i64, export: Export<T>) {
        self.entries.insert(id, export);
    }

    pub(super) fn pipe(&mut self) -> PipeId {
        let id = self.reserve();
        self.entries.insert(id, Export::Pipe(PipeId(id)));
        PipeId(id)
    }

    pub(super) fn holds_pipe(&self, id: PipeId) -> bool {
        matches!(self.entries.get(&id.0), Some(Export::Pipe(_)))
    }

    /// Exports a target under a fresh id, always: peers count an id they see twice only once.
    pub(super) fn target(&mut self, target: T) -> i64 {
        let id = self.next_negative;
        self.next_negative -= 1;
        self.entries.insert(id, Export::Target { target, refcount: 1 });
        id
    }

    pub(super) fn remove(&mut self, id: i64) {
        self.entries.remove(&id);
    }

    /// Gives back `count` references; the entry when that were all.
    pub(super) fn release(&mut self, id: i64, count: u64) -> Result<Option<Export<T>>, ProtocolError> {
        let held = match self.entries.get_mut(&id).ok_or(ProtocolError::NoSuchExport(id))? {
            Export::Target { refcount, .. } => refcount,
            // Results and pipes are named by exactly one import.
            _ => &mut 1,
        };
        if count > *held {
            return Err(ProtocolError::NegativeRefcount {
                held: *held,
                released: count,
            });
        }
        *held -= count;
        Ok(if *held == 0 {
            self.entries.remove(&id)
        } else {
            None
        })
    }
}
