//! The token that requests to a preview session carry, and who says that it has ended.
//!
//! ```text
//! session ── publish, withdraw ──▶ PreviewTokens ──▶ ready() ──▶ a header of each request
//!    ▲                                                                │
//!    └────────────── expired ◀── the answer says so ◀─────────────────┘
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_secret::Secret;
use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{Semaphore, watch};

use crate::prepared::sensitive;

/// Requests that may wait for a token at a time.
const HELD: usize = 1024;
/// How long one may.
const HELD_FOR: Duration = Duration::from_secs(30);

/// A token and its number. `Debug` shows the number.
#[derive(Clone)]
pub struct PreviewToken {
    value: HeaderValue,
    generation: u64,
}

impl PreviewToken {
    /// A token. An error when it cannot stand in a header.
    pub fn new(token: &Secret, generation: u64) -> Result<Self, InvalidHeaderValue> {
        Ok(Self {
            value: sensitive(token.expose())?,
            generation,
        })
    }

    /// The number: a later token has a larger one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Adds it to a request under `name`, in place of any other.
    pub fn add_to(&self, name: HeaderName, headers: &mut HeaderMap) {
        headers.insert(name, self.value.clone());
    }
}

impl fmt::Debug for PreviewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PreviewToken({})", self.generation)
    }
}

/// Which tokens answers have spoken of. Signals are merged, so that any number of them costs no memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// The newest that no request passes with any more.
    pub dead: u64,
    /// The newest with which a product's own session is gone.
    pub stale: u64,
}

/// Why a request goes out without a token, which is to say not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPreview {
    /// None came in time.
    #[error("the preview session could not be renewed within {} s", HELD_FOR.as_secs())]
    Late,
    /// Too many requests wait already.
    #[error("{HELD} requests wait for the preview session already")]
    Full,
    /// The session is over.
    #[error("the preview session is over")]
    Over,
}

/// What requests ask. Cheap to clone.
#[derive(Clone)]
pub struct PreviewTokens {
    current: watch::Receiver<Option<PreviewToken>>,
    expired: Arc<watch::Sender<Expired>>,
    slots: Arc<Semaphore>,
}

/// The session's side. Dropped, the session is over.
#[derive(Debug)]
pub struct PreviewTokenSource {
    current: watch::Sender<Option<PreviewToken>>,
    expired: watch::Receiver<Expired>,
}

impl PreviewTokens {
    /// A session without a token yet.
    pub fn new() -> (PreviewTokenSource, Self) {
        let (current, receiver) = watch::channel(None);
        let (expired, told) = watch::channel(Expired::default());
        let source = PreviewTokenSource {
            current,
            expired: told,
        };
        let tokens = Self {
            current: receiver,
            expired: Arc::new(expired),
            slots: Arc::new(Semaphore::new(HELD)),
        };
        (source, tokens)
    }

    /// The token to send. Ready at once while there is one; otherwise the request waits for the next, at most half a minute
    /// and with a limited number of others. Cancel safe.
    pub async fn ready(&self) -> Result<PreviewToken, NoPreview> {
        self.newer_than(0).await
    }

    /// The next token after one that turned out to be dead.
    pub async fn newer_than(&self, generation: u64) -> Result<PreviewToken, NoPreview> {
        let good =
            |token: &Option<PreviewToken>| token.as_ref().is_some_and(|token| token.generation > generation);
        if let Some(token) = self.current.borrow().clone()
            && token.generation > generation
        {
            return Ok(token);
        }
        let _slot = self.slots.try_acquire().map_err(|_| NoPreview::Full)?;
        let mut current = self.current.clone();
        let next = current.wait_for(good);
        match tokio::time::timeout(HELD_FOR, next).await {
            Err(_) => Err(NoPreview::Late),
            Ok(Err(_)) => Err(NoPreview::Over),
            Ok(Ok(token)) => token.clone().ok_or(NoPreview::Over),
        }
    }

    /// The current token's number, `0` while there is none.
    pub fn generation(&self) -> u64 {
        self.current.borrow().as_ref().map_or(0, PreviewToken::generation)
    }

    /// Notes that no request passes with a token of this number.
    pub fn dead(&self, generation: u64) {
        self.expired.send_if_modified(|expired| {
            let news = generation > expired.dead;
            expired.dead = expired.dead.max(generation);
            news
        });
    }

    /// Notes that a product's session went with a token of this number.
    pub fn stale(&self, generation: u64) {
        self.expired.send_if_modified(|expired| {
            let news = generation > expired.stale;
            expired.stale = expired.stale.max(generation);
            news
        });
    }
}

impl fmt::Debug for PreviewTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PreviewTokens({})", self.generation())
    }
}

impl PreviewTokenSource {
    /// What requests carry from now on; those that waited go on.
    pub fn publish(&self, token: PreviewToken) {
        self.current.send_replace(Some(token));
    }

    /// From now on requests wait.
    pub fn withdraw(&self) {
        self.current.send_replace(None);
    }

    /// The next news of tokens that have ended. Pending for ever once nobody sends requests any more. Cancel safe.
    pub async fn expired(&mut self) -> Expired {
        if self.expired.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.expired.borrow_and_update()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(generation: u64) -> PreviewToken {
        PreviewToken::new(&Secret::new("p"), generation).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_only_while_there_is_no_token() {
        let (source, tokens) = PreviewTokens::new();
        let waiting = tokio::spawn({
            let tokens = tokens.clone();
            async move { tokens.ready().await.map(|token| token.generation()) }
        });
        tokio::task::yield_now().await;
        source.publish(token(1));
        assert_eq!(waiting.await.unwrap(), Ok(1));
        source.withdraw();
        assert_eq!(tokens.ready().await.unwrap_err(), NoPreview::Late);
        source.publish(token(2));
        assert_eq!(tokens.ready().await.unwrap().generation(), 2);
        assert_eq!(tokens.newer_than(1).await.unwrap().generation(), 2);
        assert_eq!(tokens.newer_than(2).await.unwrap_err(), NoPreview::Late);
        drop(source);
        assert_eq!(tokens.newer_than(2).await.unwrap_err(), NoPreview::Over);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_wait_than_there_is_room_for() {
        let (_source, tokens) = PreviewTokens::new();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..HELD {
            let tokens = tokens.clone();
            waiting.spawn(async move { tokens.ready().await.map(|_| ()) });
        }
        while tokens.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(tokens.ready().await.unwrap_err(), NoPreview::Full);
        while let Some(ended) = waiting.join_next().await {
            assert_eq!(ended.unwrap(), Err(NoPreview::Late));
        }
    }

    #[tokio::test]
    async fn signals_are_merged() {
        let (mut source, tokens) = PreviewTokens::new();
        for _ in 0..5 {
            tokens.dead(3);
        }
        tokens.stale(2);
        tokens.dead(1);
        assert_eq!(source.expired().await, Expired { dead: 3, stale: 2 });
        tokens.dead(3);
        let more = tokio::time::timeout(Duration::from_millis(10), source.expired()).await;
        assert!(more.is_err(), "{more:?}");
    }

    #[test]
    fn never_shown() {
        let token = PreviewToken::new(&Secret::new("hunter2"), 1).unwrap();
        let mut headers = HeaderMap::new();
        token.add_to(HeaderName::from_static("x"), &mut headers);
        assert!(!format!("{token:?} {headers:?}").contains("hunter2"));
        assert_eq!(headers["x"], "hunter2");
    }
}
