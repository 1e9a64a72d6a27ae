//! Signatures of delivery URLs, as Cloudflare's are: HMAC-SHA-256 over the path and the query before `sig`, in hex.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::hex;

/// What the Worker may know the one key as.
pub(crate) const KEY_NAME: &str = "default";

/// The key of signed URLs.
pub(crate) struct SigningKey([u8; 32]);

/// Why a signed URL is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsigned {
    #[error("Missing signature")]
    Missing,
    #[error("Signature expired")]
    Expired,
    #[error("Invalid signature")]
    Invalid,
}

impl SigningKey {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The query that lets somebody read `path`, until `expires_at` (seconds since 1970) or for good.
    pub(crate) fn sign(&self, path: &str, expires_at: Option<i64>) -> String {
        let until = expires_at.map_or_else(String::new, |at| format!("exp={at}"));
        let signed = self.mac(path, &until).finalize().into_bytes();
        let and = if until.is_empty() { "" } else { "&" };
        format!("{until}{and}sig={}", hex(&signed))
    }

    /// Judges a query that came with `path`. `now` in seconds since 1970.
    pub(crate) fn verify(&self, path: &str, query: &str, now: i64) -> Result<(), Unsigned> {
        let mut signature = None;
        let (mut rest, mut expires_at) = (Vec::new(), None);
        for member in query.split('&').filter(|member| !member.is_empty()) {
            match member.split_once('=') {
                Some(("sig", value)) => signature = Some(value),
                Some(("exp", value)) => {
                    expires_at = Some(value);
                    rest.push(member);
                }
                _ => rest.push(member),
            }
        }
        let signature = signature.and_then(unhex).ok_or(if signature.is_none() {
            Unsigned::Missing
        } else {
            Unsigned::Invalid
        })?;
        // Takes the same time whatever differs.
        self.mac(path, &rest.join("&"))
            .verify_slice(&signature)
            .map_err(|_| Unsigned::Invalid)?;
        match expires_at.map(str::parse::<i64>) {
            None => Ok(()),
            Some(Ok(at)) if at >= now => Ok(()),
            Some(_) => Err(Unsigned::Expired),
        }
    }

    fn mac(&self, path: &str, query: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(path.as_bytes());
        if !query.is_empty() {
            mac.update(b"?");
            mac.update(query.as_bytes());
        }
        mac
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match *pair {
            [high, low] => Some(digit(high)? * 16 + digit(low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_its_path_and_time() {
        let key = SigningKey::new([7; 32]);
        let (path, now) = ("/images/delivery/a/public", 1_900_000_000);
        let query = key.sign(path, Some(now + 60));
        assert_eq!(key.verify(path, &query, now), Ok(()));
        assert_eq!(key.verify(path, &query, now + 61), Err(Unsigned::Expired));
        assert_eq!(
            key.verify("/images/delivery/b/public", &query, now),
            Err(Unsigned::Invalid)
        );
        assert_eq!(
            key.verify(
                path,
                &query.replace(&(now + 60).to_string(), &(now + 90).to_string()),
                now
            ),
            Err(Unsigned::Invalid)
        );
        assert_eq!(
            SigningKey::new([8; 32]).verify(path, &query, now),
            Err(Unsigned::Invalid)
        );
        assert_eq!(key.verify(path, "", now), Err(Unsigned::Missing));
        for bad in ["sig=", "sig=zz", "sig=abc", "sig=é"] {
            assert_eq!(key.verify(path, bad, now), Err(Unsigned::Invalid), "{bad}");
        }
        assert_eq!(key.verify(path, &key.sign(path, None), i64::MAX), Ok(()));
    }
}
