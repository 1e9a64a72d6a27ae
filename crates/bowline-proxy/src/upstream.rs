//! The pool of connections to the remote.

use std::sync::Arc;
use std::time::Duration;

use bowline_dial::Connector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

use crate::proxy::Body;

/// An idle connection is kept this long; servers commonly close after 60 to 75 seconds.
pub(crate) const IDLE: Duration = Duration::from_secs(50);
/// Idle connections kept.
const IDLE_CONNECTIONS: usize = 64;

pub(crate) type UpstreamClient = Client<Connector, Body>;

/// A client that sends what it is given: header case and bytes kept, nothing added but `Host` where there is none.
pub(crate) fn client(tls: Option<Arc<ClientConfig>>, connect: Duration) -> UpstreamClient {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .http1_preserve_header_case(true)
        .set_host(false)
        .build(Connector::new(tls, connect))
}
