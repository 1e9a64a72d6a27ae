//! What is known of repositories and tokens beside git's own files, in SQLite.
//!
//! Several processes may open the same catalog: nothing is cached, and names are reserved by a unique key.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline_catalog::Full;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::token::{Minted, Scope, SecretHash};

/// Revoked and expired tokens that are kept for `listTokens`, a repository.
const MOST_INACTIVE_TOKENS: i64 = 100;

/// The catalog did not do as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogError {
    #[error("the name {0} is taken")]
    Taken(String),
    #[error("use the catalog")]
    Database(#[from] rusqlite::Error),
    #[error("get random bytes from the operating system")]
    Random(#[from] rand::rngs::SysError),
}

impl Full for CatalogError {
    fn is_full(&self) -> bool {
        matches!(self, Self::Database(error) if bowline_catalog::is_full(error))
    }
}

/// Whether a repository can be used yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    Importing,
    Forking,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Importing => "importing",
            Self::Forking => "forking",
        }
    }
}

/// One repository. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repo {
    /// Also the name of its folder: names never become paths.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) default_branch: String,
    pub(crate) read_only: bool,
    /// `artifacts:NAMESPACE/REPO` of a fork, `git:URL` of an import.
    pub(crate) source: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) last_push_at: Option<i64>,
    pub(crate) state: State,
    /// While the state is not ready: until when whoever makes it is believed to be alive.
    pub(crate) lease: i64,
}

/// One token. Times are milliseconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) id: String,
    pub(crate) scope: Scope,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) revoked: bool,
}

/// A page of repositories, newest first.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) repos: Vec<Repo>,
    pub(crate) total: i64,
    /// Whether there is more.
    pub(crate) more: bool,
}

/// The place of a repository in the order of [`Catalog::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) created_at: i64,
    pub(crate) id: String,
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS repo (
        id             TEXT PRIMARY KEY,
        name           TEXT NOT NULL,
        key            TEXT NOT NULL UNIQUE,
        description    TEXT,
        default_branch TEXT NOT NULL,
        read_only      INTEGER NOT NULL,
        source         TEXT,
        created_at     INTEGER NOT NULL,
        updated_at     INTEGER NOT NULL,
        last_push_at   INTEGER,
        state          TEXT NOT NULL,
        lease          INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS repo_age ON repo (created_at DESC, id DESC);
    CREATE TABLE IF NOT EXISTS token (
        id         TEXT PRIMARY KEY,
        repo       TEXT NOT NULL REFERENCES repo (id) ON DELETE CASCADE,
        hash       BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
        scope      TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        revoked    INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS token_repo ON token (repo);
    PRAGMA user_version = 1;
";

const REPO: &str = "id, name, description, default_branch, read_only, source, created_at, updated_at, last_push_at, \
                    state, lease";
const TOKEN: &str = "id, scope, created_at, expires_at, revoked";

/// The catalog of one namespace. Cheap to clone. Calls block for the length of one small transaction.
#[derive(Clone)]
pub(crate) struct Catalog(Arc<Mutex<Connection>>);

impl Catalog {
    pub(crate) fn open(file: &Path) -> Result<Self, CatalogError> {
        let connection = bowline_catalog::open(file, SCHEMA)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held cannot leave SQLite half-way: statements are atomic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a repository and its first token, or nothing. A leftover of the same name whose maker is gone is replaced;
    /// its id is returned.
    pub(crate) fn add(
        &self,
        repo: &Repo,
        token: Option<(&Minted, &Token)>,
        now: i64,
    ) -> Result<Option<String>, CatalogError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let key = repo.name.to_ascii_lowercase();
        let replaced = transaction
            .query_row(
                "DELETE FROM repo WHERE key = ?1 AND state <> 'ready' AND lease < ?2 RETURNING id",
                params![key, now],
                |row| row.get(0),
            )
            .optional()?;
        let added = transaction.execute(
            &format!("INSERT INTO repo (key, {REPO}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"),
            params![
                key,
                repo.id,
                repo.name,
                repo.description,
                repo.default_branch,
                repo.read_only,
                repo.source,
                repo.created_at,
                repo.updated_at,
                repo.last_push_at,
                repo.state.name(),
                repo.lease,
            ],
        )?;
        if added == 0 {
            return Err(CatalogError::Taken(repo.name.clone()));
        }
        if let Some((minted, token)) = token {
            insert_token(&transaction, &repo.id, minted, token)?;
        }
        transaction.commit()?;
        Ok(replaced)
    }

    /// Makes a repository ready and gives it its first token. `false` when it was deleted meanwhile.
    pub(crate) fn finish(
        &self,
        id: &str,
        default_branch: &str,
        token: (&Minted, &Token),
        now: i64,
    ) -> Result<bool, CatalogError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let changed = transaction.execute(
            "UPDATE repo SET state = 'ready', default_branch = ?2, updated_at = ?3 WHERE id = ?1",
            params![id, default_branch, now],
        )?;
        if changed == 0 {
            return Ok(false);
        }
        insert_token(&transaction, id, token.0, token.1)?;
        transaction.commit()?;
        Ok(true)
    }

    /// The repository of a name, in whatever state.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Repo>, CatalogError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!("SELECT {REPO} FROM repo WHERE key = ?"))?;
        Ok(statement
            .query_row([name.to_ascii_lowercase()], read_repo)
            .optional()?)
    }

    /// The repository of an id.
    pub(crate) fn by_id(&self, id: &str) -> Result<Option<Repo>, CatalogError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!("SELECT {REPO} FROM repo WHERE id = ?"))?;
        Ok(statement.query_row([id], read_repo).optional()?)
    }

    /// Ready repositories after a place.
    pub(crate) fn list(&self, after: Option<&Place>, limit: i64) -> Result<Page, CatalogError> {
        let connection = self.lock();
        let start = after.map_or((i64::MAX, ""), |place| (place.created_at, place.id.as_str()));
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {REPO} FROM repo WHERE state = 'ready' AND (created_at, id) < (?1, ?2) \
             ORDER BY created_at DESC, id DESC LIMIT ?3"
        ))?;
        let mut repos = statement
            .query_map(params![start.0, start.1, limit + 1], read_repo)?
            .collect::<Result<Vec<_>, _>>()?;
        let more = repos.len() as i64 > limit;
        repos.truncate(limit as usize);
        let total = connection
            .prepare_cached("SELECT count(*) FROM repo WHERE state = 'ready'")?
            .query_row([], |row| row.get(0))?;
        Ok(Page { repos, total, more })
    }

    /// Ids of all repositories.
    pub(crate) fn ids(&self) -> Result<Vec<String>, CatalogError> {
        let connection = self.lock();
        let mut statement = connection.prepare("SELECT id FROM repo")?;
        let ids = statement
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(ids)
    }

    /// Forgets a repository and its tokens; its id, if there was one.
    pub(crate) fn remove(&self, name: &str) -> Result<Option<String>, CatalogError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached("DELETE FROM repo WHERE key = ? RETURNING id")?;
        let mut rows = statement.query([name.to_ascii_lowercase()])?;
        let id = rows.next()?.map(|row| row.get(0)).transpose()?;
        // To the end: SQLite looks after its log when a statement is done, not when it is left.
        rows.next()?;
        Ok(id)
    }

    pub(crate) fn remove_id(&self, id: &str) -> Result<(), CatalogError> {
        self.lock().execute("DELETE FROM repo WHERE id = ?", [id])?;
        Ok(())
    }

    /// Notes a push.
    pub(crate) fn pushed(&self, id: &str, now: i64) -> Result<(), CatalogError> {
        self.lock()
            .prepare_cached("UPDATE repo SET last_push_at = ?2, updated_at = ?2 WHERE id = ?1")?
            .execute(params![id, now])?;
        Ok(())
    }

    /// Adds a token to a repository that exists.
    pub(crate) fn add_token(&self, repo: &str, minted: &Minted, token: &Token) -> Result<(), CatalogError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        insert_token(&transaction, repo, minted, token)?;
        transaction.execute(
            "DELETE FROM token WHERE id IN (SELECT id FROM token WHERE repo = ?1 AND (revoked OR expires_at <= ?2) \
             ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?3)",
            params![repo, token.created_at, MOST_INACTIVE_TOKENS],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Tokens of a repository, active ones first, newest first; and how many there are.
    pub(crate) fn tokens(&self, repo: &str, now: i64, limit: i64) -> Result<(Vec<Token>, i64), CatalogError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {TOKEN} FROM token WHERE repo = ?1 \
             ORDER BY (revoked OR expires_at <= ?2), created_at DESC, id DESC LIMIT ?3"
        ))?;
        let tokens = statement
            .query_map(params![repo, now, limit], read_token)?
            .collect::<Result<_, _>>()?;
        let total = connection
            .prepare_cached("SELECT count(*) FROM token WHERE repo = ?")?
            .query_row([repo], |row| row.get(0))?;
        Ok((tokens, total))
    }

    /// Revokes an active token by id or hash; whether there was one.
    pub(crate) fn revoke(
        &self,
        repo: &str,
        id: &str,
        hash: Option<SecretHash>,
        now: i64,
    ) -> Result<bool, CatalogError> {
        let revoked = self.lock().execute(
            "UPDATE token SET revoked = 1 WHERE repo = ?1 AND (id = ?2 OR hash = ?3) AND NOT revoked AND expires_at > ?4",
            params![repo, id, hash.map(|hash| hash.0), now],
        )?;
        Ok(revoked > 0)
    }

    /// Whether an active token of whatever repository has this hash.
    pub(crate) fn is_active(&self, hash: SecretHash, now: i64) -> Result<bool, CatalogError> {
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached("SELECT 1 FROM token WHERE hash = ?1 AND NOT revoked AND expires_at > ?2")?;
        Ok(statement.exists(params![hash.0, now])?)
    }

    /// The scope of an active token of a repository.
    pub(crate) fn scope(
        &self,
        repo: &str,
        hash: SecretHash,
        now: i64,
    ) -> Result<Option<Scope>, CatalogError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT scope FROM token WHERE hash = ?1 AND repo = ?2 AND NOT revoked AND expires_at > ?3",
        )?;
        Ok(statement
            .query_row(params![hash.0, repo, now], |row| row.get::<_, String>(0))
            .optional()?
            .and_then(|scope| Scope::parse(&scope)))
    }
}

fn insert_token(
    transaction: &rusqlite::Transaction<'_>,
    repo: &str,
    minted: &Minted,
    token: &Token,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO token (id, repo, hash, scope, created_at, expires_at, revoked) VALUES (?, ?, ?, ?, ?, ?, 0)",
        params![
            token.id,
            repo,
            minted.hash.0,
            token.scope.name(),
            token.created_at,
            token.expires_at
        ],
    )?;
    Ok(())
}

fn read_repo(row: &Row<'_>) -> rusqlite::Result<Repo> {
    Ok(Repo {
        id: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        default_branch: row.get(3)?,
        read_only: row.get(4)?,
        source: row.get(5)?,
        created_at: row.get(6)?,
        updated_at: row.get(7)?,
        last_push_at: row.get(8)?,
        state: match row.get_ref(9)?.as_str()? {
            "importing" => State::Importing,
            "forking" => State::Forking,
            _ => State::Ready,
        },
        lease: row.get(10)?,
    })
}

fn read_token(row: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        id: row.get(0)?,
        scope: Scope::parse(row.get_ref(1)?.as_str()?).unwrap_or(Scope::Read),
        created_at: row.get(2)?,
        expires_at: row.get(3)?,
        revoked: row.get(4)?,
    })
}
