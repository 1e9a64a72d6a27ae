//! An index in the state folder: rows in memory, every change in SQLite before it is acknowledged.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use bowline_binding::{BoxError, ConfigError};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use crate::config::{Config, MetadataIndex, Metric, PropertyType};
use crate::error::VectorizeError;
use crate::filter::{Filter, cut, indexed_value};
use crate::rows::{Row, Rows};
use crate::store::{Existing, Info, Match, Mutation, Origin, Query, ReturnMetadata, Store, Vector};

/// Cloudflare's limits (<https://developers.cloudflare.com/vectorize/platform/limits/>).
const MAX_VECTORS: usize = 10_000_000;
const MAX_NAMESPACES: usize = 50_000;

/// How long to wait for another process to let go of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Calls that work on one index at the same time, and how long others wait for their turn.
const CALLS: usize = 16;
const TURN: Duration = Duration::from_secs(30);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS shape (dimensions INTEGER NOT NULL, metric TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS mutation (number INTEGER PRIMARY KEY, id TEXT NOT NULL, at TEXT NOT NULL);
    -- `since` is the number of the last mutation before the index was made: later vectors are in it.
    CREATE TABLE IF NOT EXISTS metadata_index (property TEXT PRIMARY KEY, type TEXT NOT NULL, since INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS vector (
        id TEXT PRIMARY KEY, namespace TEXT, metadata TEXT, written INTEGER NOT NULL, vals BLOB NOT NULL
    );
";

/// A metadata index, and the mutation after which vectors are in it.
#[derive(Debug)]
struct Indexed {
    index: MetadataIndex,
    since: u64,
}

/// What calls read. Changed only after the change is on disk.
#[derive(Debug)]
struct State {
    rows: Rows,
    mutations: u64,
    last: Option<Mutation>,
}

#[derive(Debug)]
struct Index {
    config: Config,
    metadata_indexes: Vec<Indexed>,
    /// Held for the whole of a change, so that memory and file see changes in the same order.
    connection: Mutex<Connection>,
    state: RwLock<State>,
    turns: Arc<Semaphore>,
}

/// Bindings of one process that name the same index share it: each would otherwise miss the other's changes.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, Weak<Index>>>> = LazyLock::new(Mutex::default);

/// An index in the state folder.
#[derive(Debug, Clone)]
pub(crate) struct Sqlite(Arc<Index>);

impl Sqlite {
    /// Opens `<state>/vectorize/<index_name>.sqlite`, which is created when it does not exist, and loads it.
    pub(crate) fn open(config: &Config, state: &Path) -> Result<Self, ConfigError> {
        let folder = state.join("vectorize");
        std::fs::create_dir_all(&folder).map_err(|error| {
            because(
                "index_name",
                format!("cannot make the folder {}", folder.display()),
                error,
            )
        })?;
        let path = folder.join(format!("{}.sqlite", config.index_name));

        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = open.get(&path).and_then(Weak::upgrade) {
            if index.config != *config {
                return Err(ConfigError::new(
                    "index_name",
                    "names an index that another binding uses with other dimensions, metric or metadata_indexes",
                ));
            }
            return Ok(Self(index));
        }
        let index = Arc::new(Index::open(config, &path)?);
        open.retain(|_, index| index.strong_count() > 0);
        open.insert(path, Arc::downgrade(&index));
        Ok(Self(index))
    }

    /// Runs `work` on a thread where it may take its time.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Index) -> Result<T, VectorizeError> + Send + 'static,
    ) -> Result<T, VectorizeError> {
        let index = Arc::clone(&self.0);
        let turn = tokio::time::timeout(TURN, Arc::clone(&index.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(VectorizeError::Overloaded);
        };
        // The turn ends with the work, which goes on when the caller leaves.
        let work = move || {
            let _turn = turn;
            work(&index)
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or(Err(VectorizeError::Internal))
    }
}

fn because(field: &str, problem: String, source: impl Into<BoxError>) -> ConfigError {
    ConfigError {
        source: Some(source.into()),
        ..ConfigError::new(field, problem)
    }
}

impl Index {
    fn open(config: &Config, path: &Path) -> Result<Self, ConfigError> {
        let failed = |error: rusqlite::Error| {
            let problem = match error.sqlite_error_code() {
                Some(rusqlite::ErrorCode::DatabaseBusy) => "is in use by another process: ",
                _ => "cannot be opened: ",
            };
            because("index_name", format!("{problem}{}", path.display()), error)
        };
        let mut connection = connect(path).map_err(failed)?;
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(SCHEMA).map_err(failed)?;
        let shape = transaction
            .query_row("SELECT dimensions, metric FROM shape", [], |row| {
                Ok((row.get::<_, u32>(0)? as usize, row.get::<_, String>(1)?))
            })
            .optional()
            .map_err(failed)?;
        match shape {
            None => {
                let shape = params![config.dimensions as u32, config.metric.name()];
                transaction
                    .execute("INSERT INTO shape VALUES (?, ?)", shape)
                    .map_err(failed)?;
            }
            Some((dimensions, metric)) => check_shape(config, dimensions, &metric)?,
        }
        let last = transaction
            .query_row(
                "SELECT number, id, at FROM mutation ORDER BY number DESC LIMIT 1",
                [],
                |row| {
                    Ok((
                        row.get::<_, i64>(0)?.unsigned_abs(),
                        Mutation {
                            id: row.get(1)?,
                            at: row.get(2)?,
                        },
                    ))
                },
            )
            .optional()
            .map_err(failed)?;
        let mutations = last.as_ref().map_or(0, |(number, _)| *number);
        let metadata_indexes = sync_metadata_indexes(&transaction, config, mutations).map_err(failed)?;
        let rows = load(&transaction, config).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(Self {
            config: config.clone(),
            metadata_indexes,
            connection: Mutex::new(connection),
            state: RwLock::new(State {
                rows,
                mutations,
                last: last.map(|(_, mutation)| mutation),
            }),
            turns: Arc::new(Semaphore::new(CALLS)),
        })
    }

    /// Applies one change: `store` in a transaction, then `remember` in memory.
    fn mutate(
        &self,
        check: impl FnOnce(&Rows) -> Result<(), VectorizeError>,
        store: impl FnOnce(&Connection, u64) -> rusqlite::Result<()>,
        remember: impl FnOnce(&mut Rows, u64),
    ) -> Result<Mutation, VectorizeError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let number = {
            let state = self.read();
            check(&state.rows)?;
            state.mutations + 1
        };
        let mutation = Mutation {
            id: uuid::Uuid::new_v4().to_string(),
            at: jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
                .to_string(),
        };
        // Dropped without a commit, a transaction is rolled back.
        let transaction = connection.transaction()?;
        store(&transaction, number)?;
        transaction.execute("DELETE FROM mutation", [])?;
        transaction.execute(
            "INSERT INTO mutation VALUES (?, ?, ?)",
            params![number.cast_signed(), mutation.id, mutation.at],
        )?;
        transaction.commit()?;

        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.mutations = number;
        state.last = Some(mutation.clone());
        remember(&mut state.rows, number);
        Ok(mutation)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metadata index of `property`, if `row` is in it.
    fn index_of(&self, row: &Row, property: &str) -> Option<&MetadataIndex> {
        self.metadata_indexes
            .iter()
            .find(|indexed| indexed.index.property == property && row.written > indexed.since)
            .map(|indexed| &indexed.index)
    }

    fn matches(&self, row: &Row, namespace: Option<&str>, filter: Option<&Filter>) -> bool {
        namespace.is_none_or(|namespace| row.namespace.as_deref() == Some(namespace))
            && filter.is_none_or(|filter| {
                filter.matches(row.metadata.as_ref(), |property| self.index_of(row, property))
            })
    }

    /// The indexed properties of `row`, nested as in its metadata, texts cut as the index cuts them.
    fn indexed_metadata(&self, row: &Row) -> Option<Map<String, Value>> {
        let metadata = row.metadata.as_ref()?;
        let mut kept = Map::new();
        for indexed in &self.metadata_indexes {
            if row.written <= indexed.since {
                continue;
            }
            let Some(value) = indexed_value(metadata, &indexed.index) else {
                continue;
            };
            let value = value
                .as_str()
                .map_or_else(|| value.clone(), |text| cut(text).into());
            insert_at(&mut kept, &indexed.index.property, value);
        }
        Some(kept)
    }

    fn query(&self, query: &Query) -> Result<Vec<Match>, VectorizeError> {
        let state = self.read();
        let rows = &state.rows;
        let of_id;
        let values = match &query.origin {
            Origin::Values(values) => values,
            Origin::Id(id) => {
                let row = rows
                    .position(id)
                    .ok_or_else(|| VectorizeError::NoVector(id.clone()))?;
                of_id = rows.values(row);
                &of_id
            }
        };
        let (namespace, filter) = (query.namespace.as_deref(), query.filter.as_ref());
        let hits = rows.search(values, query.top_k, |row| self.matches(row, namespace, filter));
        let matches = hits.into_iter().map(|hit| {
            let row = rows.row(hit.row);
            Match {
                id: row.id.to_string(),
                score: hit.score,
                values: query.return_values.then(|| rows.values(hit.row)),
                namespace: row.namespace.as_deref().map(str::to_owned),
                metadata: match query.return_metadata {
                    ReturnMetadata::None => None,
                    ReturnMetadata::Indexed => self.indexed_metadata(row),
                    ReturnMetadata::All => row.metadata.clone(),
                },
            }
        });
        Ok(matches.collect())
    }

    fn write(&self, vectors: Vec<Vector>, existing: Existing) -> Result<Mutation, VectorizeError> {
        let sql = match existing {
            Existing::Keep => "INSERT INTO vector VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            Existing::Replace => "REPLACE INTO vector VALUES (?, ?, ?, ?, ?)",
        };
        self.mutate(
            |rows| check_room(rows, &vectors),
            |connection, number| {
                let mut statement = connection.prepare(sql)?;
                for vector in &vectors {
                    let metadata = vector
                        .metadata
                        .as_ref()
                        .map(|map| serde_json::json!(map).to_string());
                    let bytes: Vec<u8> = vector
                        .values
                        .iter()
                        .flat_map(|value| value.to_le_bytes())
                        .collect();
                    statement.execute(params![
                        vector.id,
                        vector.namespace,
                        metadata,
                        number.cast_signed(),
                        bytes
                    ])?;
                }
                Ok(())
            },
            |rows, number| {
                for vector in vectors.iter() {
                    if existing == Existing::Replace || rows.position(&vector.id).is_none() {
                        rows.put(vector.clone(), number);
                    }
                }
            },
        )
    }

    fn get(&self, ids: &[String]) -> Vec<Vector> {
        let state = self.read();
        let rows = &state.rows;
        ids.iter()
            .filter_map(|id| rows.position(id))
            .map(|position| {
                let row = rows.row(position);
                Vector {
                    id: row.id.to_string(),
                    values: rows.values(position),
                    namespace: row.namespace.as_deref().map(str::to_owned),
                    metadata: row.metadata.clone(),
                }
            })
            .collect()
    }

    fn delete(&self, ids: &[String]) -> Result<Mutation, VectorizeError> {
        self.mutate(
            |_| Ok(()),
            |connection, _| {
                let mut statement = connection.prepare("DELETE FROM vector WHERE id = ?")?;
                ids.iter().try_for_each(|id| statement.execute([id]).map(drop))
            },
            |rows, _| ids.iter().for_each(|id| rows.remove(id)),
        )
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

fn check_shape(config: &Config, dimensions: usize, metric: &str) -> Result<(), ConfigError> {
    let name = &config.index_name;
    if dimensions != config.dimensions {
        return Err(ConfigError::new(
            "dimensions",
            format!(
                "is {}, but the stored index \"{name}\" has {dimensions}; use another index_name",
                config.dimensions
            ),
        ));
    }
    if Metric::parse(metric) != Some(config.metric) {
        return Err(ConfigError::new(
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
) -> rusqlite::Result<Vec<Indexed>> {
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
    let mut indexes = Vec::with_capacity(config.metadata_indexes.len());
    for index in &config.metadata_indexes {
        let since = match stored.get(&index.property) {
            Some((Some(kind), since)) if *kind == index.kind => *since,
            _ => mutations,
        };
        connection.execute(
            "INSERT INTO metadata_index VALUES (?, ?, ?)",
            params![index.property, index.kind.name(), since.cast_signed()],
        )?;
        indexes.push(Indexed {
            index: index.clone(),
            since,
        });
    }
    Ok(indexes)
}

fn load(connection: &Connection, config: &Config) -> rusqlite::Result<Rows> {
    let mut loaded = Rows::new(config.metric, config.dimensions);
    let mut statement = connection.prepare("SELECT id, namespace, metadata, written, vals FROM vector")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let damaged = |column, kind, problem: String| {
            rusqlite::Error::FromSqlConversionFailure(column, kind, problem.into())
        };
        let metadata = row
            .get::<_, Option<String>>(2)?
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| damaged(2, rusqlite::types::Type::Text, error.to_string()))?;
        let values: Vec<f32> = match row.get_ref(4)? {
            ValueRef::Blob(bytes) if bytes.len() == config.dimensions * 4 => {
                let (values, _) = bytes.as_chunks::<4>();
                values.iter().copied().map(f32::from_le_bytes).collect()
            }
            other => {
                return Err(damaged(
                    4,
                    other.data_type(),
                    "a vector of the wrong size is stored".to_owned(),
                ));
            }
        };
        let vector = Vector {
            id: row.get(0)?,
            values,
            namespace: row.get(1)?,
            metadata,
        };
        loaded.put(vector, row.get::<_, i64>(3)?.unsigned_abs());
    }
    Ok(loaded)
}

fn check_room(rows: &Rows, vectors: &[Vector]) -> Result<(), VectorizeError> {
    let added = vectors
        .iter()
        .filter(|vector| rows.position(&vector.id).is_none())
        .count();
    if rows.len() + added > MAX_VECTORS {
        return Err(VectorizeError::TooMany(format!(
            "an index may hold at most {MAX_VECTORS} vectors"
        )));
    }
    let new: std::collections::HashSet<&str> = vectors
        .iter()
        .filter_map(|vector| vector.namespace.as_deref())
        .filter(|namespace| !rows.has_namespace(namespace))
        .collect();
    if rows.namespace_count() + new.len() > MAX_NAMESPACES {
        return Err(VectorizeError::TooMany(format!(
            "an index may have at most {MAX_NAMESPACES} namespaces"
        )));
    }
    Ok(())
}

/// Puts `value` at the dotted `path`, making the objects on the way.
fn insert_at(map: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            map.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = map.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert_at(inner, rest, value);
            }
        }
    }
}

#[async_trait::async_trait]
impl Store for Sqlite {
    fn dimensions(&self) -> usize {
        self.0.config.dimensions
    }

    async fn info(&self) -> Result<Info, VectorizeError> {
        self.blocking(|index| {
            let state = index.read();
            Ok(Info {
                dimensions: index.config.dimensions,
                vectors: state.rows.len(),
                processed: state.last.clone(),
            })
        })
        .await
    }

    async fn query(&self, query: Query) -> Result<Vec<Match>, VectorizeError> {
        self.blocking(move |index| index.query(&query)).await
    }

    async fn write(&self, vectors: Vec<Vector>, existing: Existing) -> Result<Mutation, VectorizeError> {
        self.blocking(move |index| index.write(vectors, existing)).await
    }

    async fn get(&self, ids: Vec<String>) -> Result<Vec<Vector>, VectorizeError> {
        self.blocking(move |index| Ok(index.get(&ids))).await
    }

    async fn delete(&self, ids: Vec<String>) -> Result<Mutation, VectorizeError> {
        self.blocking(move |index| index.delete(&ids)).await
    }
}
