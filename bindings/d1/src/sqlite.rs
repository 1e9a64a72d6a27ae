//! A database file with a thread of its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use bowline_binding::{Body, ConfigError};
use tokio::sync::{Semaphore, oneshot};

use crate::bookmark::fingerprint;
use crate::config::{Config, Limits};
use crate::dump::dump;
use crate::error::D1Error;
use crate::execute::Executor;
use crate::store::{Answer, Call, Store};

/// Stack of a database thread: SQLite recurses over nested expressions.
const STACK: usize = 8 << 20;

/// Time beyond its limit for a call to wait for another process's lock, roll back and answer.
const GRACE: Duration = Duration::from_secs(15);

/// The state of a [`Job`] changes once, from waiting to one of the others.
const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const ABANDONED: u8 = 2;

/// A call on its way to the database thread.
struct Job {
    call: Call,
    state: Arc<AtomicU8>,
    reply: oneshot::Sender<Result<Answer, D1Error>>,
}

/// Abandons a job that has not begun when its caller is gone.
struct Abandon(Arc<AtomicU8>);

impl Abandon {
    /// Whether the job had not begun and now never will.
    fn now(&self) -> bool {
        self.0
            .compare_exchange(WAITING, ABANDONED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

impl Drop for Abandon {
    fn drop(&mut self) {
        self.now();
    }
}

/// One database: a queue to the thread that owns its connection. The thread ends with the last sender.
#[derive(Debug)]
struct Database {
    queue: SyncSender<Job>,
    path: PathBuf,
    /// One copy at a time: each needs the database's size on the disk.
    dumps: Semaphore,
    queue_wait: Duration,
    call: Duration,
}

/// Two bindings of one process that name the same database share its thread, so that they never contend for its lock.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, Weak<Database>>>> = LazyLock::new(Mutex::default);

/// A database in the state folder.
#[derive(Debug, Clone)]
pub(crate) struct Sqlite(Arc<Database>);

impl Sqlite {
    /// Opens `<state>/d1/<database_id>.sqlite`, which is created when it does not exist.
    pub(crate) fn open(config: &Config, state: &Path, limits: Limits) -> Result<Self, ConfigError> {
        let failed = |problem: String, source: Box<dyn std::error::Error + Send + Sync>| ConfigError {
            source: Some(source),
            ..ConfigError::new("database_id", problem)
        };
        let folder = state.join("d1");
        std::fs::create_dir_all(&folder).map_err(|error| {
            failed(
                format!("cannot make the folder {}", folder.display()),
                error.into(),
            )
        })?;
        let path = folder.join(format!("{}.sqlite", config.database_id));

        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = open.get(&path).and_then(Weak::upgrade) {
            return Ok(Self(database));
        }
        let executor = Executor::open(
            &path,
            fingerprint(&config.database_id),
            limits.call,
            limits.results,
        )
        .map_err(|error| {
            failed(
                format!("cannot open the database {}", path.display()),
                error.into(),
            )
        })?;
        let (queue, jobs) = sync_channel(limits.queue);
        std::thread::Builder::new()
            .name(format!("d1 {}", config.database_id))
            .stack_size(STACK)
            .spawn(move || serve(executor, &jobs))
            .map_err(|error| failed("cannot start the database's thread".to_owned(), error.into()))?;
        let database = Arc::new(Database {
            queue,
            path: path.clone(),
            dumps: Semaphore::new(1),
            queue_wait: limits.queue_wait,
            call: limits.call,
        });
        open.retain(|_, database| database.strong_count() > 0);
        open.insert(path, Arc::downgrade(&database));
        Ok(Self(database))
    }
}

fn serve(mut executor: Executor, jobs: &Receiver<Job>) {
    for job in jobs {
        let begun = job
            .state
            .compare_exchange(WAITING, BEGUN, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if begun {
            // The caller may have left meanwhile; what was applied stays applied.
            let _ = job.reply.send(executor.run(&job.call));
        }
    }
}

#[async_trait::async_trait]
impl Store for Sqlite {
    async fn run(&self, call: Call) -> Result<Answer, D1Error> {
        let (reply, mut answer) = oneshot::channel();
        let abandon = Abandon(Arc::default());
        let job = Job {
            call,
            state: Arc::clone(&abandon.0),
            reply,
        };
        self.0.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => D1Error::QueueFull,
            TrySendError::Disconnected(_) => D1Error::Gone,
        })?;
        let answer = match tokio::time::timeout(self.0.queue_wait, &mut answer).await {
            Ok(answer) => answer,
            Err(_) if abandon.now() => return Err(D1Error::QueueTimeout),
            // It has begun: its own time limit ends this wait, unless SQLite is inside one long step of its machine.
            Err(_) => tokio::time::timeout(self.0.call + GRACE, answer)
                .await
                .map_err(|_| D1Error::Stuck)?,
        };
        answer.unwrap_or(Err(D1Error::Gone))
    }

    async fn dump(&self) -> Result<Body, D1Error> {
        let _turn = tokio::time::timeout(self.0.queue_wait, self.0.dumps.acquire())
            .await
            .map_err(|_| D1Error::QueueTimeout)?
            .map_err(|_| D1Error::Gone)?;
        dump(&self.0.path, self.0.call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_per_file() {
        let state = tempfile::tempdir().unwrap();
        let open = |id: &str| {
            let config = Config {
                database_id: id.to_owned(),
            };
            Sqlite::open(&config, state.path(), Limits::default()).unwrap()
        };
        let (one, same, other) = (open("a"), open("a"), open("b"));
        assert!(Arc::ptr_eq(&one.0, &same.0) && !Arc::ptr_eq(&one.0, &other.0));
    }
}
