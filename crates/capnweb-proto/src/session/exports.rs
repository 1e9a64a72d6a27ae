//! The export table: what the peer can name.

use hashbrown::HashSet;

use super::capability::{PipeId, PromiseId};
use super::table::SignedTable;
use crate::ProtocolError;

/// One entry.
#[derive(Debug)]
pub(super) enum Export<T> {
    /// A target, or with `sink` a writable stream.
    Target { target: T, refcount: u64, sink: bool },
    /// The result of a push or stream message, or a promise of ours. Holds a reference to the promise.
    Result {
        promise: PromiseId,
        pulled: bool,
        answered: bool,
        stream: bool,
    },
    /// The writable end of a stream the peer sends.
    Pipe(PipeId),
}

/// Ids are never used again: positive ones are counted by the peer's messages, negative ones by us.
#[derive(Debug)]
pub(super) struct Exports<T> {
    entries: SignedTable<Export<T>>,
    /// The id of the peer's next push, stream or pipe.
    next_positive: i64,
    next_negative: i64,
    /// Results that were pulled and not answered.
    unanswered: usize,
    /// Targets and pipes that were pulled: the second time does nothing.
    pulled: HashSet<i64>,
}

impl<T> Exports<T> {
    pub(super) fn new(main: T) -> Self {
        let main = Export::Target {
            target: main,
            refcount: 1,
            sink: false,
        };
        let mut entries = SignedTable::default();
        entries.insert(0, main);
        Self {
            entries,
            next_positive: 1,
            next_negative: -1,
            unanswered: 0,
            pulled: HashSet::new(),
        }
    }

    /// Puts a main object in the place of what there was.
    pub(super) fn set_main(&mut self, main: T) -> Option<Export<T>> {
        let main = Export::Target {
            target: main,
            refcount: 1,
            sink: false,
        };
        self.entries.insert(0, main)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    pub(super) fn get(&self, id: i64) -> Option<&Export<T>> {
        self.entries.get(id)
    }

    /// Takes the id of the message being handled.
    pub(super) fn reserve(&mut self) -> i64 {
        let id = self.next_positive;
        self.next_positive += 1;
        id
    }

    /// The result of a push, or of a stream message, which counts as pulled.
    pub(super) fn result(&mut self, id: i64, promise: PromiseId, stream: bool) {
        self.unanswered += usize::from(stream);
        self.entries.insert(
            id,
            Export::Result {
                promise,
                pulled: stream,
                answered: false,
                stream,
            },
        );
    }

    /// Exports a promise of ours: it is answered without being pulled.
    pub(super) fn promise(&mut self, promise: PromiseId) -> i64 {
        let id = self.fresh();
        self.unanswered += 1;
        self.entries.insert(
            id,
            Export::Result {
                promise,
                pulled: true,
                answered: false,
                stream: false,
            },
        );
        id
    }

    /// Marks a result as pulled. `false` when it was already.
    pub(super) fn pull(&mut self, id: i64) -> bool {
        match self.entries.get_mut(id) {
            Some(Export::Result { pulled, .. }) if !*pulled => {
                *pulled = true;
                self.unanswered += 1;
                true
            }
            _ => false,
        }
    }

    /// Marks a target or pipe as pulled. `false` when it was already.
    pub(super) fn pull_target(&mut self, id: i64) -> bool {
        self.pulled.insert(id)
    }

    /// Marks a result as answered: its promise, and whether it is a stream message's, which goes now. `None` when it is
    /// not due.
    pub(super) fn answer(&mut self, id: i64) -> Option<(PromiseId, bool)> {
        match self.entries.get_mut(id) {
            Some(Export::Result {
                promise,
                pulled: true,
                answered,
                stream,
            }) if !*answered => {
                *answered = true;
                self.unanswered -= 1;
                Some((*promise, *stream))
            }
            _ => None,
        }
    }

    pub(super) fn pipe(&mut self) -> PipeId {
        let id = self.reserve();
        self.entries.insert(id, Export::Pipe(PipeId(id)));
        PipeId(id)
    }

    pub(super) fn holds_pipe(&self, id: PipeId) -> bool {
        matches!(self.entries.get(id.0), Some(Export::Pipe(_)))
    }

    /// Exports a target under a fresh id, always: peers count an id they see twice only once.
    pub(super) fn target(&mut self, target: T, sink: bool) -> i64 {
        let id = self.fresh();
        self.entries.insert(
            id,
            Export::Target {
                target,
                refcount: 1,
                sink,
            },
        );
        id
    }

    fn fresh(&mut self) -> i64 {
        let id = self.next_negative;
        self.next_negative -= 1;
        id
    }

    pub(super) fn remove(&mut self, id: i64) -> Option<Export<T>> {
        let removed = self.entries.remove(id);
        self.pulled.remove(&id);
        if let Some(Export::Result {
            pulled: true,
            answered: false,
            ..
        }) = removed
        {
            self.unanswered -= 1;
        }
        removed
    }

    /// Gives back `count` references; the entry when that were all.
    pub(super) fn release(&mut self, id: i64, count: u64) -> Result<Option<Export<T>>, ProtocolError> {
        let held = match self
            .entries
            .get_mut(id)
            .ok_or_else(|| ProtocolError::NoSuchExport(id.to_string()))?
        {
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
        Ok(if *held == 0 { self.remove(id) } else { None })
    }

    /// Everything, at the end of the session.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.pulled.clear();
        self.unanswered = 0;
    }
}
