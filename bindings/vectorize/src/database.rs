//! What SQLite keeps of an index: its shape, accepted changes that are not processed yet, and which vector is where.
//!
//! Values of processed vectors are in the [values file](crate::values); those of accepted ones still here.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bowline_vectors::Metric;
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use serde_json::{Map, Value};

use crate::column::Column;
use crate::config::{Config, PropertyType};
use crate::rows::json;
use crate::store::{Existing, Mutation, Vector};

/// How long to wait for another process to let go of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The layout of this file. 0 kept values in `vector` and processed changes at once.
const LAYOUT: i64 = 2;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS shape (dimensions INTEGER NOT NULL, metric TEXT NOT NULL);
    -- `since` is the number of the last mutation before the index was made: later vectors are in it.
    CREATE TABLE IF NOT EXISTS metadata_index (property TEXT PRIMARY KEY, type TEXT NOT NULL, since INTEGER NOT NULL);
    -- The last one that was processed.
    CREATE TABLE processed (number INTEGER NOT NULL, id TEXT NOT NULL, at TEXT NOT NULL);
    -- Accepted and not processed. `operation` is 0 for delete, 1 for insert, 2 for upsert.
    CREATE TABLE mutation (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL, at TEXT NOT NULL, operation INTEGER NOT NULL
    );
    CREATE TABLE pending (
        place INTEGER PRIMARY KEY, mutation INTEGER NOT NULL, id TEXT NOT NULL, namespace TEXT, metadata TEXT, vals BLOB
    );
    CREATE TABLE vector (
        slot INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, namespace TEXT, metadata TEXT, written INTEGER NOT NULL
    );
";

/// Layout 0 becomes changes that are accepted and not processed: they are applied like any others.
const FROM_LAYOUT_0: &str = "
    ALTER TABLE vector RENAME TO old_vector;
    ALTER TABLE mutation RENAME TO old_mutation;
";
const FROM_LAYOUT_0_END: &str = "
    INSERT INTO processed SELECT number, id, at FROM old_mutation;
    INSERT INTO mutation SELECT DISTINCT written, '', '', 2 FROM old_vector;
    INSERT INTO pending (mutation, id, namespace, metadata, vals)
        SELECT written, id, namespace, metadata, vals FROM old_vector ORDER BY written;
    DROP TABLE old_vector;
    DROP TABLE old_mutation;
";

/// What one mutation does.
#[derive(Debug)]
pub(crate) enum Change {
    Write {
        vectors: Vec<Vector>,
        existing: Existing,
    },
    Delete {
        ids: Vec<String>,
    },
}

/// A change that is on disk and not yet seen by queries.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Mutations are numbered from 1 in the order in which they are processed.
    pub(crate) number: u64,
    pub(crate) mutation: Mutation,
    pub(crate) change: Change,
}

/// One step of processing.
pub(crate) enum Step<'a> {
    /// Into a free slot; the vector with this id, elsewhere, is removed.
    Put {
        slot: usize,
        vector: &'a Vector,
        written: u64,
    },
    Remove {
        id: &'a str,
    },
}

/// A vector's place, without its values.
pub(crate) struct Placed {
    pub(crate) slot: usize,
    pub(crate) id: String,
    pub(crate) namespace: Option<String>,
    pub(crate) metadata: Option<Map<String, Value>>,
    pub(crate) written: u64,
}

/// What a database cannot be opened for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The configuration has another shape than the stored index: which key, and how.
    #[error("`{0}` {1}")]
    Shape(&'static str, String),
}

#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
}

/// What is known once a database is open.
pub(crate) struct Opened {
    pub(crate) database: Database,
    pub(crate) columns: Vec<Column>,
    /// The last mutation that was processed, and its number.
    pub(crate) processed: Option<(u64, Mutation)>,
}

impl Database {
    pub(crate) fn open(config: &Config, path: &Path) -> Result<Opened, OpenError> {
        let mut connection = connect(path)?;
        let transaction = connection.transaction()?;
        let layout: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if layout > LAYOUT {
            return Err(OpenError::Shape(
                "index_name",
                format!("names an index in layout {layout}, which a later version wrote"),
            ));
        }
        if layout < LAYOUT {
            let old = transaction.table_exists(None, "vector")?;
            transaction.execute_batch(if old { FROM_LAYOUT_0 } else { "" })?;
            transaction.execute_batch(SCHEMA)?;
            transaction.execute_batch(if old { FROM_LAYOUT_0_END } else { "" })?;
            transaction.pragma_update(None, "user_version", LAYOUT)?;
        }
        let shape = transaction
            .query_row("SELECT dimensions, metric FROM shape", [], |row| {
                Ok((row.get::<_, u32>(0)? as usize, row.get::<_, String>(1)?))
            })
            .optional()?;
        match shape {
            None => {
                let shape = params![config.dimensions as u32, config.metric.name()];
                transaction.execute("INSERT INTO shape VALUES (?, ?)", shape)?;
            }
            Some((dimensions, metric)) => check_shape(config, dimensions, &metric)?,
        }
        let processed = transaction
            .query_row("SELECT number, id, at FROM processed", [], |row| {
                let (id, at) = (row.get(1)?, row.get(2)?);
                Ok((row.get::<_, i64>(0)?.unsigned_abs(), Mutation { id, at }))
            })
            .optional()?;
        let accepted: Option<i64> =
            transaction.query_row("SELECT max(number) FROM mutation", [], |row| row.get(0))?;
        let last = accepted.map_or(0, i64::unsigned_abs);
        let last = last.max(processed.as_ref().map_or(0, |(number, _)| *number));
        let columns = sync_metadata_indexes(&transaction, config, last)?;
        transaction.commit()?;
        Ok(Opened {
            database: Self { connection },
            columns,
            processed,
        })
    }

    /// Keeps a change. It is on disk afterwards, or not there at all.
    pub(crate) fn accept(&mut self, accepted: &Accepted) -> rusqlite::Result<()> {
        let number = accepted.number.cast_signed();
        let operation = match &accepted.change {
            Change::Delete { .. } => 0,
            Change::Write { existing, .. } if *existing == Existing::Keep => 1,
            Change::Write { .. } => 2,
        };
        // Dropped without a commit, a transaction is rolled back.
        let transaction = self.connection.transaction()?;
        transaction
            .prepare_cached("INSERT INTO mutation VALUES (?, ?, ?, ?)")?
            .execute(params![
                number,
                accepted.mutation.id,
                accepted.mutation.at,
                operation
            ])?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO pending (mutation, id, namespace, metadata, vals) VALUES (?, ?, ?, ?, ?)",
            )?;
            match &accepted.change {
                Change::Delete { ids } => {
                    for id in ids {
                        insert.execute(params![number, id, None::<&str>, None::<&str>, None::<&[u8]>])?;
                    }
                }
                Change::Write { vectors, .. } => {
                    let mut bytes = Vec::new();
                    for vector in vectors {
                        bytes.clear();
                        bytes.extend(vector.values.iter().flat_map(|value| value.to_le_bytes()));
                        let metadata = vector.metadata.as_ref().map(json);
                        insert.execute(params![number, vector.id, vector.namespace, metadata, bytes])?;
                    }
                }
            }
        }
        transaction.commit()
    }

    /// Changes that were accepted and not processed, in their order.
    pub(crate) fn accepted(&self, config: &Config) -> rusqlite::Result<Vec<Accepted>> {
        let mut mutations = self
            .connection
            .prepare("SELECT number, id, at, operation FROM mutation ORDER BY number")?;
        let mut pending = self
            .connection
            .prepare("SELECT id, namespace, metadata, vals FROM pending WHERE mutation = ? ORDER BY place")?;
        let mut rows = mutations.query([])?;
        let mut accepted = Vec::new();
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let (id, at) = (row.get(1)?, row.get(2)?);
            let change = match row.get(3)? {
                0 => {
                    let ids = pending.query_map([number], |row| row.get(0))?;
                    Change::Delete {
                        ids: ids.collect::<Result<_, _>>()?,
                    }
                }
                operation => {
                    let vectors = pending.query_map([number], |row| vector(row, config.dimensions))?;
                    Change::Write {
                        vectors: vectors.collect::<Result<_, _>>()?,
                        existing: if operation == 1 {
                            Existing::Keep
                        } else {
                            Existing::Replace
                        },
                    }
                }
            };
            accepted.push(Accepted {
                number: number.unsigned_abs(),
                mutation: Mutation { id, at },
                change,
            });
        }
        Ok(accepted)
    }

    /// Records what processing did, up to and with the mutation `number`.
    pub(crate) fn process(
        &mut self,
        steps: &[Step<'_>],
        number: u64,
        mutation: &Mutation,
    ) -> rusqlite::Result<()> {
        let number = number.cast_signed();
        let transaction = self.connection.transaction()?;
        {
            let mut put = transaction.prepare_cached("REPLACE INTO vector VALUES (?, ?, ?, ?, ?)")?;
            let mut remove = transaction.prepare_cached("DELETE FROM vector WHERE id = ?")?;
            for step in steps {
                match step {
                    Step::Put {
                        slot,
                        vector,
                        written,
                    } => put.execute(params![
                        *slot as i64,
                        vector.id,
                        vector.namespace,
                        vector.metadata.as_ref().map(json),
                        written.cast_signed()
                    ])?,
                    Step::Remove { id } => remove.execute([id])?,
                };
            }
        }
        transaction.execute("DELETE FROM pending WHERE mutation <= ?", [number])?;
        transaction.execute("DELETE FROM mutation WHERE number <= ?", [number])?;
        // What layout 0 had processed is done again under lower numbers.
        transaction.execute("DELETE FROM processed WHERE number < ?", [number])?;
        transaction.execute(
            "INSERT INTO processed SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM processed)",
            params![number, mutation.id, mutation.at],
        )?;
        transaction.commit()
    }

    /// Calls back with every vector, by ascending slot.
    pub(crate) fn each_placed<E: From<rusqlite::Error>>(
        &self,
        mut each: impl FnMut(Placed) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self
            .connection
            .prepare("SELECT slot, id, namespace, metadata, written FROM vector ORDER BY slot")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each(Placed {
                slot: usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX),
                id: row.get(1)?,
                namespace: row.get(2)?,
                metadata: metadata(row, 3)?,
                written: row.get::<_, i64>(4)?.unsigned_abs(),
            })?;
        }
        Ok(())
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Without SQLITE_OPEN_URI: a path is a path, whatever it looks like.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // What is in memory must stay what is in the file, so no other process may write: hence the exclusive lock.
    connection.pragma_update(None, "locking_mode", "exclusive")?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // FULL: a commit is on disk before it is acknowledged.
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

fn check_shape(config: &Config, dimensions: usize, metric: &str) -> Result<(), OpenError> {
    let name = &config.index_name;
    if dimensions != config.dimensions {
        return Err(OpenError::Shape(
            "dimensions",
            format!(
                "is {}, but the stored index \"{name}\" has {dimensions}; use another index_name",
                config.dimensions
            ),
        ));
    }
    if Metric::parse(metric) != Some(config.metric) {
        return Err(OpenError::Shape(
            "metric",
            format!(
                "is \"{}\", but the stored index \"{name}\" has \"{metric}\"; use another index_name",
                config.metric.name()
            ),
        ));
    }
    Ok(())
}

/// Makes the stored metadata indexes those of the configuration. A new one, or one whose type changed, covers only
/// vectors written from now on.
fn sync_metadata_indexes(
    connection: &Connection,
    config: &Config,
    mutations: u64,
) -> rusqlite::Result<Vec<Column>> {
    let mut stored = HashMap::new();
    let mut statement = connection.prepare("SELECT property, type, since FROM metadata_index")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let kind = PropertyType::parse(&row.get::<_, String>(1)?);
        stored.insert(
            row.get::<_, String>(0)?,
            (kind, row.get::<_, i64>(2)?.unsigned_abs()),
        );
    }
    connection.execute("DELETE FROM metadata_index", [])?;
    let mut columns = Vec::with_capacity(config.metadata_indexes.len());
    for index in &config.metadata_indexes {
        let since = match stored.get(&index.property) {
            Some((Some(kind), since)) if *kind == index.kind => *since,
            _ => mutations,
        };
        connection.execute(
            "INSERT INTO metadata_index VALUES (?, ?, ?)",
            params![index.property, index.kind.name(), since.cast_signed()],
        )?;
        columns.push(Column::new(index.clone(), since));
    }
    Ok(columns)
}

fn damaged(column: usize, kind: Type, problem: impl Into<bowline_binding::BoxError>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, problem.into())
}

fn metadata(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Map<String, Value>>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|error| damaged(column, Type::Text, error))
}

fn vector(row: &Row<'_>, dimensions: usize) -> rusqlite::Result<Vector> {
    let bytes = row.get_ref(3)?.as_blob()?;
    let (values, rest) = bytes.as_chunks::<4>();
    if values.len() != dimensions || !rest.is_empty() {
        return Err(damaged(3, Type::Blob, "a vector of the wrong size is stored"));
    }
    Ok(Vector {
        id: row.get(0)?,
        values: values.iter().copied().map(f32::from_le_bytes).collect(),
        namespace: row.get(1)?,
        metadata: metadata(row, 2)?,
    })
}
