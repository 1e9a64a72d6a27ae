//! A snapshot that is read again when something changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};

use crate::{AccessStore, Snapshot, StoreError};

/// The newest snapshot of a store.
#[derive(Debug)]
pub struct Watched {
    store: AccessStore,
    newest: ArcSwap<Snapshot>,
    /// What is in memory is known to be old, or the last reading failed.
    stale: AtomicBool,
    reading: Mutex<()>,
    told: watch::Sender<()>,
}

impl Watched {
    /// Reads the store for the first time.
    pub async fn new(store: AccessStore) -> Result<Self, StoreError> {
        // Asked before reading: what changes in between is seen later.
        store.may_have_changed();
        let snapshot = store.snapshot().await?;
        Ok(Self {
            store,
            newest: ArcSwap::from_pointee(snapshot),
            stale: AtomicBool::new(false),
            reading: Mutex::new(()),
            told: watch::Sender::new(()),
        })
    }

    /// The store behind it.
    pub fn store(&self) -> &AccessStore {
        &self.store
    }

    /// The state as it is now. Without a change this is a look at a counter; after one, whoever comes first reads the
    /// store and the others wait for it. Cancel safe: what was not read is read by the next.
    pub async fn current(&self) -> Result<Arc<Snapshot>, StoreError> {
        match self.unchanged() {
            Some(snapshot) => Ok(snapshot),
            None => self.read_again().await,
        }
    }

    /// The state, if it is known not to have changed. Never waits.
    pub fn unchanged(&self) -> Option<Arc<Snapshot>> {
        if self.store.may_have_changed() {
            self.stale.store(true, Ordering::Release);
        }
        (!self.stale.load(Ordering::Acquire)).then(|| self.newest.load_full())
    }

    async fn read_again(&self) -> Result<Arc<Snapshot>, StoreError> {
        let _reading = self.reading.lock().await;
        if !self.stale.swap(false, Ordering::AcqRel) {
            return Ok(self.newest.load_full());
        }
        // Put back if the reading fails or is dropped.
        let guard = Stale(&self.stale);
        let snapshot = Arc::new(self.store.snapshot().await?);
        std::mem::forget(guard);
        self.newest.store(Arc::clone(&snapshot));
        self.told.send_replace(());
        Ok(snapshot)
    }

    /// Is told of every newer snapshot.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }
}

struct Stale<'a>(&'a AtomicBool);

impl Drop for Stale<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
