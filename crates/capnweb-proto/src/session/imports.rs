//! The import table: what we can name at the peer.

use std::collections::HashMap;

use super::capability::ImportId;
use super::promise::PromiseId;

#[derive(Debug)]
enum Import {
    /// Our call, or a promise the peer exported: settled once.
    Promise(PromiseId),
    /// A stub: how often the peer exported it and how many handles are left here.
    Stub { remote: u64, local: u64 },
}

#[derive(Debug)]
pub(super) struct Imports {
    entries: HashMap<ImportId, Import>,
    next: i64,
}

impl Imports {
    pub(super) fn new() -> Self {
        // The peer's main is never released.
        Self {
            entries: HashMap::from([(ImportId(0), Import::Stub { remote: 1, local: 1 })]),
            next: 1,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The id of our next push.
    pub(super) fn call(&mut self, promise: PromiseId) -> ImportId {
        let id = ImportId(self.next);
        self.next += 1;
        self.entries.insert(id, Import::Promise(promise));
        id
    }

    /// The peer exported a stub: one more handle. `false` when the id is a promise's.
    pub(super) fn stub(&mut self, id: ImportId) -> bool {
        match self
            .entries
            .entry(id)
            .or_insert(Import::Stub { remote: 0, local: 0 })
        {
            Import::Stub { remote, local } => {
                *remote += 1;
                *local += 1;
                true
            }
            Import::Promise(_) => false,
        }
    }

    /// One more handle of a stub that we hold already.
    pub(super) fn dup(&mut self, id: ImportId) {
        if let Some(Import::Stub { local, .. }) = self.entries.get_mut(&id) {
            *local += 1;
        }
    }

    /// The peer exported a promise. `false` when the id is in the table already.
    pub(super) fn promise(&mut self, id: ImportId, promise: PromiseId) -> bool {
        if self.entries.contains_key(&id) {
            return false;
        }
        self.entries.insert(id, Import::Promise(promise));
        true
    }

    /// Takes the entry of a promise that the peer settles.
    pub(super) fn settle(&mut self, id: ImportId) -> Option<PromiseId> {
        match self.entries.get(&id)? {
            Import::Promise(promise) => {
                let promise = *promise;
                self.entries.remove(&id);
                Some(promise)
            }
            Import::Stub { .. } => None,
        }
    }

    /// Drops one handle; the count to release when it was the last. Promises release themselves when they settle.
    pub(super) fn release(&mut self, id: ImportId) -> Option<u64> {
        let Some(Import::Stub { remote, local }) = self.entries.get_mut(&id) else {
            return None;
        };
        *local = local.saturating_sub(1);
        if *local > 0 || id == ImportId(0) {
            return None;
        }
        let remote = *remote;
        self.entries.remove(&id);
        Some(remote)
    }
}
