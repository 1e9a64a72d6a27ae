//! Objects of the peer's.

use std::sync::Arc;

use capnweb_proto::{ImportId, PathKey};
use tokio::sync::{mpsc, oneshot};

use crate::driver::Command;
use crate::{Error, Value};

/// Why a call gave no value.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The peer threw this value.
    #[error("{}", .0.text())]
    Rejected(Rejection),
    /// The session ended first.
    #[error("the RPC session ended: {0}")]
    Disconnected(String),
}

/// A thrown value.
#[derive(Debug, Clone)]
pub struct Rejection(pub Error);

impl Rejection {
    fn text(&self) -> String {
        match &self.0 {
            Value::Error(error) => format!("{}: {}", error.name, error.message),
            other => format!("thrown: {other:?}"),
        }
    }
}

/// A reference to an object of the peer's. Clones share it; the last one to go releases it.
#[derive(Clone)]
pub struct Stub(Arc<Inner>);

struct Inner {
    import: ImportId,
    commands: mpsc::UnboundedSender<Command>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The session may be over; then there is nobody to release it to.
        let _ = self.commands.send(Command::Release(self.import));
    }
}

impl Stub {
    pub(crate) fn new(import: ImportId, commands: mpsc::UnboundedSender<Command>) -> Self {
        Self(Arc::new(Inner { import, commands }))
    }

    pub(crate) fn import(&self) -> ImportId {
        self.0.import
    }

    /// Calls a method. Dropping the future does not cancel the call at the peer; its result is released.
    pub async fn call(&self, method: &str, args: Vec<Value>) -> Result<Value, CallError> {
        self.call_path(vec![PathKey::Name(method.to_owned())], args).await
    }

    /// Calls what a path leads to; the empty path calls the stub itself, as a callback is.
    pub async fn call_path(&self, path: Vec<PathKey>, args: Vec<Value>) -> Result<Value, CallError> {
        let gone = || CallError::Disconnected("it is closed".into());
        let (answer, result) = oneshot::channel();
        let command = Command::Call {
            import: self.0.import,
            path,
            args,
            answer,
        };
        self.0.commands.send(command).map_err(|_| gone())?;
        result.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl std::fmt::Debug for Stub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stub")
    }
}
