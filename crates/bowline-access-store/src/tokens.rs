//! Service tokens.

use bowline_access::{Minted, PreviousSecret, SecretHash, ServiceToken, UnixSeconds, mint, parse_duration};

use crate::database::{ColumnError, Row, Statement, Value};
use crate::store::{random, unreadable};
use crate::{AccessStore, StoreError};

/// The columns, in the order [`read`] takes them.
macro_rules! columns {
    () => {
        "id, name, client_id, secret_hash, previous_hash, previous_expires_at, secret_version, duration, created_at, \
         updated_at, expires_at, enabled, last_seen_at"
    };
}

pub(crate) const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM service_token ORDER BY created_at, client_id"
);
const INSERT: &str = concat!(
    "INSERT INTO service_token (",
    columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
);
const REPLACE: &str = "UPDATE service_token SET name = $1, secret_hash = $2, previous_hash = $3, \
     previous_expires_at = $4, secret_version = $5, duration = $6, updated_at = $7, expires_at = $8, enabled = $9 \
     WHERE id = $10 AND secret_version = $11 AND updated_at = $12 RETURNING id";
const DELETE: &str = "DELETE FROM service_token WHERE id = $1";
const SEEN: &str = "UPDATE service_token SET last_seen_at = $1 WHERE client_id = $2 AND (last_seen_at IS NULL OR last_seen_at < $3)";

/// What an update of a token may change. Absent members stay as they are.
#[derive(Debug, Clone, Default)]
pub struct TokenChange {
    /// A new name.
    pub name: Option<String>,
    /// A new lifetime; it starts anew.
    pub duration: Option<String>,
    /// Whether it works at all. Disabling also kills a previous secret that is still in its time of grace.
    pub enabled: Option<bool>,
    /// When the previous secret stops working; may be moved into the past.
    pub previous_expires_at: Option<UnixSeconds>,
}

impl AccessStore {
    /// Mints and stores a token. The secret is in the answer and nowhere else.
    pub async fn create_token(
        &self,
        name: &str,
        duration: &str,
        now: UnixSeconds,
    ) -> Result<Minted, StoreError> {
        let minted = mint(name, &random()?, now, duration)?;
        self.change(vec![Statement::new(INSERT, values(&minted.token))])
            .await?;
        Ok(minted)
    }

    /// All tokens, oldest first.
    pub async fn tokens(&self) -> Result<Vec<ServiceToken>, StoreError> {
        read_all(self.query(Statement::new(LIST, Vec::new())).await?)
    }

    /// The tokens whose record id, client id or name is `which`; none is an error.
    pub async fn tokens_called(&self, which: &str) -> Result<Vec<ServiceToken>, StoreError> {
        let mut tokens = self.tokens().await?;
        tokens.retain(|token| token.id == which || &*token.client_id == which || token.name == which);
        if tokens.is_empty() {
            return Err(StoreError::NotFound(format!(
                "no token has the id, client id or name `{which}`"
            )));
        }
        Ok(tokens)
    }

    /// Changes a token.
    pub async fn update_token(
        &self,
        token: &ServiceToken,
        change: TokenChange,
        now: UnixSeconds,
    ) -> Result<ServiceToken, StoreError> {
        let mut new = token.clone();
        new.updated_at = now;
        if let Some(name) = change.name {
            new.name = name;
        }
        if let Some(duration) = change.duration {
            new.expires_at = parse_duration(&duration)?.map(|seconds| now.saturating_add(seconds));
            new.duration = duration;
        }
        if let (Some(expires_at), Some(previous)) = (change.previous_expires_at, &mut new.previous) {
            previous.expires_at = expires_at;
        }
        if let Some(enabled) = change.enabled {
            new.enabled = enabled;
            if !enabled {
                new.previous = None;
            }
        }
        self.replace(token, &new).await?;
        Ok(new)
    }

    /// Gives a token a new secret. The old one works until `grace_until`, or dies at once.
    pub async fn rotate_token(
        &self,
        token: &ServiceToken,
        grace_until: Option<UnixSeconds>,
        now: UnixSeconds,
    ) -> Result<Minted, StoreError> {
        let minted = token.rotate(&random()?, now, grace_until);
        self.replace(token, &minted.token).await?;
        Ok(minted)
    }

    /// Extends a token by a year from now (documented).
    pub async fn refresh_token(
        &self,
        token: &ServiceToken,
        now: UnixSeconds,
    ) -> Result<ServiceToken, StoreError> {
        let mut new = token.clone();
        new.updated_at = now;
        new.expires_at = Some(now.saturating_add(365 * 24 * 3600));
        self.replace(token, &new).await?;
        Ok(new)
    }

    /// Deletes a token.
    pub async fn delete_token(&self, token: &ServiceToken) -> Result<(), StoreError> {
        self.change(vec![Statement::new(DELETE, vec![token.id.as_str().into()])])
            .await?;
        Ok(())
    }

    /// Notes when tokens were last used. Times are kept to within a minute, so that a busy token is not written for every
    /// request.
    pub async fn tokens_seen(&self, seen: Vec<(String, UnixSeconds)>) -> Result<(), StoreError> {
        let statements = seen
            .into_iter()
            .map(|(client_id, at)| {
                Statement::new(
                    SEEN,
                    vec![at.into(), client_id.into(), at.saturating_sub(59).into()],
                )
            })
            .collect();
        self.database
            .transact(crate::Purpose::Aside, statements)
            .await
            .map(|_| ())
    }

    /// Writes `new` over `old`, unless somebody else changed it meanwhile.
    async fn replace(&self, old: &ServiceToken, new: &ServiceToken) -> Result<(), StoreError> {
        let (previous_hash, previous_expires_at) = previous(new);
        let parameters = vec![
            new.name.as_str().into(),
            new.secret_hash.as_bytes().to_vec().into(),
            previous_hash,
            previous_expires_at,
            new.secret_version.into(),
            new.duration.as_str().into(),
            new.updated_at.into(),
            new.expires_at.into(),
            new.enabled.into(),
            old.id.as_str().into(),
            old.secret_version.into(),
            old.updated_at.into(),
        ];
        let replaced = self.change(vec![Statement::new(REPLACE, parameters)]).await?;
        if replaced.is_empty() {
            return Err(StoreError::Conflict(format!(
                "token {} was changed or deleted by somebody else just now; look again",
                old.client_id
            )));
        }
        Ok(())
    }
}

fn previous(token: &ServiceToken) -> (Value, Value) {
    let hash = token.previous.map(|previous| previous.hash.as_bytes().to_vec());
    (
        hash.into(),
        token.previous.map(|previous| previous.expires_at).into(),
    )
}

fn values(token: &ServiceToken) -> Vec<Value> {
    let (previous_hash, previous_expires_at) = previous(token);
    vec![
        token.id.as_str().into(),
        token.name.as_str().into(),
        token.client_id.as_ref().into(),
        token.secret_hash.as_bytes().to_vec().into(),
        previous_hash,
        previous_expires_at,
        token.secret_version.into(),
        token.duration.as_str().into(),
        token.created_at.into(),
        token.updated_at.into(),
        token.expires_at.into(),
        token.enabled.into(),
        token.last_seen_at.into(),
    ]
}

pub(crate) fn read_all(rows: Vec<Row>) -> Result<Vec<ServiceToken>, StoreError> {
    rows.into_iter()
        .map(|row| read(row).map_err(unreadable("a service token")))
        .collect()
}

fn read(mut row: Row) -> Result<ServiceToken, ColumnError> {
    let (id, name, client_id) = (row.text()?, row.text()?, row.text()?);
    let secret_hash = hash(row.bytes()?)?;
    let previous_hash = row.maybe_bytes()?.map(hash).transpose()?;
    let previous_expires_at = row.maybe_integer()?;
    Ok(ServiceToken {
        id,
        name,
        client_id: client_id.into(),
        secret_hash,
        previous: previous_hash
            .zip(previous_expires_at)
            .map(|(hash, expires_at)| PreviousSecret { hash, expires_at }),
        secret_version: row.integer()?,
        duration: row.text()?,
        created_at: row.integer()?,
        updated_at: row.integer()?,
        expires_at: row.maybe_integer()?,
        enabled: row.integer()? != 0,
        last_seen_at: row.maybe_integer()?,
    })
}

pub(crate) fn hash(bytes: Vec<u8>) -> Result<SecretHash, ColumnError> {
    match <[u8; 32]>::try_from(bytes) {
        Ok(bytes) => Ok(SecretHash::from_bytes(bytes)),
        Err(bytes) => Err(ColumnError::of(Value::Bytes(bytes))),
    }
}
