//! A snapshot that is read again when something changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::{AccessStore, Snapshot, StoreError};

/// How long a caller waits for the state: for others that read it, and for its own reading.
const PATIENCE: Duration = Duration::from_secs(5);

/// The newest snapshot of a store.
#[derive(Debug)]
pub struct Watched {
    store: AccessStore,
    newest: ArcSwap<Read>,
    reading: Mutex<()>,
}

/// A snapshot, and how new it is.
#[derive(Debug)]
struct Read {
    snapshot: Arc<Snapshot>,
    /// The store's changes as they were counted before reading.
    changes: Option<i64>,
    started: Instant,
}

impl Read {
    async fn of(store: &AccessStore) -> Result<Self, StoreError> {
        // Asked before reading: what changes in between is seen later.
        let (changes, started) = (store.changes(), Instant::now());
        Ok(Self {
            snapshot: Arc::new(store.snapshot().await?),
            changes,
            started,
        })
    }
}

impl Watched {
    /// Reads the store for the first time.
    pub async fn new(store: AccessStore) -> Result<Self, StoreError> {
        Ok(Self {
            newest: ArcSwap::from_pointee(Read::of(&store).await?),
            store,
            reading: Mutex::new(()),
        })
    }

    /// The store behind it.
    pub fn store(&self) -> &AccessStore {
        &self.store
    }

    /// The state as it is now: everything that was changed before the call is in it. Without a change this is a look at a
    /// counter; after one, whoever comes first reads the store and the others wait for it, five seconds at most. Cancel
    /// safe: what was not read is read by the next.
    pub async fn current(&self) -> Result<Arc<Snapshot>, StoreError> {
        if let Some(snapshot) = self.unchanged() {
            return Ok(snapshot);
        }
        tokio::time::timeout(PATIENCE, self.read_again())
            .await
            .map_err(|_| StoreError::TimedOut(PATIENCE.as_secs()))?
    }

    /// The state, if it is known not to have changed. Never waits.
    pub fn unchanged(&self) -> Option<Arc<Snapshot>> {
        let changes = self.store.changes()?;
        let newest = self.newest.load();
        (newest.changes == Some(changes)).then(|| Arc::clone(&newest.snapshot))
    }

    async fn read_again(&self) -> Result<Arc<Snapshot>, StoreError> {
        let asked = Instant::now();
        let _reading = self.reading.lock().await;
        // Somebody may have read while this caller waited, and began after it came: that is new enough for it.
        let newest = self.newest.load_full();
        if newest.started >= asked {
            return Ok(Arc::clone(&newest.snapshot));
        }
        let read = Arc::new(Read::of(&self.store).await?);
        self.newest.store(Arc::clone(&read));
        Ok(Arc::clone(&read.snapshot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_by_everybody_who_asks_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = AccessStore::open(folder.path()).await.unwrap();
        let watched = Arc::new(Watched::new(store.clone()).await.unwrap());
        for number in 0..200 {
            let minted = store.create_token("t", "1h", 1_000).await.unwrap();
            // Many ask at once; none of them may be given what is there from before, whoever reads.
            let asking: Vec<_> = (0..8)
                .map(|_| {
                    let watched = Arc::clone(&watched);
                    tokio::spawn(async move { watched.current().await.unwrap() })
                })
                .collect();
            for snapshot in asking {
                let snapshot = snapshot.await.unwrap();
                assert!(snapshot.token(&minted.token.client_id).is_some(), "{number}");
            }
        }
    }

    #[tokio::test]
    async fn the_audit_log_changes_nothing_and_others_do() {
        let folder = tempfile::tempdir().unwrap();
        let store = AccessStore::open(folder.path()).await.unwrap();
        let other = AccessStore::open(folder.path()).await.unwrap();
        let watched = Watched::new(store.clone()).await.unwrap();
        watched.current().await.unwrap();
        other.audit(vec![crate::AuditEntry::default()]).await.unwrap();
        assert!(watched.unchanged().is_some());
        other.create_token("t", "1h", 1_000).await.unwrap();
        assert!(watched.unchanged().is_none());
        assert_eq!(watched.current().await.unwrap().tokens().count(), 1);
        assert!(watched.unchanged().is_some());
    }

    #[tokio::test]
    async fn a_change_that_nobody_told_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let store = AccessStore::open(folder.path()).await.unwrap();
        let watched = Watched::new(store).await.unwrap();
        watched.current().await.unwrap();
        let writer = rusqlite::Connection::open(folder.path().join("access.sqlite")).unwrap();
        writer
            .execute("UPDATE change_counter SET version = version + 1", [])
            .unwrap();
        let noticed = async {
            while watched.unchanged().is_some() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(1), noticed)
            .await
            .unwrap();
    }
}
