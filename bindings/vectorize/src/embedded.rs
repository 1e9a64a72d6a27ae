//! The store in this process: an [`Index`] in the state folder, shared by the bindings that name it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use bowline_binding::ConfigError;
use tokio::sync::Semaphore;

use crate::config::{Config, Mutations};
use crate::database::Change;
use crate::error::VectorizeError;
use crate::index::Index;
use crate::store::{Existing, Info, Match, Mutation, Query, Store, Vector};

/// Calls that work on one index at the same time, and how long others wait for their turn.
const CALLS: usize = 16;
const TURN: Duration = Duration::from_secs(30);
/// How much may be accepted and not yet processed, in KiB of vectors.
const QUEUE: usize = 256 << 10;

/// Bindings of one process that name the same index share it: each would otherwise miss the other's changes.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, Weak<Opened>>>> = LazyLock::new(Mutex::default);

#[derive(Debug)]
struct Opened {
    index: Index,
    turns: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

/// An index in the state folder.
#[derive(Debug, Clone)]
pub(crate) struct Embedded(Arc<Opened>);

impl Embedded {
    /// Opens `<state>/vectorize/<index_name>.*`, which are created when they do not exist.
    pub(crate) fn open(config: &Config, state: &Path) -> Result<Self, ConfigError> {
        let folder = state.join("vectorize");
        std::fs::create_dir_all(&folder).map_err(|error| ConfigError {
            source: Some(error.into()),
            ..ConfigError::new(
                "index_name",
                format!("cannot make the folder {}", folder.display()),
            )
        })?;
        let path = folder.join(&config.index_name);

        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = open.get(&path).and_then(Weak::upgrade) {
            if opened.index.shared.config != *config {
                return Err(ConfigError::new(
                    "index_name",
                    "names an index that another binding uses with another configuration",
                ));
            }
            return Ok(Self(opened));
        }
        let opened = Arc::new(Opened {
            index: Index::open(config, &path)?,
            turns: Arc::new(Semaphore::new(CALLS)),
            queue: Arc::new(Semaphore::new(QUEUE)),
        });
        open.retain(|_, opened| opened.strong_count() > 0);
        open.insert(path, Arc::downgrade(&opened));
        Ok(Self(opened))
    }

    /// Runs `work` on a thread where it may take its time.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Index) -> Result<T, VectorizeError> + Send + 'static,
    ) -> Result<T, VectorizeError> {
        let opened = Arc::clone(&self.0);
        let turn = tokio::time::timeout(TURN, Arc::clone(&opened.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(VectorizeError::Overloaded);
        };
        // The turn ends with the work, which goes on when the caller leaves.
        let work = move || {
            let _turn = turn;
            work(&opened.index)
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or(Err(VectorizeError::Internal))
    }

    /// Whether the graph's thread has nothing left to do.
    #[cfg(test)]
    pub(crate) fn indexed(&self) -> bool {
        use std::sync::atomic::Ordering::Acquire;
        let shared = &self.0.index.shared;
        shared.looked.load(Acquire) == shared.changes.load(Acquire)
    }

    async fn change(&self, change: Change) -> Result<Mutation, VectorizeError> {
        let kilobytes = u32::try_from(size(&change) / 1024 + 1).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.0.queue).acquire_many_owned(kilobytes.min(QUEUE as u32));
        let Ok(Ok(room)) = tokio::time::timeout(TURN, room).await else {
            return Err(VectorizeError::Overloaded);
        };
        let mut processed = self.0.index.processed();
        let (number, mutation) = self.blocking(move |index| index.accept(change, room)).await?;
        if self.0.index.shared.config.mutations == Mutations::Synchronous {
            // It is accepted already, so a caller who waited too long may still rely on it.
            let seen = processed.wait_for(|processed| *processed >= number);
            let _ = tokio::time::timeout(TURN, seen).await;
        }
        Ok(mutation)
    }
}

/// Bytes a change takes in the queue, roughly.
fn size(change: &Change) -> usize {
    match change {
        Change::Write { vectors, .. } => vectors.iter().map(|vector| vector.values.len() * 4 + 256).sum(),
        Change::Delete { ids } => ids.len() * 64,
    }
}

#[async_trait::async_trait]
impl Store for Embedded {
    fn dimensions(&self) -> usize {
        self.0.index.shared.config.dimensions
    }

    async fn info(&self) -> Result<Info, VectorizeError> {
        self.blocking(|index| {
            let state = index.shared.read();
            Ok(Info {
                dimensions: index.shared.config.dimensions,
                vectors: state.rows.len(),
                processed: state.processed.clone(),
            })
        })
        .await
    }

    async fn query(&self, query: Query) -> Result<Vec<Match>, VectorizeError> {
        self.blocking(move |index| index.shared.read().query(&index.shared.config, &query))
            .await
    }

    async fn write(&self, vectors: Vec<Vector>, existing: Existing) -> Result<Mutation, VectorizeError> {
        self.change(Change::Write { vectors, existing }).await
    }

    async fn get(&self, ids: Vec<String>) -> Result<Vec<Vector>, VectorizeError> {
        self.blocking(move |index| Ok(index.shared.read().get(&ids)))
            .await
    }

    async fn delete(&self, ids: Vec<String>) -> Result<Mutation, VectorizeError> {
        self.change(Change::Delete { ids }).await
    }
}
