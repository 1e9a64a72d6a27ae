//! What a session may be told, and the handle to one.

use std::sync::Arc;
use std::time::Duration;

use capnweb_proto::{PlainError, ProtocolError, Stats};

use crate::core::{Core, Registration};
use crate::{Error, Limits, Stub, Target};

/// Asked for every error before it is sent; what it returns is sent instead, with its stack.
pub type OnSendError = Arc<dyn Fn(&PlainError) -> Option<PlainError> + Send + Sync>;

/// What a session may be told.
#[derive(Clone)]
pub struct SessionOptions {
    /// Bounds on what the peer may do.
    pub limits: Limits,
    /// How long the peer may take to read what is sent to it, before the session is given up.
    pub send_deadline: Duration,
    /// A look at, and a hand in, every error that leaves: thrown, inside a value, or ending the session. None is sent with
    /// a stack unless this adds one.
    pub on_send_error: Option<OnSendError>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            send_deadline: Duration::from_secs(60),
            on_send_error: None,
        }
    }
}

impl std::fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionOptions")
            .field("limits", &self.limits)
            .field("send_deadline", &self.send_deadline)
            .finish_non_exhaustive()
    }
}

impl SessionOptions {
    /// A session whose main object may know it.
    pub(crate) fn core_with(&self, main: impl FnOnce(&Session) -> Arc<dyn Target>) -> Arc<Core> {
        let core = self.core(Arc::new(crate::target::NoMain));
        let main = main(&Session::new(Arc::clone(&core)));
        if !(&*main as &dyn std::any::Any).is::<crate::target::NoMain>() {
            core.with(|state| state.session.set_main(crate::core::Local::new(main)));
        }
        core
    }

    pub(crate) fn core(&self, main: Arc<dyn Target>) -> Arc<Core> {
        let hook = self.on_send_error.clone().map(|hook| {
            let hook: capnweb_proto::OnSendError = Box::new(move |error| hook(error));
            hook
        });
        Core::new(main, self.limits, hook)
    }
}

/// Why a session ended other than by either side leaving.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The peer broke the protocol or a limit; it was told so.
    #[error("the peer broke the protocol")]
    Protocol(#[from] ProtocolError),
    /// The peer does not read.
    #[error("the peer did not read what was sent for {} s", .0.as_secs_f32())]
    Stalled(Duration),
}

/// A handle to a session. It does not keep the session alive.
#[derive(Clone)]
pub struct Session(Arc<Core>);

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Session").field(&self.stats()).finish()
    }
}

impl Session {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self(core)
    }

    /// The peer's main object. Dropping it does not end the session.
    pub fn remote_main(&self) -> Stub {
        let main = self.0.with(|state| state.session.remote_main());
        Stub::remote(Arc::clone(&self.0), main)
    }

    /// Sizes of the tables. One import and one export are the main objects.
    pub fn stats(&self) -> Stats {
        self.0.with(|state| state.session.stats())
    }

    /// Waits until every answer that the peer asked for has been given. Fails when the session breaks.
    pub async fn drain(&self) -> Result<(), Error> {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            let (broken, unanswered) = self
                .0
                .with(|state| (state.broken.clone(), state.session.unanswered()));
            match (broken, unanswered) {
                (Some(error), _) => return Err(error),
                (None, 0) => return Ok(()),
                (None, _) => changed.await,
            }
        }
    }

    /// Calls and reads of ours that have no answer; after the end, that had none when it came.
    pub fn in_flight(&self) -> usize {
        self.0.with(|state| match &state.broken {
            Some(_) => state.in_flight_at_end,
            None => state.pending_cells(),
        })
    }

    /// Ends the session from this side: no abort message; everything pending fails on both.
    pub fn shut_down(&self) {
        self.0.with(|state| state.shut_down = true);
    }

    /// Ends the session in good order: waits until every answer that the peer asked for has been given, at most
    /// `deadline`, then [shuts down](Self::shut_down), and waits for the end. `false` if the time was not enough.
    ///
    /// Calls that the peer makes meanwhile are still taken: whoever wants none anymore tells its peer first. Cancel safe;
    /// dropped early, it shuts nothing down.
    pub async fn close(&self, deadline: Duration) -> bool {
        let drained = tokio::time::timeout(deadline, self.drain()).await;
        self.shut_down();
        self.broken().await;
        drained.is_ok()
    }

    /// Calls back when the session breaks, at once if it has.
    pub fn on_broken(&self, callback: impl FnOnce(&Error) + Send + 'static) -> Registration {
        self.0.on_broken(Box::new(callback))
    }

    /// Waits for the end of the session: why it ended.
    pub async fn broken(&self) -> Error {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if let Some(error) = self.0.with(|state| state.broken.clone()) {
                return error;
            }
            changed.await;
        }
    }
}
