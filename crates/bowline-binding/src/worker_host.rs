//! Workers that bindings call: run by whoever holds the process together.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::{BindingError, BoxDuplex, FetchReply, FetchRequest};

/// Which Worker, and which part of it. Two equal values mean the same running Worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerSpec {
    /// Its wrangler configuration, or the folder of one (absolute).
    pub project: PathBuf,
    /// The named entrypoint; the default export when absent.
    pub entrypoint: Option<String>,
    /// What the Worker sees as `ctx.props`.
    pub props: Option<Value>,
    /// Takes what the Worker itself fetches.
    pub outbound: Option<OutboundSpec>,
}

/// A Worker that answers the global `fetch()` of another.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboundSpec {
    /// Its wrangler configuration, or the folder of one (absolute).
    pub project: PathBuf,
    /// Members of its `env`, besides its own.
    pub params: Map<String, Value>,
}

/// Runs Workers on demand.
///
/// A Worker starts with its first call, is started again after it ended, at growing intervals, and may be stopped while
/// nobody uses it. Failures to run it are [`Unavailable`](crate::ErrorKind::Unavailable) with a text that says why.
#[async_trait::async_trait]
pub trait WorkerHost: std::fmt::Debug + Send + Sync + 'static {
    /// Answers one request by the Worker's `fetch()`. Cancel safe: the request is dropped.
    async fn fetch(&self, worker: &WorkerSpec, request: FetchRequest) -> Result<FetchReply, BindingError>;

    /// Opens a WebSocket, its handshake done, at whose far end the Worker is the main object of a Cap'n Web session.
    async fn session(&self, worker: &WorkerSpec) -> Result<BoxDuplex, BindingError>;
}
