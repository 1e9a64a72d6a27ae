//! Signing keys. The newest signs; the one before still verifies.

use bowline_access::UnixSeconds;

use crate::database::{Row, Statement};
use crate::store::unreadable;
use crate::{AccessStore, StoreError};

/// A signing key as it is stored. `Debug` shows no private part.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeyRecord {
    /// 64 hex digits.
    pub kid: String,
    /// The public key as a JWK, JSON.
    pub public_jwk: String,
    /// The same in a self-signed certificate, PEM.
    pub certificate: String,
    /// The private key, PKCS #8 in PEM.
    pub pkcs8: Vec<u8>,
    /// When it was made.
    pub created_at: UnixSeconds,
}

impl std::fmt::Debug for SigningKeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKeyRecord({}, {})", self.kid, self.created_at)
    }
}

impl AccessStore {
    /// Adds a key, which signs from now on, and forgets all but it and the one before. Nothing happens unless the newest key
    /// is `after` (or there is none): gateways that start or rotate together agree on one. Whether it was added.
    pub async fn add_signing_key(
        &self,
        key: &SigningKeyRecord,
        after: Option<&str>,
    ) -> Result<bool, StoreError> {
        let insert = Statement::new(
            "INSERT INTO signing_key (kid, public_jwk, certificate, created_at) SELECT $1, $2, $3, $4 \
             WHERE COALESCE((SELECT kid FROM signing_key ORDER BY created_at DESC, kid LIMIT 1), '') = $5",
            vec![
                key.kid.as_str().into(),
                key.public_jwk.as_str().into(),
                key.certificate.as_str().into(),
                key.created_at.into(),
                after.unwrap_or_default().into(),
            ],
        );
        let private = Statement::new(
            "INSERT INTO signing_key_private (kid, pkcs8) SELECT $1, $2 \
             WHERE EXISTS (SELECT 1 FROM signing_key WHERE kid = $1)",
            vec![key.kid.as_str().into(), key.pkcs8.clone().into()],
        );
        let added = Statement::new(
            "SELECT kid FROM signing_key WHERE kid = $1",
            vec![key.kid.as_str().into()],
        );
        let rows = self
            .change(vec![
                insert,
                private,
                Statement::new(FORGET_PRIVATE, Vec::new()),
                Statement::new(FORGET_KEYS, Vec::new()),
                added,
            ])
            .await?;
        Ok(!rows.is_empty())
    }

    /// The current key and the one before, newest first.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKeyRecord>, StoreError> {
        read(self.query(Statement::new(LIST, Vec::new())).await?)
    }
}

pub(crate) const LIST: &str = "SELECT kid, public_jwk, certificate, pkcs8, created_at FROM signing_key \
     JOIN signing_key_private USING (kid) ORDER BY created_at DESC, kid";

pub(crate) fn read(rows: Vec<Row>) -> Result<Vec<SigningKeyRecord>, StoreError> {
    rows.into_iter()
        .map(|mut row| {
            Ok(SigningKeyRecord {
                kid: row.text()?,
                public_jwk: row.text()?,
                certificate: row.text()?,
                pkcs8: row.bytes()?,
                created_at: row.integer()?,
            })
        })
        .map(|key| key.map_err(unreadable("a signing key")))
        .collect()
}

const FORGET_PRIVATE: &str = "DELETE FROM signing_key_private WHERE kid IN (SELECT kid FROM signing_key WHERE kid NOT IN \
     (SELECT kid FROM signing_key ORDER BY created_at DESC, kid LIMIT 2))";
const FORGET_KEYS: &str = "DELETE FROM signing_key WHERE kid NOT IN \
     (SELECT kid FROM signing_key ORDER BY created_at DESC, kid LIMIT 2)";
