//! Logs and kept answers in SQLite, owned by one thread that takes its orders from a bounded queue.
//!
//! One queue also means one order: a log that was handed in is seen by whoever asks for it afterwards.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::cache::{Kept, Key};
use crate::log::{Patch, Record};

/// Orders that may wait.
const QUEUE: usize = 1024;
/// Logs kept of each gateway; the oldest go.
const LOGS: i64 = 100_000;
/// Bytes of answers kept; the oldest go.
const CACHE_BYTES: i64 = 256 << 20;
/// How often the bounds above are looked after, in writes.
const TRIM: u32 = 256;

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("open the gateway's store at {path}")]
pub(crate) struct OpenError {
    path: String,
    #[source]
    source: rusqlite::Error,
}

/// The store did not do it.
#[derive(Debug, thiserror::Error)]
#[error("the gateway's store could not be used")]
pub(crate) struct StoreError;

enum Order {
    Log {
        gateway: String,
        record: Box<Record>,
    },
    Keep {
        gateway: String,
        key: Key,
        expires_ms: i64,
        kept: Kept,
    },
    Kept {
        gateway: String,
        key: Key,
        now_ms: i64,
        to: oneshot::Sender<Option<Kept>>,
    },
    Read {
        gateway: String,
        id: String,
        to: oneshot::Sender<Result<Option<Value>, StoreError>>,
    },
    Patch {
        gateway: String,
        id: String,
        patch: Patch,
        to: oneshot::Sender<Result<bool, StoreError>>,
    },
}

/// A handle to the store. The thread ends with the last handle.
#[derive(Debug, Clone)]
pub(crate) struct Store(SyncSender<Order>);

impl Store {
    /// Opens `<folder>/gateway.sqlite`.
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join("gateway.sqlite");
        let failed = |source| OpenError {
            path: path.display().to_string(),
            source,
        };
        let connection = Connection::open(&path).map_err(failed)?;
        connection.execute_batch(SCHEMA).map_err(failed)?;
        let (orders, queue) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("ai-gateway-store".into())
            .spawn(move || serve(&connection, &queue))
            .map_err(|error| failed(rusqlite::Error::ToSqlConversionFailure(error.into())))?;
        Ok(Self(orders))
    }

    /// Writes a log, soon. Never waits: with a full queue the log is lost and said to be.
    pub(crate) fn log(&self, gateway: &str, record: Record) {
        let order = Order::Log {
            gateway: gateway.to_owned(),
            record: Box::new(record),
        };
        if self.send(order).is_err() {
            tracing::warn!(gateway, "a log was lost: the gateway's store is too slow or gone");
        }
    }

    /// Keeps an answer, soon, or not.
    pub(crate) fn keep(&self, gateway: &str, key: Key, expires_ms: i64, kept: Kept) {
        let gateway = gateway.to_owned();
        // What is not kept is asked for again.
        let _ = self.send(Order::Keep {
            gateway,
            key,
            expires_ms,
            kept,
        });
    }

    /// The answer kept under `key`, if it has not expired. A store that fails has none.
    pub(crate) async fn kept(&self, gateway: &str, key: Key, now_ms: i64) -> Option<Kept> {
        let (to, answer) = oneshot::channel();
        let gateway = gateway.to_owned();
        self.send(Order::Kept {
            gateway,
            key,
            now_ms,
            to,
        })
        .ok()?;
        answer.await.ok().flatten()
    }

    /// One log.
    pub(crate) async fn read(&self, gateway: &str, id: &str) -> Result<Option<Value>, StoreError> {
        let (to, answer) = oneshot::channel();
        let (gateway, id) = (gateway.to_owned(), id.to_owned());
        self.send(Order::Read { gateway, id, to })?;
        answer.await.unwrap_or(Err(StoreError))
    }

    /// Changes one log; whether there is one.
    pub(crate) async fn patch(&self, gateway: &str, id: &str, patch: Patch) -> Result<bool, StoreError> {
        let (to, answer) = oneshot::channel();
        let (gateway, id) = (gateway.to_owned(), id.to_owned());
        self.send(Order::Patch {
            gateway,
            id,
            patch,
            to,
        })?;
        answer.await.unwrap_or(Err(StoreError))
    }

    fn send(&self, order: Order) -> Result<(), StoreError> {
        self.0.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => StoreError,
        })
    }
}

// Logs survive a crash of this process but perhaps not of the machine, which is what a log is worth.
const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA busy_timeout = 5000;
CREATE TABLE IF NOT EXISTS logs (
    gateway TEXT NOT NULL, id TEXT NOT NULL, created_ms INTEGER NOT NULL, log TEXT NOT NULL,
    PRIMARY KEY (gateway, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS logs_by_age ON logs (gateway, created_ms);
CREATE TABLE IF NOT EXISTS kept (
    gateway TEXT NOT NULL, key BLOB NOT NULL, expires_ms INTEGER NOT NULL, status INTEGER NOT NULL,
    content_type BLOB, body BLOB NOT NULL,
    PRIMARY KEY (gateway, key)
);
CREATE INDEX IF NOT EXISTS kept_by_age ON kept (expires_ms);
";

fn serve(connection: &Connection, queue: &Receiver<Order>) {
    let mut writes = 0_u32;
    while let Ok(order) = queue.recv() {
        let done = match order {
            Order::Log { gateway, record } => {
                writes += 1;
                write_log(connection, &gateway, &record)
            }
            Order::Keep {
                gateway,
                key,
                expires_ms,
                kept,
            } => {
                writes += 1;
                keep(connection, &gateway, &key, expires_ms, &kept)
            }
            // Whoever asked may be gone.
            Order::Kept {
                gateway,
                key,
                now_ms,
                to,
            } => find(connection, &gateway, &key, now_ms).map(|kept| drop(to.send(kept))),
            Order::Read { gateway, id, to } => {
                let log = read_log(connection, &gateway, &id);
                answer(to, log)
            }
            Order::Patch {
                gateway,
                id,
                patch,
                to,
            } => {
                let patched = patch_log(connection, &gateway, &id, &patch);
                answer(to, patched)
            }
        };
        let trimmed = if writes >= TRIM {
            writes = 0;
            trim(connection)
        } else {
            Ok(())
        };
        if let Err(error) = done.and(trimmed) {
            tracing::warn!(%error, "the gateway's store failed");
        }
    }
}

fn answer<T>(
    to: oneshot::Sender<Result<T, StoreError>>,
    result: rusqlite::Result<T>,
) -> rusqlite::Result<()> {
    match result {
        Ok(value) => {
            let _ = to.send(Ok(value));
            Ok(())
        }
        Err(error) => {
            let _ = to.send(Err(StoreError));
            Err(error)
        }
    }
}

fn write_log(connection: &Connection, gateway: &str, record: &Record) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO logs VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            gateway,
            record.id,
            record.created_ms,
            record.json().to_string()
        ])?;
    Ok(())
}

fn read_log(connection: &Connection, gateway: &str, id: &str) -> rusqlite::Result<Option<Value>> {
    let text: Option<String> = connection
        .prepare_cached("SELECT log FROM logs WHERE gateway = ?1 AND id = ?2")?
        .query_row(params![gateway, id], |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

fn patch_log(connection: &Connection, gateway: &str, id: &str, patch: &Patch) -> rusqlite::Result<bool> {
    let Some(log) = read_log(connection, gateway, id)? else {
        return Ok(false);
    };
    let mut log: Map<String, Value> = match log {
        Value::Object(log) => log,
        _ => Map::new(),
    };
    patch.apply(&mut log);
    connection
        .prepare_cached("UPDATE logs SET log = ?3 WHERE gateway = ?1 AND id = ?2")?
        .execute(params![gateway, id, Value::Object(log).to_string()])?;
    Ok(true)
}

fn find(connection: &Connection, gateway: &str, key: &Key, now_ms: i64) -> rusqlite::Result<Option<Kept>> {
    connection
        .prepare_cached(
            "SELECT status, content_type, body FROM kept WHERE gateway = ?1 AND key = ?2 AND expires_ms > ?3",
        )?
        .query_row(params![gateway, key, now_ms], |row| {
            Ok(Kept {
                status: row.get(0)?,
                content_type: row.get(1)?,
                body: row.get(2)?,
            })
        })
        .optional()
}

fn keep(
    connection: &Connection,
    gateway: &str,
    key: &Key,
    expires_ms: i64,
    kept: &Kept,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO kept VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            gateway,
            key,
            expires_ms,
            kept.status,
            kept.content_type,
            kept.body
        ])?;
    Ok(())
}

fn trim(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM kept WHERE expires_ms <= ?1",
        [jiff::Timestamp::now().as_millisecond()],
    )?;
    connection.execute(
        "DELETE FROM kept WHERE rowid IN (SELECT rowid FROM (
            SELECT rowid, sum(length(body)) OVER (ORDER BY expires_ms DESC) AS total FROM kept) WHERE total > ?1)",
        [CACHE_BYTES],
    )?;
    let gateways: Vec<String> = connection
        .prepare_cached("SELECT DISTINCT gateway FROM logs")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for gateway in gateways {
        connection.execute(
            "DELETE FROM logs WHERE gateway = ?1 AND created_ms < coalesce((SELECT created_ms FROM logs
                WHERE gateway = ?1 ORDER BY created_ms DESC LIMIT 1 OFFSET ?2), 0)",
            params![gateway, LOGS],
        )?;
    }
    Ok(())
}
