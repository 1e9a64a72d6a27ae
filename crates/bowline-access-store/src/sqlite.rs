//! The state in one SQLite file, shared by every process that opens the same state folder.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::types::{ToSqlOutput, Value as Stored, ValueRef};
use rusqlite::{Connection, ToSql};

use crate::database::{Database, Purpose, Row, Statement, Value};
use crate::schema::{NEWEST, SQLITE, upgrade};
use crate::{StoreError, prepare_folder};

/// The file in the state folder.
const FILE: &str = "access.sqlite";
/// How long another process may hold the write lock.
const BUSY: Duration = Duration::from_secs(5);

/// SQLite.
pub(crate) struct Sqlite {
    connection: Arc<Mutex<Connection>>,
    /// A connection that never writes: its `data_version` moves with everybody's commits, ours included.
    /// None in memory, where nobody else can write.
    probe: Option<Mutex<Connection>>,
    seen: AtomicI64,
    changed: AtomicBool,
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
        let folder = |source| StoreError::Folder {
            path: path.display().to_string(),
            source,
        };
        // Signing keys are inside: the file is its owner's alone, whatever the umask and whoever made it.
        std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(folder)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(folder)?;
        let connection = Connection::open(&path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        Self::prepare(connection, Some(Connection::open(&path)?))
    }

    pub(crate) fn in_memory() -> Result<Self, StoreError> {
        Self::prepare(Connection::open_in_memory()?, None)
    }

    fn prepare(mut connection: Connection, probe: Option<Connection>) -> Result<Self, StoreError> {
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
            probe: probe.map(Mutex::new),
            seen: AtomicI64::new(-1),
            changed: AtomicBool::new(true),
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
        let work = move || run(&mut lock(&connection), purpose, &statements);
        let done = tokio::task::spawn_blocking(work).await;
        if purpose == Purpose::Change {
            self.changed.store(true, Ordering::Release);
        }
        match done {
            Ok(done) => done,
            // The runtime is going away, or the closure panicked, which only a broken invariant of rusqlite could make it.
            Err(_) => Err(StoreError::TimedOut(0)),
        }
    }

    fn may_have_changed(&self) -> bool {
        let changed = self.changed.swap(false, Ordering::AcqRel);
        let Some(probe) = &self.probe else {
            return changed;
        };
        let probe = lock(probe);
        let version = probe
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)));
        // An unreadable database is found out by whoever reads it next.
        version.map_or(true, |version| {
            self.seen.swap(version, Ordering::AcqRel) != version
        }) || changed
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
