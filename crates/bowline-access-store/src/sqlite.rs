//! The state in one SQLite file, shared by every process that opens the same state folder.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::types::{ToSqlOutput, Value as Stored, ValueRef};
use rusqlite::{Connection, ToSql};

use crate::database::{Database, Purpose, Row, Statement, Value};
use crate::schema::{NEWEST, SQLITE, upgrade};
use crate::{StoreError, prepare_folder};

/// The file in the state folder.
const FILE: &str = "access.sqlite";
/// Beside it, a file that grows by a byte with each change.
const CHANGES: &str = "access.changes";
/// A process that is killed between a change and its byte is noticed after this long.
const LOOK: Duration = Duration::from_millis(100);
/// How long another process may hold the write lock.
const BUSY: Duration = Duration::from_secs(5);

/// SQLite.
pub(crate) struct Sqlite {
    connection: Arc<Mutex<Connection>>,
    told: Arc<Told>,
    /// None in memory, where nobody else can write.
    probe: Option<Mutex<Probe>>,
}

/// How changes are told, which costs a request less than asking SQLite.
#[derive(Default)]
struct Told {
    /// This process's own.
    own: AtomicI64,
    /// Everybody's, unless the disk is full or somebody was killed in between: a byte each.
    all: Option<File>,
}

impl Told {
    fn tell(&self) {
        if let Some(mut all) = self.all.as_ref() {
            // Others find out a moment later when this fails.
            let _ = all.write_all(b".");
        }
        self.own.fetch_add(1, Ordering::AcqRel);
    }

    /// What is another value after every change that was told; `None` when it cannot be read.
    fn heard(&self) -> Option<(i64, u64)> {
        let length = self.all.as_ref()?.metadata().ok()?.len();
        Some((self.own.load(Ordering::Acquire), length))
    }
}

/// A connection that never writes: its `data_version` moves with everybody's commits, ours included. Asking for it takes
/// several locks in the file, half of all that a request costs at the gate, so it is done when a change was told, and now and
/// then.
struct Probe {
    connection: Connection,
    /// What was heard before the last look, and when that was.
    looked: Option<((i64, u64), Instant)>,
    data_version: i64,
    /// The change counter at that version. The audit log moves the one and not the other.
    changes: i64,
}

impl Probe {
    fn changes(&mut self, told: &Told) -> rusqlite::Result<i64> {
        // Before looking: what is told in between is looked at the next time.
        let heard = told.heard();
        let fresh = |(at, looked): (_, Instant)| Some(at) == heard && looked.elapsed() < LOOK;
        if self.looked.is_some_and(fresh) {
            return Ok(self.changes);
        }
        let looking = Instant::now();
        let number = |sql| {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_row([], |row| row.get::<_, i64>(0))
        };
        let data_version = number("PRAGMA data_version")?;
        if self.data_version != data_version {
            self.changes = number("SELECT version FROM change_counter")?;
            self.data_version = data_version;
        }
        self.looked = heard.map(|heard| (heard, looking));
        Ok(self.changes)
    }
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sqlite")
    }
}

impl Sqlite {
    pub(crate) fn open(state: &Path) -> Result<Self, StoreError> {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        prepare_folder(state)?;
        let path = state.join(FILE);
        // Signing keys are inside: the file is its owner's alone, whatever the umask and whoever made it.
        let private = |path: &Path| -> Result<File, StoreError> {
            let folder = |source| StoreError::Folder {
                path: path.display().to_string(),
                source,
            };
            let mut options = std::fs::OpenOptions::new();
            let file = options
                .create(true)
                .append(true)
                .mode(0o600)
                .open(path)
                .map_err(folder)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(folder)?;
            Ok(file)
        };
        private(&path)?;
        let all = private(&state.join(CHANGES))?;
        let connection = Connection::open(&path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        Self::prepare(connection, Some((Connection::open(&path)?, all)))
    }

    pub(crate) fn in_memory() -> Result<Self, StoreError> {
        Self::prepare(Connection::open_in_memory()?, None)
    }

    fn prepare(mut connection: Connection, shared: Option<(Connection, File)>) -> Result<Self, StoreError> {
        let (probe, all) = shared.unzip();
        for connection in std::iter::once(&connection).chain(&probe) {
            connection.busy_timeout(BUSY)?;
        }
        connection.pragma_update(None, "foreign_keys", true)?;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        // The version has a table of its own: the first release sets `user_version` back to 1 whenever it opens the file.
        transaction
            .execute_batch("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT")?;
        let found: Option<i64> =
            transaction.query_row("SELECT max(version) FROM schema_version", [], |row| row.get(0))?;
        let found = found.unwrap_or(0);
        if found > NEWEST {
            return Err(StoreError::Newer { found, known: NEWEST });
        }
        if found < NEWEST {
            transaction.execute_batch(&upgrade(found, &SQLITE))?;
            transaction.execute("INSERT INTO schema_version (version) VALUES (?)", [NEWEST])?;
        }
        transaction.commit()?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            told: Arc::new(Told {
                all,
                ..Told::default()
            }),
            probe: probe.map(|connection| {
                Mutex::new(Probe {
                    connection,
                    looked: None,
                    // SQLite counts from 1.
                    data_version: -1,
                    changes: 0,
                })
            }),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held cannot leave SQLite half-way: transactions are atomic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Database for Sqlite {
    async fn transact(
        &self,
        purpose: Purpose,
        statements: Vec<Statement>,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let connection = Arc::clone(&self.connection);
        let told = Arc::clone(&self.told);
        let work = move || {
            let done = run(&mut lock(&connection), purpose, &statements);
            if purpose == Purpose::Change {
                told.tell();
            }
            done
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            // The runtime is going away, or the closure panicked, which only a broken invariant of rusqlite could make it.
            Err(_) => Err(StoreError::TimedOut(0)),
        }
    }

    fn changes(&self) -> Option<i64> {
        match &self.probe {
            // An unreadable database is found out by whoever reads it next.
            Some(probe) => lock(probe).changes(&self.told).ok(),
            None => Some(self.told.own.load(Ordering::Acquire)),
        }
    }
}

fn run(
    connection: &mut Connection,
    purpose: Purpose,
    statements: &[Statement],
) -> Result<Vec<Vec<Row>>, StoreError> {
    let behaviour = match purpose {
        Purpose::Aside | Purpose::Change => rusqlite::TransactionBehavior::Immediate,
        Purpose::Read => rusqlite::TransactionBehavior::Deferred,
    };
    let transaction = connection.transaction_with_behavior(behaviour)?;
    if purpose == Purpose::Change {
        transaction.execute("UPDATE change_counter SET version = version + 1", [])?;
    }
    let mut answers = Vec::with_capacity(statements.len());
    for Statement { sql, parameters } in statements {
        let mut statement = transaction.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(parameters))?;
        let mut answer = Vec::new();
        while let Some(row) = rows.next()? {
            let values = (0..columns)
                .map(|column| {
                    Ok(match row.get_ref(column)? {
                        ValueRef::Null => Value::Null,
                        ValueRef::Integer(number) => Value::Integer(number),
                        // No column holds fractions.
                        ValueRef::Real(number) => Value::Integer(number as i64),
                        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
                        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
                    })
                })
                .collect::<rusqlite::Result<_>>()?;
            answer.push(Row::new(values));
        }
        answers.push(answer);
    }
    transaction.commit()?;
    Ok(answers)
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Stored::Null),
            Self::Integer(number) => ToSqlOutput::Owned(Stored::Integer(*number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}
