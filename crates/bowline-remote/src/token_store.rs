//! Service tokens in SQLite, shared by every process that opens the same state folder.
//!
//! `bowline access token disable` in another terminal therefore takes effect on the very next request: nothing is
//! cached. One look-up by primary key in a memory-mapped page costs microseconds.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_access::{ENTROPY, Minted, SecretHash, ServiceToken, UnixSeconds, mint};
use rusqlite::{Connection, OptionalExtension, Row};

/// The state of Access could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TokenStoreError {
    /// The database did not do as asked.
    #[error("use the token store")]
    Database(#[from] rusqlite::Error),
    /// The folder could not be made or protected.
    #[error("prepare the state folder {path}")]
    Folder {
        /// The folder.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("get random bytes from the operating system")]
    Random(#[source] rand::rngs::SysError),
}

/// The table of service tokens. Secrets are stored as hashes only.
pub struct TokenStore {
    connection: Mutex<Connection>,
}

impl std::fmt::Debug for TokenStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenStore")
    }
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS service_token (
        client_id   TEXT PRIMARY KEY,
        id          TEXT NOT NULL UNIQUE,
        name        TEXT NOT NULL,
        secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
        created_at  INTEGER NOT NULL,
        expires_at  INTEGER,
        enabled     INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";

const COLUMNS: &str = "id, name, client_id, secret_hash, created_at, expires_at, enabled";

impl TokenStore {
    /// Opens (or makes) the store in the state folder.
    pub fn open(state: &Path) -> Result<Self, TokenStoreError> {
        prepare_folder(state)?;
        Self::prepare(Connection::open(state.join("access.sqlite"))?)
    }

    /// A store that dies with the process, for `bowline demo`.
    pub fn in_memory() -> Result<Self, TokenStoreError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(connection: Connection) -> Result<Self, TokenStoreError> {
        // Another process may hold the write lock for the length of one INSERT.
        connection.busy_timeout(Duration::from_secs(2))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    /// Mints and stores a token. `lifetime` in seconds, `None` for never.
    pub fn create(
        &self,
        name: &str,
        now: UnixSeconds,
        lifetime: Option<i64>,
    ) -> Result<Minted, TokenStoreError> {
        use rand::TryRng;
        let mut entropy = [0; ENTROPY];
        rand::rngs::SysRng
            .try_fill_bytes(&mut entropy)
            .map_err(TokenStoreError::Random)?;
        let minted = mint(name, &entropy, now, lifetime);
        let token = &minted.token;
        self.lock().execute(
            &format!("INSERT INTO service_token ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"),
            (
                &token.id,
                &token.name,
                &token.client_id,
                token.secret_hash.as_bytes(),
                token.created_at,
                token.expires_at,
                token.enabled,
            ),
        )?;
        Ok(minted)
    }

    /// The token with this client id.
    pub fn find(&self, client_id: &str) -> Result<Option<ServiceToken>, TokenStoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM service_token WHERE client_id = ?"
        ))?;
        Ok(statement.query_row([client_id], read).optional()?)
    }

    /// All tokens, oldest first.
    pub fn list(&self) -> Result<Vec<ServiceToken>, TokenStoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare(&format!(
            "SELECT {COLUMNS} FROM service_token ORDER BY created_at, client_id"
        ))?;
        let tokens = statement.query_map([], read)?.collect::<Result<_, _>>()?;
        Ok(tokens)
    }

    /// Disables the tokens whose record id, client id or name is `which`; returns them as they are now.
    pub fn disable(&self, which: &str) -> Result<Vec<ServiceToken>, TokenStoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare(&format!(
            "UPDATE service_token SET enabled = 0 WHERE id = ?1 OR client_id = ?1 OR name = ?1 RETURNING {COLUMNS}"
        ))?;
        let tokens = statement.query_map([which], read)?.collect::<Result<_, _>>()?;
        Ok(tokens)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held cannot leave SQLite half-way: statements are atomic.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<ServiceToken> {
    Ok(ServiceToken {
        id: row.get(0)?,
        name: row.get(1)?,
        client_id: row.get(2)?,
        secret_hash: SecretHash::from_bytes(row.get(3)?),
        created_at: row.get(4)?,
        expires_at: row.get(5)?,
        enabled: row.get(6)?,
    })
}

/// Makes the state folder, for its owner only: it holds data and token hashes.
pub fn prepare_folder(state: &Path) -> Result<(), TokenStoreError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .map_err(|source| TokenStoreError::Folder {
            path: state.display().to_string(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::TokenStore;

    #[test]
    fn another_process_sees_a_disabled_token_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (
            TokenStore::open(folder.path()).unwrap(),
            TokenStore::open(folder.path()).unwrap(),
        );
        let minted = here.create("ci", 100, Some(60)).unwrap();
        let id = minted.token.client_id.clone();
        assert_eq!(there.find(&id).unwrap().unwrap(), minted.token);
        assert_eq!(there.disable("ci").unwrap().len(), 1);
        assert!(!here.find(&id).unwrap().unwrap().enabled);
        assert_eq!(here.list().unwrap().len(), 1);
        assert!(here.disable("nobody").unwrap().is_empty());
        assert!(here.find("nobody").unwrap().is_none());
    }

    #[test]
    fn the_secret_is_nowhere_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let store = TokenStore::open(folder.path()).unwrap();
        let secret = store
            .create("ci", 100, None)
            .unwrap()
            .client_secret
            .expose()
            .to_owned();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(
                !bytes
                    .windows(20)
                    .any(|window| secret.as_bytes().starts_with(window))
            );
        }
    }
}
