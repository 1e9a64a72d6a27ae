//! Service tokens: the record that is stored, and making a new one.

use bowline_secret::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Seconds since 1970-01-01T00:00:00Z.
pub type UnixSeconds = i64;

/// SHA-256 of a client secret. A slow hash would add nothing: secrets are random with more than 200 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

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
        Self::of(secret).0.ct_eq(&self.0).into()
    }
}

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash(****)")
    }
}

/// A service token as it is stored: never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceToken {
    /// Record id, a UUID.
    pub id: String,
    /// The operator's name for it.
    pub name: String,
    /// What a client sends as `CF-Access-Client-Id`.
    pub client_id: String,
    /// What the client's secret must hash to.
    pub secret_hash: SecretHash,
    /// When it was made.
    pub created_at: UnixSeconds,
    /// When it stops working; `None` for never.
    pub expires_at: Option<UnixSeconds>,
    /// `false` once disabled.
    pub enabled: bool,
}

/// A new token with the only copy of its secret.
#[derive(Debug)]
pub struct Minted {
    /// The record to store.
    pub token: ServiceToken,
    /// Shown once, at creation.
    pub client_secret: Secret,
}

/// Random bytes [`mint`] needs.
pub const ENTROPY: usize = 16 + 16 + 40;

/// Makes a token from `entropy`, which must come from a cryptographic source. `lifetime` is in seconds, `None` for
/// never.
///
/// The client id is 32 lowercase hex digits and `.access`; the secret is `cfast_`, 40 alphanumerics and 8 characters
/// in the place of Cloudflare's checksum, whose algorithm is not published: ours are the first hex digits of the
/// SHA-256 of the 40. Nothing ever validates them.
pub fn mint(name: &str, entropy: &[u8; ENTROPY], now: UnixSeconds, lifetime: Option<i64>) -> Minted {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let (id, rest) = entropy.split_at(16);
    let (client, random) = rest.split_at(16);
    // `% 62` favours eight letters by a third of a bit in total over 40 characters: 237 bits are left.
    let body: String = random
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % 62]))
        .collect();
    let check = hex(&Sha256::digest(body.as_bytes())[..4]);
    let client_secret = format!("cfast_{body}{check}");
    let token = ServiceToken {
        id: uuid_v4(id),
        name: name.to_owned(),
        client_id: format!("{}.access", hex(client)),
        secret_hash: SecretHash::of(client_secret.as_bytes()),
        created_at: now,
        expires_at: lifetime.map(|seconds| now.saturating_add(seconds)),
        enabled: true,
    };
    Minted {
        token,
        client_secret: Secret::new(client_secret),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of a version 4 UUID from 16 random bytes (RFC 9562 §5.4).
fn uuid_v4(random: &[u8]) -> String {
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
