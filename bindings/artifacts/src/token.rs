//! Repository tokens: what a git client sends as its password.

use rand::TryRng;
use rand::rngs::{SysError, SysRng};
use sha2::{Digest, Sha256};

/// The alphabet and length of ids.
const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const ID: usize = 16;

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Read,
    Write,
}

impl Scope {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// The SHA-256 of a token's secret: all that is kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SecretHash(pub(crate) [u8; 32]);

impl SecretHash {
    /// Of a token as a client sends it, with or without `?expires=`.
    pub(crate) fn of(token: &str) -> Self {
        let secret = token.split('?').next().unwrap_or_default();
        Self(Sha256::digest(secret.as_bytes()).into())
    }
}

/// A new token. The text is shown once and not kept.
pub(crate) struct Minted {
    pub(crate) id: String,
    pub(crate) plaintext: String,
    pub(crate) hash: SecretHash,
}

/// `expires_at` in seconds since 1970.
pub(crate) fn mint(expires_at: i64) -> Result<Minted, SysError> {
    let mut secret = [0; 20];
    SysRng.try_fill_bytes(&mut secret)?;
    let mut plaintext = String::from("art_v2_x_");
    for byte in secret {
        plaintext.push_str(&format!("{byte:02x}"));
    }
    let hash = SecretHash::of(&plaintext);
    plaintext.push_str(&format!("?expires={expires_at}"));
    Ok(Minted {
        id: new_id()?,
        plaintext,
        hash,
    })
}

/// 16 characters of base 36.
pub(crate) fn new_id() -> Result<String, SysError> {
    let mut id = String::with_capacity(ID);
    while id.len() < ID {
        let mut bytes = [0; ID];
        SysRng.try_fill_bytes(&mut bytes)?;
        // 252 is the largest multiple of 36 in a byte: above it some characters would be likelier than others.
        for byte in bytes.into_iter().filter(|byte| *byte < 252) {
            if id.len() < ID {
                id.push(char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
            }
        }
    }
    Ok(id)
}

pub(crate) fn is_id(text: &str) -> bool {
    text.len() == ID && text.bytes().all(|byte| ALPHABET.contains(&byte))
}

/// Whether a text has the form of a token, of today or of before.
pub(crate) fn is_token(text: &str) -> bool {
    let (secret, expires) = text.split_once('?').map_or((text, None), |(a, b)| (a, Some(b)));
    let digits = match secret.strip_prefix("art_v1_") {
        Some(digits) => Some(digits),
        None => secret
            .strip_prefix("art_v2_")
            .and_then(|rest| rest.strip_prefix(['x', 'e', 'u', 'f']))
            .and_then(|rest| rest.strip_prefix('_')),
    };
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digits.is_some_and(|digits| digits.len() == 40 && digits.bytes().all(hex))
        && expires.is_none_or(|expires| {
            expires
                .strip_prefix("expires=")
                .is_some_and(|at| !at.is_empty() && at.bytes().all(|byte| byte.is_ascii_digit()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_their_form_and_hash_without_their_suffix() {
        let minted = mint(1_900_000_000).unwrap();
        assert!(is_token(&minted.plaintext) && is_id(&minted.id));
        let secret = minted.plaintext.strip_suffix("?expires=1900000000").unwrap();
        assert!(SecretHash::of(secret) == minted.hash && SecretHash::of(&minted.plaintext) == minted.hash);
        assert!(is_token(&format!("art_v1_{}", "0f".repeat(20))));
        for bad in [
            "",
            "art_v2_x_",
            "art_v3_x_00",
            "art_v2_z_0000000000000000000000000000000000000000",
        ] {
            assert!(!is_token(bad), "{bad}");
        }
        assert!(!is_token(&format!("{secret}?expires=")) && !is_token(&secret.to_uppercase()));
    }
}
