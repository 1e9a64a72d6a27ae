//! The import table: what we can name at the peer.

use super::capability::PromiseId;
use super::flow::Sent;
use super::table::SignedTable;

#[derive(Debug)]
pub(super) enum Import {
    /// Our call: settled once.
    Call { promise: PromiseId, pulled: bool },
    /// A promise the peer exported: it settles unasked.
    Promise { promise: PromiseId },
    /// A stub, a writable of the peer, or a pipe of ours: how often the peer exported it and how many handles are left
    /// here.
    Stub { remote: u64, local: u64 },
    /// A `stream` message that waits for its acknowledgement.
    Stream { writer: i64, sent: Sent },
}

#[derive(Debug)]
pub(super) struct Imports {
    entries: SignedTable<Import>,
    next: i64,
}

impl Imports {
    pub(super) fn new() -> Self {
        // The peer's main is never released.
        let mut entries = SignedTable::default();
        entries.insert(0, Import::Stub { remote: 1, local: 1 });
        Self { entries, next: 1 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, id: i64) -> Option<&Import> {
        self.entries.get(id)
    }

    /// The id of our next push, stream or pipe message.
    pub(super) fn add(&mut self, import: Import) -> i64 {
        let id = self.next;
        self.next += 1;
        self.entries.insert(id, import);
        id
    }

    /// The peer exported a stub: one more handle. `false` when the id is something else's.
    pub(super) fn stub(&mut self, id: i64) -> bool {
        match self.entries.get_mut(id) {
            Some(Import::Stub { remote, local }) => {
                *remote += 1;
                *local += 1;
                true
            }
            Some(_) => false,
            None => {
                self.entries.insert(id, Import::Stub { remote: 1, local: 1 });
                true
            }
        }
    }

    /// One more handle of a stub that we hold already.
    pub(super) fn dup(&mut self, id: i64) {
        if let Some(Import::Stub { local, .. }) = self.entries.get_mut(id) {
            *local += 1;
        }
    }

    /// The peer exported a promise. `false` when the id is in the table already.
    pub(super) fn promise(&mut self, id: i64, promise: PromiseId) -> bool {
        if self.entries.get(id).is_some() {
            return false;
        }
        self.entries.insert(id, Import::Promise { promise });
        true
    }

    /// Marks a call as pulled. `false` when it was, or is no call.
    pub(super) fn pull(&mut self, id: i64) -> bool {
        match self.entries.get_mut(id) {
            Some(Import::Call { pulled, .. }) => !std::mem::replace(pulled, true),
            _ => false,
        }
    }

    /// Takes the entry of something that the peer settles.
    pub(super) fn settle(&mut self, id: i64) -> Option<Import> {
        match self.entries.get(id)? {
            Import::Stub { .. } => None,
            _ => self.entries.remove(id),
        }
    }

    /// Drops one handle of a stub; the count to release when it was the last.
    pub(super) fn release(&mut self, id: i64) -> Option<u64> {
        let Some(Import::Stub { remote, local }) = self.entries.get_mut(id) else {
            return None;
        };
        *local = local.saturating_sub(1);
        if *local > 0 || id == 0 {
            return None;
        }
        let remote = *remote;
        self.entries.remove(id);
        Some(remote)
    }

    /// Everything, at the end of the session.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}
