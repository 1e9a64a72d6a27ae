//! The seam between the router and a binding.
//!
//! A binding is one folder under `bindings/` that implements [`Binding`] and exports one [`Descriptor`], plus one
//! line in `bowline-remote`'s registry. It sees a [`CallContext`] and typed operations; it knows nothing of Access,
//! of `MF-*` headers or of WebSocket frames.
//!
//! ```text
//! router ──▶ Binding::fetch    HTTP in, HTTP out (or a spliced upgrade)
//!        ──▶ Binding::target   the object that answers Cap'n Web calls
//!        ──▶ Binding::session  or a WebSocket to whoever does
//!        ──▶ Binding::connect  a byte stream to an address
//! clients that are no Workers ──▶ Endpoint::call, where a binding has one
//! ```

mod body;
mod context;
mod credential;
mod descriptor;
mod endpoint;
mod error;
mod exchange;
mod fetch;
mod service;
mod url;
mod worker_form;
mod worker_host;

pub use body::{Body, BodyError, BoxError, collect, collect_boxed, empty, full};
pub use context::{CallContext, ConnectAddress};
pub use credential::Credential;
pub use descriptor::{Build, ConfigError, Descriptor, Registry, Resources, Variables};
pub use endpoint::Endpoint;
pub use error::{BindingError, ErrorKind, Retry};
pub use exchange::{ExchangeError, exchange, open_websocket};
pub use fetch::{BoxDuplex, Duplex, FetchReply, FetchRequest, UpgradeRequest};
pub use service::{BoxFuture, WireService};
pub use url::url;
pub use worker_form::{InnerBinding, WorkerForm};
pub use worker_host::{OutboundSpec, WorkerHost, WorkerSpec};

/// Which of the three flows a binding answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Surfaces {
    /// HTTP requests ([`Binding::fetch`]).
    pub fetch: bool,
    /// Cap'n Web calls ([`Binding::target`]).
    pub rpc: bool,
    /// TCP streams ([`Binding::connect`]).
    pub connect: bool,
}

/// What a Worker sees under one binding name.
///
/// Every method is cancel safe in the sense that dropping its future never leaves a half-applied change behind: a
/// store either applied the operation or did not.
#[async_trait::async_trait]
pub trait Binding: Send + Sync + 'static {
    /// The flows this binding answers. The contract suite tests exactly these.
    fn surfaces(&self) -> Surfaces;

    /// What a person should know before the first call, one line each: which models stand behind which names. Shown when
    /// the binding starts.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Answers one request of the fetch flow. An `Err` is for failures that have no shape of the binding's own; the
    /// caller turns it into a plain text answer.
    async fn fetch(&self, cx: &CallContext, request: FetchRequest) -> Result<FetchReply, BindingError> {
        let _ = request;
        Err(BindingError::unsupported("fetch", &cx.binding))
    }

    /// The main object of one Cap'n Web session.
    fn target(&self, cx: &CallContext) -> Result<std::sync::Arc<dyn capnweb::Target>, BindingError> {
        Err(BindingError::unsupported("rpc", &cx.binding))
    }

    /// For sessions that somebody else serves: opens a WebSocket to them, its handshake done. The frames of both sides are
    /// spliced as they are, and [`target`](Self::target) is not asked. The future is run by the session's first byte, for
    /// many sessions are opened and never used.
    fn session(&self, cx: &CallContext) -> Option<BoxFuture<'static, Result<BoxDuplex, BindingError>>> {
        let _ = cx;
        None
    }

    /// Opens a byte stream to `to`, which is exactly what user code passed to `connect()`.
    async fn connect(&self, cx: &CallContext, to: ConnectAddress) -> Result<BoxDuplex, BindingError> {
        let _ = to;
        Err(BindingError::unsupported("connect", &cx.binding))
    }

    /// What the binding serves beside the flows, if anything. Asked once, when the binding is added to a router.
    fn endpoint(&self) -> Option<std::sync::Arc<dyn Endpoint>> {
        None
    }
}
