//! Service tokens: the record that is stored, and making a new one.

use std::sync::Arc;

use bowline_secret::Secret;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::{DenyReason, DurationError, parse_duration};

/// Seconds since 1970-01-01T00:00:00Z.
pub type UnixSeconds = i64;

/// SHA-256 of a client secret. A slow hash would add nothing: secrets are random with more than 200 bits.
#[derive(Clone, Copy, Eq)]
pub struct SecretHash([u8; 32]);

impl PartialEq for SecretHash {
    /// Takes the same time wherever the difference is: there is no other way to compare two.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl SecretHash {
    /// The hash of `secret`.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// A stored hash.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `secret` hashes to this. Takes the same time wherever the difference is; hashing first also hides the
    /// secret's length.
    pub fn matches(&self, secret: &[u8]) -> bool {
        Self::of(secret) == *self
    }
}

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash(****)")
    }
}

/// A secret that a rotation replaced and that still works for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousSecret {
    /// What it hashes to.
    pub hash: SecretHash,
    /// When it stops working.
    pub expires_at: UnixSeconds,
}

/// A service token as it is stored: never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceToken {
    /// Record id, a UUID.
    pub id: String,
    /// The operator's name for it.
    pub name: String,
    /// What a client sends as `CF-Access-Client-Id`.
    pub client_id: Arc<str>,
    /// What the client's secret must hash to.
    pub secret_hash: SecretHash,
    /// The secret before the last rotation, while it still works.
    pub previous: Option<PreviousSecret>,
    /// Counts rotations, from 1.
    pub secret_version: i64,
    /// How long it lives from creation or its last renewal, as it was written (`8760h`, `forever`).
    pub duration: String,
    /// When it was made.
    pub created_at: UnixSeconds,
    /// When it was last changed.
    pub updated_at: UnixSeconds,
    /// When it stops working; `None` for never.
    pub expires_at: Option<UnixSeconds>,
    /// `false` once disabled.
    pub enabled: bool,
    /// When it last authenticated a request, to within a minute.
    pub last_seen_at: Option<UnixSeconds>,
}

impl ServiceToken {
    /// Checks a presented secret, then the token's state: the answer to a wrong secret does not tell whether a client id
    /// is disabled or expired. Both secrets of a rotation are always compared, so time does not tell either.
    pub fn authenticate(&self, secret: &[u8], now: UnixSeconds) -> Result<Authenticated<'_>, DenyReason> {
        let presented = SecretHash::of(secret);
        let current = presented.0.ct_eq(&self.secret_hash.0);
        let (hash, in_grace) = match &self.previous {
            Some(previous) => (previous.hash, now < previous.expires_at),
            None => (self.secret_hash, false),
        };
        let previous = presented.0.ct_eq(&hash.0) & Choice::from(u8::from(in_grace));
        if !bool::from(current | previous) {
            return Err(DenyReason::WrongSecret);
        }
        self.usable(now).map(|token| Authenticated {
            presented: Some(presented),
            ..token
        })
    }

    /// The token behind a session, whose signed token the caller has verified: no secret, only the state.
    pub fn usable(&self, now: UnixSeconds) -> Result<Authenticated<'_>, DenyReason> {
        if !self.enabled {
            return Err(DenyReason::Disabled);
        }
        if self.expires_at.is_some_and(|expires_at| now >= expires_at) {
            return Err(DenyReason::Expired);
        }
        Ok(Authenticated {
            token: self,
            presented: None,
        })
    }
}

/// Proof that a service token authenticated a request.
#[derive(Debug, Clone, Copy)]
pub struct Authenticated<'a> {
    token: &'a ServiceToken,
    presented: Option<SecretHash>,
}

impl<'a> Authenticated<'a> {
    /// The token.
    pub fn record(&self) -> &'a ServiceToken {
        self.token
    }

    /// The hash of the secret that was sent, so that a connection it opened can be judged again later.
    pub fn presented(&self) -> Option<SecretHash> {
        self.presented
    }
}

impl ServiceToken {
    /// Whether what [`Authenticated::presented`] told at an earlier time would still authenticate.
    pub fn still_accepts(&self, presented: Option<SecretHash>, now: UnixSeconds) -> bool {
        let known = presented.is_none_or(|hash| {
            hash == self.secret_hash
                || self
                    .previous
                    .is_some_and(|old| now < old.expires_at && hash == old.hash)
        });
        known && self.usable(now).is_ok()
    }
}

/// A new token with the only copy of its secret.
#[derive(Debug)]
pub struct Minted {
    /// The record to store.
    pub token: ServiceToken,
    /// Shown once, at creation.
    pub client_secret: Secret,
}

/// Random bytes of a client secret.
pub const SECRET_ENTROPY: usize = 40;
/// Random bytes [`mint`] needs.
pub const ENTROPY: usize = 16 + 16 + SECRET_ENTROPY;

/// Makes a token from `entropy`, which must come from a cryptographic source. `duration` is Go duration text or
/// `forever`.
///
/// The client id is 32 lowercase hex digits and `.access`.
pub fn mint(
    name: &str,
    entropy: &[u8; ENTROPY],
    now: UnixSeconds,
    duration: &str,
) -> Result<Minted, DurationError> {
    let (id, rest) = entropy.split_at(16);
    let (client, random) = rest.split_at(16);
    let client_secret = secret_text(random);
    let token = ServiceToken {
        id: uuid_v4(id),
        name: name.to_owned(),
        client_id: format!("{}.access", hex(client)).into(),
        secret_hash: SecretHash::of(client_secret.expose().as_bytes()),
        previous: None,
        secret_version: 1,
        duration: duration.to_owned(),
        created_at: now,
        updated_at: now,
        expires_at: parse_duration(duration)?.map(|seconds| now.saturating_add(seconds)),
        enabled: true,
        last_seen_at: None,
    };
    Ok(Minted { token, client_secret })
}

impl ServiceToken {
    /// Gives the token a new secret under the same client id. The old one works until `grace_until`, or dies at once.
    pub fn rotate(
        &self,
        entropy: &[u8; SECRET_ENTROPY],
        now: UnixSeconds,
        grace_until: Option<UnixSeconds>,
    ) -> Minted {
        let client_secret = secret_text(entropy);
        let token = Self {
            secret_hash: SecretHash::of(client_secret.expose().as_bytes()),
            previous: grace_until
                .filter(|until| *until > now)
                .map(|expires_at| PreviousSecret {
                    hash: self.secret_hash,
                    expires_at,
                }),
            secret_version: self.secret_version.saturating_add(1),
            updated_at: now,
            ..self.clone()
        };
        Minted { token, client_secret }
    }
}

/// A client secret in the form used since 2026-08-26: `cfast_`, 40 alphanumerics and 8 characters in the place of
/// Cloudflare's checksum, whose algorithm is not published. Ours are the first hex digits of the SHA-256 of the 40;
/// nothing ever validates them.
fn secret_text(random: &[u8]) -> Secret {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    // `% 62` favours eight letters by a third of a bit in total over 40 characters: 237 bits are left.
    let body: String = random
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % 62]))
        .collect();
    let check = hex(&Sha256::digest(body.as_bytes())[..4]);
    Secret::new(format!("cfast_{body}{check}"))
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
            text
        })
}

/// The text of a version 4 UUID from 16 random bytes (RFC 9562 §5.4).
pub fn uuid_v4(random: &[u8]) -> String {
    let mut bytes = random.to_vec();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let text = hex(&bytes);
    format!(
        "{}-{}-{}-{}-{}",
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..]
    )
}
