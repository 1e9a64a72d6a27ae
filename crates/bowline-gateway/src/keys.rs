//! Signing keys: making, signing, verifying, publishing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bowline_access::{Session, UnixSeconds, hex};
use bowline_access_store::{SigningKeyRecord, Snapshot};
use http::HeaderValue;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, jwk::Jwk};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// How long the previous key still verifies (documented).
const OLD_KEY: i64 = 7 * 24 * 3600;
/// Tokens that are kept to be used again, and verified ones that are kept as such.
const KEPT: usize = 4096;

/// A key could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Making a key failed.
    #[error("make a signing key")]
    Generate(#[from] rcgen::Error),
    /// Signing or reading a key failed.
    #[error("use a signing key")]
    Use(#[from] jsonwebtoken::errors::Error),
    /// A key's public half cannot be written.
    #[error("write a public key")]
    Json(#[from] serde_json::Error),
    /// There is no key at all.
    #[error("there is no signing key")]
    None,
}

/// Makes an RSA key of 2048 bits with a self-signed certificate that lasts as long as the key may. Takes up to a second of
/// CPU time.
pub(crate) fn generate(now: UnixSeconds) -> Result<SigningKeyRecord, KeyError> {
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let mut parameters = CertificateParams::default();
    parameters
        .distinguished_name
        .push(DnType::CommonName, "Bowline Access signing key");
    let certificate = parameters.self_signed(&pair)?.pem();
    let pkcs8 = pair.serialize_pem().into_bytes();
    let kid = hex(&Sha256::digest(pair.public_key_raw()));
    let mut jwk = Jwk::from_encoding_key(&EncodingKey::from_rsa_pem(&pkcs8)?, Algorithm::RS256)?;
    jwk.common.key_id = Some(kid.clone());
    jwk.common.public_key_use = Some(jsonwebtoken::jwk::PublicKeyUse::Signature);
    Ok(SigningKeyRecord {
        public_jwk: serde_json::to_string(&jwk)?,
        kid,
        certificate,
        pkcs8,
        created_at: now,
    })
}

/// What is published: the current key and the one before, as JWKs and as certificates.
pub(crate) fn published(snapshot: &Snapshot) -> Value {
    let keys: Vec<Value> = snapshot
        .keys
        .iter()
        .filter_map(|key| serde_json::from_str(&key.public_jwk).ok())
        .collect();
    let certificates: Vec<Value> = snapshot
        .keys
        .iter()
        .map(|key| json!({"kid": key.kid, "cert": key.certificate}))
        .collect();
    json!({"keys": keys, "public_cert": certificates.first(), "public_certs": certificates})
}

/// The key it was verified with, and its claims.
type VerifiedToken = (String, Arc<Value>);
/// With the times from and until which the token is used again.
type IssuedToken = (HeaderValue, UnixSeconds, UnixSeconds);

/// Signs and verifies with the keys of a snapshot, and remembers what it did: a signature costs a millisecond.
#[derive(Default)]
pub(crate) struct Keys {
    signer: Mutex<Option<(String, Arc<EncodingKey>)>>,
    issued: Mutex<HashMap<Issued, IssuedToken>>,
    /// By the token's hash.
    verified: Mutex<HashMap<[u8; 32], VerifiedToken>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// What a token that can be used again was issued for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Issued {
    /// The signing key.
    pub(crate) kid: String,
    /// `iss`.
    pub(crate) issuer: Arc<str>,
    /// The application, or what else the token is about.
    pub(crate) aud: Arc<str>,
    /// Whose it is.
    pub(crate) who: String,
    /// The session's length in seconds.
    pub(crate) session: u64,
}

impl Keys {
    /// A token for `claims`, or the one issued for the same before, while half of its time is left. Blocks for the time
    /// of a signature when there is none.
    pub(crate) fn issue(
        &self,
        snapshot: &Snapshot,
        issued: Issued,
        now: UnixSeconds,
        claims: impl FnOnce() -> Option<Value>,
    ) -> Result<Option<HeaderValue>, KeyError> {
        if let Some((token, from, until)) = lock(&self.issued).get(&issued)
            && now < *until
            && !snapshot.revoked_any(*from, || {
                [format!("app:{}", issued.aud), format!("token:{}", issued.who)]
            })
        {
            return Ok(Some(token.clone()));
        }
        let Some(claims) = claims() else {
            return Ok(None);
        };
        let token = self.sign(snapshot, &claims)?;
        // Base64 and dots.
        let Ok(mut value) = HeaderValue::try_from(token) else {
            return Ok(None);
        };
        value.set_sensitive(true);
        let mut kept = lock(&self.issued);
        if kept.len() >= KEPT {
            kept.retain(|_, (_, _, until)| now < *until);
            if kept.len() >= KEPT {
                kept.clear();
            }
        }
        let half = i64::try_from(issued.session / 2).unwrap_or(i64::MAX);
        kept.insert(issued, (value.clone(), now, now.saturating_add(half)));
        Ok(Some(value))
    }

    /// Signs with the newest key.
    pub(crate) fn sign(&self, snapshot: &Snapshot, claims: &Value) -> Result<String, KeyError> {
        let newest = snapshot.keys.first().ok_or(KeyError::None)?;
        let signer = {
            let mut signer = lock(&self.signer);
            match &*signer {
                Some((kid, key)) if *kid == newest.kid => Arc::clone(key),
                _ => {
                    let key = Arc::new(EncodingKey::from_rsa_pem(&newest.pkcs8)?);
                    *signer = Some((newest.kid.clone(), Arc::clone(&key)));
                    key
                }
            }
        };
        let header = Header {
            kid: Some(newest.kid.clone()),
            ..Header::new(Algorithm::RS256)
        };
        Ok(jsonwebtoken::encode(&header, claims, &signer)?)
    }

    /// The session of an application token, if the signature is ours and the claims are in order.
    pub(crate) fn session(
        &self,
        snapshot: &Snapshot,
        token: &str,
        issuer: &str,
        now: UnixSeconds,
    ) -> Option<Session> {
        let claims = self.verify(snapshot, token, now)?;
        Session::parse(&claims, issuer, now).ok()
    }

    /// The claims of another token of ours, if it is of this type and has not ended.
    pub(crate) fn claims(
        &self,
        snapshot: &Snapshot,
        token: &str,
        of: &str,
        now: UnixSeconds,
    ) -> Option<Arc<Value>> {
        self.verify(snapshot, token, now)
            .filter(|claims| claims["type"] == of)
            .filter(|claims| claims["exp"].as_i64().is_some_and(|end| now < end))
    }

    /// The claims of a token that one of our keys signed.
    fn verify(&self, snapshot: &Snapshot, token: &str, now: UnixSeconds) -> Option<Arc<Value>> {
        let usable = |kid: &str| {
            let newest = snapshot.keys.first()?;
            let key = snapshot.keys.iter().find(|key| key.kid == kid)?;
            (key.kid == newest.kid || now < newest.created_at.saturating_add(OLD_KEY)).then_some(key)
        };
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some((kid, claims)) = lock(&self.verified).get(&digest)
            && usable(kid).is_some()
        {
            return Some(Arc::clone(claims));
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        let key = usable(header.kid.as_deref()?)?;
        let jwk: Jwk = serde_json::from_str(&key.public_jwk).ok()?;
        // The claims are checked by `Session::parse`, by our clock.
        let mut validation = Validation::new(Algorithm::RS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let decoded =
            jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(&jwk).ok()?, &validation).ok()?;
        let claims = Arc::new(decoded.claims);
        let mut verified = lock(&self.verified);
        if verified.len() >= KEPT {
            verified.clear();
        }
        verified.insert(digest, (key.kid.clone(), Arc::clone(&claims)));
        Some(claims)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
