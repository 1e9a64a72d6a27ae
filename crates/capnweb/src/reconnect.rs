//! A client that comes back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::{Error, Stub};

/// The first pause after a connection that could not be made, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What happened to a session.
#[derive(Debug, Clone)]
pub struct Break {
    /// Why it broke.
    pub error: Error,
    /// How many calls had no answer. Whether the peer carried them out is not known: to repeat them is the application's
    /// decision.
    pub in_flight: usize,
}

/// Holds something built on a session, and builds it anew whenever the session breaks.
///
/// The break is noticed when it happens, not at the next call. Dropping the last clone ends the session.
#[derive(Debug)]
pub struct Reconnecting<T> {
    current: watch::Receiver<Option<T>>,
    _task: Arc<AbortOnDrop>,
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
    /// Either failing is tried again after a pause, which grows up to ten seconds. `on_break` is told of every session that
    /// broke.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(
        connect: impl Fn() -> BoxFuture<'static, Result<Stub, Error>> + Send + Sync + 'static,
        build: impl Fn(Stub) -> BoxFuture<'static, Result<T, Error>> + Send + Sync + 'static,
        on_break: impl Fn(Break) + Send + Sync + 'static,
    ) -> Self {
        let (sender, current) = watch::channel(None);
        let task = tokio::spawn(async move {
            let mut pause = PAUSE.0;
            loop {
                let built = async {
                    let main = connect().await?;
                    let value = build(main.clone()).await?;
                    Ok::<_, Error>((main, value))
                };
                let Ok((main, value)) = built.await else {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                    continue;
                };
                pause = PAUSE.0;
                sender.send_replace(Some(value));
                let Some(session) = main.session() else { return };
                let error = session.broken().await;
                sender.send_replace(None);
                on_break(Break {
                    error,
                    in_flight: session.in_flight(),
                });
            }
        });
        Self {
            current,
            _task: Arc::new(AbortOnDrop(task)),
        }
    }

    /// What was built on the present session; waits while there is none. Cancel safe. Bound it with a timeout: a server may
    /// stay away.
    pub async fn get(&self) -> T {
        let mut current = self.current.clone();
        loop {
            if let Some(value) = current.borrow_and_update().clone() {
                return value;
            }
            if current.changed().await.is_err() {
                // The task lives as long as this handle does, so there is nothing more to wait for.
                std::future::pending::<()>().await;
            }
        }
    }
}
