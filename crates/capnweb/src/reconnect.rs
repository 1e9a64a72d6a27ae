//! A client that comes back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Error, Stub};

/// How a [`Reconnecting`] goes about it.
#[derive(Debug, Clone)]
pub struct ReconnectOptions {
    /// How long one attempt may take: to connect, and to build on it.
    pub attempt_deadline: Duration,
    /// The pause after the second failure in a row; the first is tried again at once. It doubles from failure to failure.
    pub first_pause: Duration,
    /// The longest pause. A session that broke before it lasted this long counts as a failure.
    pub longest_pause: Duration,
}

impl Default for ReconnectOptions {
    fn default() -> Self {
        Self {
            attempt_deadline: Duration::from_secs(30),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(10),
        }
    }
}

/// What happened to a session.
#[derive(Debug, Clone)]
pub struct Break {
    /// Why it broke.
    pub error: Error,
    /// How many calls had no answer. Whether the peer carried them out is not known: to repeat them is the application's
    /// decision.
    pub in_flight: usize,
}

/// There was no session in time.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no connection within {} s", .waited.as_secs_f32())]
pub struct NotConnected {
    /// How long it was waited for.
    pub waited: Duration,
    /// Why the last attempt failed, or the last session broke; `None` while the first attempt runs.
    #[source]
    pub last_error: Option<Error>,
}

/// Holds something built on a session, and builds it anew whenever the session breaks.
///
/// The break is noticed when it happens, not at the next call. Dropping the last clone ends the session.
#[derive(Debug)]
pub struct Reconnecting<T> {
    current: watch::Receiver<Current<T>>,
    _task: Arc<AbortOnDrop>,
}

#[derive(Debug)]
struct Current<T> {
    built: Option<T>,
    last_error: Option<Error>,
}

impl<T> Clone for Reconnecting<T> {
    fn clone(&self) -> Self {
        Self {
            current: self.current.clone(),
            _task: Arc::clone(&self._task),
        }
    }
}

#[derive(Debug)]
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Clone + Send + Sync + 'static> Reconnecting<T> {
    /// `connect` opens a session; `build` makes of its main stub what the application uses (subscriptions, logins, stubs).
    /// Either failing is tried again after a pause, for as long as this lives: [`last_error`](Self::last_error) tells why.
    /// `on_break` is told of every session that broke.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(
        options: ReconnectOptions,
        connect: impl Fn() -> BoxFuture<'static, Result<Stub, Error>> + Send + Sync + 'static,
        build: impl Fn(Stub) -> BoxFuture<'static, Result<T, Error>> + Send + Sync + 'static,
        on_break: impl Fn(Break) + Send + Sync + 'static,
    ) -> Self {
        let (sender, current) = watch::channel(Current {
            built: None,
            last_error: None,
        });
        let task = tokio::spawn(async move {
            let mut pauses = Pauses::new(&options);
            loop {
                let attempt = async {
                    let main = connect().await?;
                    let value = build(main.clone()).await?;
                    Ok::<_, Error>((main, value))
                };
                let attempt = tokio::time::timeout(options.attempt_deadline, attempt).await;
                let (main, built) = match attempt.unwrap_or_else(|_| Err(too_slow(&options))) {
                    Ok(both) => both,
                    Err(error) => {
                        sender.send_modify(|current| current.last_error = Some(error));
                        pauses.next().await;
                        continue;
                    }
                };
                let since = Instant::now();
                sender.send_modify(|current| {
                    current.built = Some(built);
                    current.last_error = None;
                });
                // One of ours has no session, and does not break.
                let Some(session) = main.session() else { return };
                let error = session.broken().await;
                sender.send_modify(|current| {
                    current.built = None;
                    current.last_error = Some(error.clone());
                });
                on_break(Break {
                    error,
                    in_flight: session.in_flight(),
                });
                drop(main);
                if since.elapsed() >= options.longest_pause {
                    pauses = Pauses::new(&options);
                }
                pauses.next().await;
            }
        });
        Self {
            current,
            _task: Arc::new(AbortOnDrop(task)),
        }
    }

    /// What was built on the present session; waits while there is none, as long as that takes. Cancel safe.
    pub async fn get(&self) -> T {
        let mut current = self.current.clone();
        loop {
            if let Some(built) = current.borrow_and_update().built.clone() {
                return built;
            }
            if current.changed().await.is_err() {
                // The task lives as long as this handle does, so there is nothing more to wait for.
                std::future::pending::<()>().await;
            }
        }
    }

    /// As [`get`](Self::get), for at most so long; the error says why there was no session.
    pub async fn get_within(&self, deadline: Duration) -> Result<T, NotConnected> {
        let built = tokio::time::timeout(deadline, self.get()).await;
        built.map_err(|_| NotConnected {
            waited: deadline,
            last_error: self.last_error(),
        })
    }

    /// What was built on the present session, if there is one.
    pub fn try_get(&self) -> Option<T> {
        self.current.borrow().built.clone()
    }

    /// Why there is no session: what the last attempt failed with, or the last session broke with. `None` with a session,
    /// and while the first attempt runs.
    pub fn last_error(&self) -> Option<Error> {
        self.current.borrow().last_error.clone()
    }

    /// Waits until a session was opened or broke, or an attempt failed, since the last time this was called. Cancel safe.
    pub async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn too_slow(options: &ReconnectOptions) -> Error {
    let text = format!("no session within {} s", options.attempt_deadline.as_secs_f32());
    Error::new("Error", text)
}

/// The pauses between attempts: none at first, then longer and longer.
struct Pauses {
    next: Duration,
    first: Duration,
    longest: Duration,
}

impl Pauses {
    fn new(options: &ReconnectOptions) -> Self {
        Self {
            next: Duration::ZERO,
            first: options.first_pause,
            longest: options.longest_pause,
        }
    }

    async fn next(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).clamp(self.first.min(self.longest), self.longest);
    }
}
