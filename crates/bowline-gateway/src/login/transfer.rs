//! Logins that wait for their program, sealed for its key.
//!
//! Source: cloudflared 2026.8, `token/`: the program makes a key pair for each attempt, and polls for a NaCl box sealed for
//! its public key. Whoever knows the public key may fetch the box; nobody else can open it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use bowline_access::UnixSeconds;
use bowline_access_store::random;
use bowline_binding::Body;
use crypto_box::aead::Aead;
use crypto_box::{KEY_SIZE, PublicKey, SalsaBox, SecretKey};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::gateway::Inner;
use crate::respond;

/// A poll is held this long: below what proxies commonly allow.
const HOLD: Duration = Duration::from_secs(25);
/// How long a box waits, in seconds: as long as programs do.
const WAITS: i64 = 600;
/// Boxes that wait. Each took a person who is logged in.
const WAITING: usize = 256;

/// A program's public key.
pub(super) type Key = [u8; KEY_SIZE];

/// The boxes of one gateway: a program polls the gateway at which its person signs in.
#[derive(Default)]
pub(crate) struct Boxes {
    sealed: Mutex<HashMap<Key, Sealed>>,
    put: Notify,
}

/// A login, sealed.
struct Sealed {
    /// The gateway's half of the key exchange.
    sender: HeaderValue,
    /// Nonce and box, in base64.
    text: String,
    until: UnixSeconds,
}

impl std::fmt::Debug for Boxes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Boxes")
    }
}

/// Reads a public key as programs write it: base64url.
pub(super) fn key(text: &str) -> Option<Key> {
    BASE64_URL_SAFE.decode(text).ok()?.try_into().ok()
}

impl Boxes {
    /// Seals `login` for a key and keeps it. `false` when too many wait.
    pub(super) fn put(&self, key: Key, login: &Value, now: UnixSeconds) -> bool {
        let Some(sealed) = seal(key, login, now) else {
            return false;
        };
        {
            let mut all = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, sealed| now < sealed.until);
            if all.len() >= WAITING {
                return false;
            }
            all.insert(key, sealed);
        }
        self.put.notify_waiters();
        true
    }

    fn taken(&self, key: &Key) -> Option<Sealed> {
        self.sealed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key)
    }

    /// The box for a key, once there is one. Cancel safe: nothing is taken by a future that is dropped.
    async fn take(&self, key: &Key) -> Option<Sealed> {
        let until = Instant::now() + HOLD;
        loop {
            // Registered before looking: a box that comes in between is not missed.
            let mut put = std::pin::pin!(self.put.notified());
            put.as_mut().enable();
            if let Some(sealed) = self.taken(key) {
                return Some(sealed);
            }
            tokio::time::timeout_at(until, put).await.ok()?;
        }
    }
}

fn seal(key: Key, login: &Value, now: UnixSeconds) -> Option<Sealed> {
    let sender = SecretKey::from_bytes(random().ok()?);
    let nonce: [u8; 24] = random().ok()?;
    let sealed = SalsaBox::new(&PublicKey::from_bytes(key), &sender)
        .encrypt(&nonce.into(), login.to_string().as_bytes())
        .ok()?;
    let sender = BASE64_URL_SAFE.encode(sender.public_key().as_bytes());
    Some(Sealed {
        sender: HeaderValue::try_from(sender).ok()?,
        text: BASE64_STANDARD.encode([&nonce[..], &sealed].concat()),
        until: now.saturating_add(WAITS),
    })
}

impl Inner {
    /// A program asks for its login.
    pub(super) async fn transfer(&self, is_get: bool, of: &str) -> Response<Body> {
        if !is_get {
            return respond::text(StatusCode::METHOD_NOT_ALLOWED, "a login can only be fetched");
        }
        let Some(key) = key(of) else {
            return respond::text(StatusCode::BAD_REQUEST, "that is no public key in base64url");
        };
        match self.boxes.take(&key).await {
            Some(sealed) => {
                let mut response = respond::text(StatusCode::OK, sealed.text);
                response.headers_mut().insert("service-public-key", sealed.sender);
                response
            }
            None => respond::text(StatusCode::NOT_FOUND, "nobody has signed in yet; ask again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_box_is_taken_once_by_whoever_knows_its_key() {
        let boxes = Boxes::default();
        let secret = SecretKey::from_bytes([7; KEY_SIZE]);
        let key = *secret.public_key().as_bytes();
        assert!(boxes.take(&key).await.is_none(), "a poll ends");
        let (taken, put) = tokio::join!(boxes.take(&key), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            boxes.put([1; KEY_SIZE], &json!({}), 0) && boxes.put(key, &json!({"app_token": "t0ken"}), 0)
        });
        assert!(put);
        let taken = taken.unwrap();
        assert!(!taken.text.contains("t0ken"));
        let sender: Key = BASE64_URL_SAFE
            .decode(taken.sender.as_bytes())
            .unwrap()
            .try_into()
            .unwrap();
        let bytes = BASE64_STANDARD.decode(&taken.text).unwrap();
        let nonce: [u8; 24] = bytes[..24].try_into().unwrap();
        let opened = SalsaBox::new(&PublicKey::from_bytes(sender), &secret)
            .decrypt(&nonce.into(), &bytes[24..])
            .unwrap();
        assert_eq!(opened, br#"{"app_token":"t0ken"}"#);
        assert!(boxes.take(&key).await.is_none());
        // What nobody fetches goes, and a full house takes no more until then.
        for number in 0..2 * WAITING {
            let mut key = [2; KEY_SIZE];
            key[..8].copy_from_slice(&(number as u64).to_be_bytes());
            assert_eq!(boxes.put(key, &json!({}), 1), number < WAITING - 1, "{number}");
        }
        assert!(boxes.put(key, &json!({}), 1 + WAITS));
    }

    #[test]
    fn keys() {
        assert_eq!(key(&BASE64_URL_SAFE.encode([9; 32])), Some([9; 32]));
        for none in ["", "AAAA", "!", &BASE64_URL_SAFE.encode([9; 33])] {
            assert_eq!(key(none), None, "{none}");
        }
    }
}
