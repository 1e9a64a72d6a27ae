//! Tokens that guard the REST API. Only their hashes are stored.

use bowline_access::{SecretHash, UnixSeconds, hex, uuid_v4};
use bowline_secret::Secret;

use crate::database::{Row, Statement};
use crate::store::{random, unreadable};
use crate::{AccessStore, StoreError};

/// A token for the REST API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Record id.
    pub id: String,
    /// The operator's name for it.
    pub name: String,
    /// What the token must hash to.
    pub hash: SecretHash,
    /// When it was made.
    pub created_at: UnixSeconds,
    /// When it stops working; `None` for never.
    pub expires_at: Option<UnixSeconds>,
}

impl AccessStore {
    /// Makes a token for the REST API; its text is in the answer and nowhere else. `lifetime` in seconds, `None` for never.
    pub async fn create_api_token(
        &self,
        name: &str,
        lifetime: Option<i64>,
        now: UnixSeconds,
    ) -> Result<(ApiToken, Secret), StoreError> {
        let text = format!("bowline_{}", hex(&random::<32>()?));
        let token = ApiToken {
            id: uuid_v4(&random::<16>()?),
            name: name.to_owned(),
            hash: SecretHash::of(text.as_bytes()),
            created_at: now,
            expires_at: lifetime.map(|seconds| now.saturating_add(seconds)),
        };
        let insert = Statement::new(
            "INSERT INTO api_token (id, name, token_hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
            vec![
                token.id.as_str().into(),
                name.into(),
                token.hash.as_bytes().to_vec().into(),
                now.into(),
                token.expires_at.into(),
            ],
        );
        self.change(vec![insert]).await?;
        Ok((token, Secret::new(text)))
    }

    /// All API tokens, oldest first.
    pub async fn api_tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        read(self.query(Statement::new(LIST, Vec::new())).await?)
    }

    /// Deletes the API tokens whose id or name is `which`; how many there were.
    pub async fn delete_api_token(&self, which: &str) -> Result<usize, StoreError> {
        let delete = Statement::new(
            "DELETE FROM api_token WHERE id = $1 OR name = $1 RETURNING id",
            vec![which.into()],
        );
        match self.change(vec![delete]).await?.len() {
            0 => Err(StoreError::NotFound(format!(
                "no API token has the id or name `{which}`"
            ))),
            count => Ok(count),
        }
    }
}

pub(crate) const LIST: &str =
    "SELECT id, name, token_hash, created_at, expires_at FROM api_token ORDER BY created_at, id";

pub(crate) fn read(rows: Vec<Row>) -> Result<Vec<ApiToken>, StoreError> {
    rows.into_iter()
        .map(|mut row| {
            Ok(ApiToken {
                id: row.text()?,
                name: row.text()?,
                hash: crate::tokens::hash(row.bytes()?)?,
                created_at: row.integer()?,
                expires_at: row.maybe_integer()?,
            })
        })
        .map(|token| token.map_err(unreadable("an API token")))
        .collect()
}
