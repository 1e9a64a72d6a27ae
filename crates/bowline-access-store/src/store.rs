//! The store itself: opening it, and what its operations share.

use std::path::Path;
use std::sync::Arc;

use bowline_secret::Secret;

use crate::StoreError;
use crate::database::{ColumnError, Database, Purpose, Row, Statement};
use crate::postgres::Postgres;
use crate::sqlite::Sqlite;

/// The state of Access. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessStore {
    pub(crate) database: Arc<dyn Database>,
}

impl AccessStore {
    /// Opens (or makes) `access.sqlite` in a state folder.
    pub async fn open(state: &Path) -> Result<Self, StoreError> {
        let state = state.to_owned();
        let opened = tokio::task::spawn_blocking(move || Sqlite::open(&state)).await;
        Self::with(Arc::new(opened.map_err(|_| StoreError::TimedOut(0))??)).await
    }

    /// Opens (or makes) the tables in a PostgreSQL database, in the schema `bowline_access`. `url` is a `postgres://` URL
    /// or `key=value` pairs.
    pub async fn connect(url: &Secret) -> Result<Self, StoreError> {
        Self::with(Arc::new(Postgres::open(url).await?)).await
    }

    /// State that dies with the process, for `bowline demo` and tests.
    pub async fn in_memory() -> Result<Self, StoreError> {
        Self::with(Arc::new(Sqlite::in_memory()?)).await
    }

    async fn with(database: Arc<dyn Database>) -> Result<Self, StoreError> {
        let store = Self { database };
        store.seed().await?;
        Ok(store)
    }

    /// Whether anything may have changed since the last call.
    pub(crate) fn may_have_changed(&self) -> bool {
        self.database.may_have_changed()
    }

    /// One query that changes nothing anybody judges by.
    pub(crate) async fn query(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let answers = self.database.transact(Purpose::Read, vec![statement]).await?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// Changes, all or none; the rows of the last statement.
    pub(crate) async fn change(&self, statements: Vec<Statement>) -> Result<Vec<Row>, StoreError> {
        let answers = self.database.transact(Purpose::Change, statements).await?;
        Ok(answers.into_iter().next_back().unwrap_or_default())
    }
}

/// A stored record that cannot be read.
pub(crate) fn unreadable(what: impl Into<String>) -> impl FnOnce(ColumnError) -> StoreError {
    let what = what.into();
    |source| StoreError::Record {
        what,
        source: source.into(),
    }
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    use rand::TryRng;
    let mut bytes = [0; N];
    rand::rngs::SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(StoreError::Random)?;
    Ok(bytes)
}

/// Makes the state folder, for its owner only: it holds data, token hashes and signing keys.
pub fn prepare_folder(state: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .map_err(|source| StoreError::Folder {
            path: state.display().to_string(),
            source,
        })
}
