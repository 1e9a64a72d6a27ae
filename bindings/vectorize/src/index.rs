//! One open index: changes are accepted, then processed by a thread of its own.
//!
//! ```text
//! accept ──▶ SQLite (acknowledged) ──▶ queue ──▶ values file ──▶ SQLite ──▶ memory (seen)
//!                    └──────── read again after a crash ───┘
//! ```

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use bowline_binding::{BoxError, ConfigError};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::builder;
use crate::config::Config;
use crate::database::{Accepted, Change, Database, OpenError, Opened, Step};
use crate::error::VectorizeError;
use crate::rows::Rows;
use crate::state::State;
use crate::store::{Existing, Mutation, Vector};
use crate::values::ValuesFile;

/// Cloudflare's limits (<https://developers.cloudflare.com/vectorize/platform/limits/>).
const MAX_VECTORS: usize = 10_000_000;
const MAX_NAMESPACES: usize = 50_000;

/// Vectors and ids processed in one transaction, roughly.
const BATCH: usize = 4096;
/// How long to wait before processing is tried again after it failed.
const RETRY: Duration = Duration::from_secs(1);

/// What calls and threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) state: RwLock<State>,
    writer: Mutex<Writer>,
    values: ValuesFile,
    /// The number of the last processed mutation.
    processed: watch::Sender<u64>,
    pub(crate) closing: AtomicBool,
    /// Wakes whoever waits between two tries.
    closed: Condvar,
    /// Counts what was processed, for the graph's thread.
    pub(crate) changes: AtomicU64,
    /// The count up to which that thread has looked.
    pub(crate) looked: AtomicU64,
}

/// Whoever holds it may write to the database.
#[derive(Debug)]
struct Writer {
    database: Database,
    /// The number of the next mutation.
    next: u64,
    pending: Pending,
}

/// What accepted changes will add at most, until none is left.
#[derive(Debug, Default)]
struct Pending {
    changes: usize,
    vectors: usize,
    namespaces: HashSet<String>,
}

/// A change on its way, with the room in the queue that it takes.
struct Queued(
    Accepted,
    #[expect(dead_code, reason = "held until it is processed")] Option<OwnedSemaphorePermit>,
);

/// An open index. Dropping it waits for its threads: for changes to be processed, or to fail once more.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) shared: Arc<Shared>,
    queue: Option<Sender<Queued>>,
    threads: Vec<JoinHandle<()>>,
}

fn because(field: &str, problem: String, source: impl Into<BoxError>) -> ConfigError {
    ConfigError {
        source: Some(source.into()),
        ..ConfigError::new(field, problem)
    }
}

impl Index {
    /// Opens `<path>.sqlite` and `<path>.vectors`, which are created when they do not exist, and loads them.
    pub(crate) fn open(config: &Config, path: &Path) -> Result<Self, ConfigError> {
        let (database_path, values_path) = (extended(path, "sqlite"), extended(path, "vectors"));
        let shown = database_path.display();
        let failed = |error: OpenError| match error {
            OpenError::Shape(field, problem) => ConfigError::new(field, problem),
            OpenError::Sqlite(error) => {
                let problem = match error.sqlite_error_code() {
                    Some(rusqlite::ErrorCode::DatabaseBusy) => "is in use by another process: ",
                    _ => "cannot be opened: ",
                };
                because("index_name", format!("{problem}{shown}"), error)
            }
        };
        let Opened {
            database,
            columns,
            processed,
        } = Database::open(config, &database_path).map_err(failed)?;
        let unusable = |error: io::Error| {
            let problem = format!("cannot be read: {}", values_path.display());
            because("index_name", problem, error)
        };
        let values = ValuesFile::open(&values_path, config.dimensions).map_err(unusable)?;
        let mut rows = Rows::new(config.metric, config.dimensions, columns);
        load(&database, &values, &mut rows).map_err(unusable)?;
        let accepted = database
            .accepted(config)
            .map_err(|error| failed(OpenError::Sqlite(error)))?;

        let number = processed.as_ref().map_or(0, |(number, _)| *number);
        let last = accepted.last().map_or(0, |accepted| accepted.number).max(number);
        let mut pending = Pending::default();
        for accepted in &accepted {
            pending.add(&rows, &accepted.change);
        }
        let shared = Arc::new(Shared {
            config: config.clone(),
            state: RwLock::new(State {
                rows,
                processed: processed.map(|(_, mutation)| mutation),
                graph: None,
            }),
            writer: Mutex::new(Writer {
                database,
                next: last + 1,
                pending,
            }),
            values,
            processed: watch::Sender::new(number),
            closing: AtomicBool::new(false),
            closed: Condvar::new(),
            changes: AtomicU64::new(1),
            looked: AtomicU64::new(0),
        });
        let (queue, queued) = channel();
        // One token is enough: it means "look again".
        let (wake, woken) = sync_channel(1);
        for accepted in accepted {
            // The thread that takes it is started below.
            let _ = queue.send(Queued(accepted, None));
        }
        let mut index = Self {
            shared: Arc::clone(&shared),
            queue: Some(queue),
            threads: Vec::new(),
        };
        let _ = wake.send(());
        let processor = Arc::clone(&shared);
        index.start("process", move || process(&processor, &queued, &wake))?;
        if let Some(ann) = config.ann {
            index.start("graph", move || builder::run(&shared, ann, &woken))?;
        }
        Ok(index)
    }

    fn start(&mut self, what: &str, work: impl FnOnce() + Send + 'static) -> Result<(), ConfigError> {
        let thread = std::thread::Builder::new()
            .name(format!("vectorize {what}"))
            .spawn(work)
            .map_err(|error| because("index_name", "its threads cannot be started".to_owned(), error))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Keeps a change on disk and queues it, with the room it takes. Its number and what to answer.
    pub(crate) fn accept(
        &self,
        change: Change,
        room: OwnedSemaphorePermit,
    ) -> Result<(u64, Mutation), VectorizeError> {
        let mut writer = self.shared.writer();
        check_room(&self.shared.read().rows, &writer.pending, &change)?;
        let number = writer.next;
        let mutation = Mutation::now();
        let accepted = Accepted {
            number,
            mutation: mutation.clone(),
            change,
        };
        writer.database.accept(&accepted)?;
        writer.next += 1;
        writer.pending.add(&self.shared.read().rows, &accepted.change);
        // Under the lock, so that the queue has the order of the numbers.
        let queued = self
            .queue
            .as_ref()
            .map(|queue| queue.send(Queued(accepted, Some(room))));
        if !matches!(queued, Some(Ok(()))) {
            tracing::error!("the thread that processes changes has ended; they are kept for the next start");
        }
        Ok((number, mutation))
    }

    /// Tells the number of the last processed mutation.
    pub(crate) fn processed(&self) -> watch::Receiver<u64> {
        self.shared.processed.subscribe()
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        drop(self.queue.take());
        self.shared.closing.store(true, Ordering::Relaxed);
        self.shared.closed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn add(&mut self, rows: &Rows, change: &Change) {
        self.changes += 1;
        if let Change::Write { vectors, .. } = change {
            let (added, namespaces) = additions(rows, vectors);
            self.vectors += added;
            self.namespaces.extend(namespaces.into_iter().map(str::to_owned));
        }
    }

    fn done(&mut self, changes: usize) {
        self.changes -= changes.min(self.changes);
        if self.changes == 0 {
            *self = Self::default();
        }
    }
}

/// How many vectors, and which namespaces, writing `vectors` adds at most.
fn additions<'a>(rows: &Rows, vectors: &'a [Vector]) -> (usize, HashSet<&'a str>) {
    let new = |vector: &&Vector| rows.position(&vector.id).is_none();
    let namespaces = vectors.iter().filter_map(|vector| vector.namespace.as_deref());
    let namespaces = namespaces.filter(|name| rows.namespace(name).is_none());
    (vectors.iter().filter(new).count(), namespaces.collect())
}

fn check_room(rows: &Rows, pending: &Pending, change: &Change) -> Result<(), VectorizeError> {
    let Change::Write { vectors, .. } = change else {
        return Ok(());
    };
    let (added, namespaces) = additions(rows, vectors);
    if rows.len() + pending.vectors + added > MAX_VECTORS {
        return Err(VectorizeError::TooMany(format!(
            "an index may hold at most {MAX_VECTORS} vectors"
        )));
    }
    let new = namespaces
        .iter()
        .filter(|name| !pending.namespaces.contains(**name))
        .count();
    if rows.namespace_count() + pending.namespaces.len() + new > MAX_NAMESPACES {
        return Err(VectorizeError::TooMany(format!(
            "an index may have at most {MAX_NAMESPACES} namespaces"
        )));
    }
    Ok(())
}

/// `path` with an extension, though it may have dots of its own.
fn extended(path: &Path, extension: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".");
    path.push(extension);
    path.into()
}

fn load(database: &Database, values: &ValuesFile, rows: &mut Rows) -> io::Result<()> {
    /// Either half of an index that cannot be read.
    struct Damage(io::Error);
    impl From<rusqlite::Error> for Damage {
        fn from(error: rusqlite::Error) -> Self {
            Self(io::Error::other(error))
        }
    }
    let (mut slots, mut next) = (values.read(), 0);
    let mut vector = Vector {
        id: String::new(),
        values: Vec::new(),
        namespace: None,
        metadata: None,
    };
    let loaded: Result<(), Damage> = database.each_placed(|placed| {
        slots
            .skip(placed.slot - next)
            .and_then(|()| slots.next(&mut vector.values))
            .map_err(Damage)?;
        next = placed.slot + 1;
        (vector.id, vector.namespace, vector.metadata) = (placed.id, placed.namespace, placed.metadata);
        rows.put(placed.slot, &vector, placed.written);
        Ok(())
    });
    loaded.map_err(|Damage(error)| error)
}

/// Processes changes as they come, several at a time, until the queue's other end is dropped.
fn process(shared: &Shared, queued: &Receiver<Queued>, wake: &SyncSender<()>) {
    while let Ok(first) = queued.recv() {
        let mut size = first.0.change.len();
        let mut batch = vec![first];
        while size < BATCH {
            match queued.try_recv() {
                Ok(next) => {
                    size += next.0.change.len();
                    batch.push(next);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        let mut failed = false;
        while let Err(error) = process_batch(shared, &batch) {
            if !failed {
                tracing::error!(error = %error, "changes cannot be processed; they are kept and tried again");
            }
            failed = true;
            if shared.closing.load(Ordering::Relaxed) {
                return;
            }
            let writer = shared.writer();
            drop(shared.closed.wait_timeout(writer, RETRY));
        }
        // Full means that it will look anyway.
        let _ = wake.try_send(());
    }
}

impl Change {
    fn len(&self) -> usize {
        match self {
            Self::Write { vectors, .. } => vectors.len(),
            Self::Delete { ids } => ids.len(),
        }
    }
}

fn process_batch(shared: &Shared, batch: &[Queued]) -> Result<(), BoxError> {
    let Some(Queued(last, _)) = batch.last() else {
        return Ok(());
    };
    // Only this thread changes the rows, so what is planned stays true.
    let steps = plan(&shared.read().rows, batch);
    shared.values.write(steps.iter().filter_map(|step| match step {
        Step::Put { slot, vector, .. } => Some((*slot, vector.values.as_slice())),
        Step::Remove { .. } => None,
    }))?;
    shared
        .writer()
        .database
        .process(&steps, last.number, &last.mutation)?;
    {
        let mut state = shared.state.write().unwrap_or_else(PoisonError::into_inner);
        let mutation = match &state.processed {
            Some(processed) if last.mutation.id.is_empty() => processed.clone(),
            _ => last.mutation.clone(),
        };
        state.apply(&steps, mutation);
    }
    shared.writer().pending.done(batch.len());
    shared.changes.fetch_add(1, Ordering::Release);
    shared.processed.send_replace(last.number);
    Ok(())
}

/// What the changes do to `rows`, in order. Slots are free ones, the lowest first.
fn plan<'a>(rows: &Rows, batch: &'a [Queued]) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    let mut slots = rows.free().chain(rows.slots()..);
    // What earlier steps made of an id.
    let mut known: HashMap<&str, bool> = HashMap::new();
    for Queued(accepted, _) in batch {
        match &accepted.change {
            Change::Delete { ids } => {
                for id in ids {
                    known.insert(id, false);
                    steps.push(Step::Remove { id });
                }
            }
            Change::Write { vectors, existing } => {
                for vector in vectors {
                    let id = vector.id.as_str();
                    let there = known
                        .get(id)
                        .copied()
                        .unwrap_or_else(|| rows.position(id).is_some());
                    if there && *existing == Existing::Keep {
                        continue;
                    }
                    known.insert(id, true);
                    let Some(slot) = slots.next() else { continue };
                    steps.push(Step::Put {
                        slot,
                        vector,
                        written: accepted.number,
                    });
                }
            }
        }
    }
    steps
}
