//! Session tokens and preview tokens: made at random, kept as hashes, forgotten when they expire.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bowline_access::hex;
use bowline_access_store::random;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::stand::StandError;

/// Tokens of one kind at a time. More push out the oldest.
const MOST: usize = 1024;

/// Tokens of one kind, each standing for a `T`.
#[derive(Debug)]
pub(crate) struct Tokens<T>(Mutex<HashMap<Hashed, Known<T>>>);

/// What is kept of a token: looking it up takes no time that depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Hashed([u8; 32]);

#[derive(Debug)]
struct Known<T> {
    until: Instant,
    value: Arc<T>,
}

impl<T> Default for Tokens<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl Hashed {
    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl<T> Tokens<T> {
    /// A new token for `value`, good for `lifetime`.
    pub(crate) fn issue(&self, value: T, lifetime: Duration) -> Result<String, StandError> {
        let token = hex(&random::<32>()?);
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, known| known.until > now);
        if known.len() >= MOST
            && let Some(oldest) = known
                .iter()
                .min_by_key(|(_, known)| known.until)
                .map(|(key, _)| *key)
        {
            known.remove(&oldest);
        }
        let (until, value) = (now + lifetime, Arc::new(value));
        known.insert(Hashed::of(&token), Known { until, value });
        Ok(token)
    }

    /// What `token` stands for, unless it is unknown or has expired.
    pub(crate) fn find(&self, token: &str) -> Option<Arc<T>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(&Hashed::of(token))?;
        (found.until > Instant::now()).then(|| Arc::clone(&found.value))
    }

    /// Ends all of them now.
    pub(crate) fn expire(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What the tokens that are good stand for, the newest last.
    pub(crate) fn live(&self) -> Vec<Arc<T>> {
        let now = Instant::now();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut live: Vec<_> = known.values().filter(|known| known.until > now).collect();
        live.sort_by_key(|known| known.until);
        live.into_iter().map(|known| Arc::clone(&known.value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MOST, Tokens};

    #[tokio::test(start_paused = true)]
    async fn good_until_they_expire() {
        let tokens = Tokens::default();
        let old = tokens.issue("old", Duration::from_secs(60)).unwrap();
        tokio::time::advance(Duration::from_secs(59)).await;
        let new = tokens.issue("new", Duration::from_secs(60)).unwrap();
        assert_eq!(tokens.find(&old).as_deref(), Some(&"old"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(tokens.find(&old), None);
        assert_eq!(tokens.live().len(), 1);
        assert_eq!(tokens.find(&new).as_deref(), Some(&"new"));
        assert_eq!(tokens.find(&new[1..]), None);
        tokens.expire();
        assert_eq!(tokens.find(&new), None);
    }

    #[tokio::test(start_paused = true)]
    async fn bounded() {
        let tokens = Tokens::default();
        let first = tokens.issue(0, Duration::from_secs(60)).unwrap();
        for number in 1..=MOST {
            tokio::time::advance(Duration::from_millis(1)).await;
            tokens.issue(number, Duration::from_secs(60)).unwrap();
        }
        assert_eq!(tokens.live().len(), MOST);
        assert_eq!(tokens.find(&first), None);
    }
}
