//! The HTTP/1.1 server. HTTP/2 has no reason phrases, and some wrappers show them to user code.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bowline_binding::{Body, BoxError};
use bowline_tunnel::Lingering;
use http::header::{AUTHORIZATION, EXPECT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Gateway, Refused, Router, respond};

/// Connections at a time; the next one waits in the listener's backlog.
const CONNECTIONS: usize = 4096;
/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(30);
/// How long connections may finish what they are doing once the server stops.
const DRAIN: Duration = Duration::from_secs(5);

/// The listener failed.
#[derive(Debug, thiserror::Error)]
#[error("accept connections")]
pub struct ServeError(#[from] io::Error);

/// Gateway and router as one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Remote {
    /// `None`: nobody passes, and only endpoints are served.
    gateway: Option<Gateway>,
    router: Arc<Router>,
}

impl Remote {
    /// `router` behind `gateway`.
    pub fn new(gateway: Gateway, router: Arc<Router>) -> Self {
        Self {
            gateway: Some(gateway),
            router,
        }
    }

    /// The endpoints of `router` and nothing else: what stands beside bindings that are placed in this process.
    pub fn endpoints_only(router: Arc<Router>) -> Self {
        Self {
            gateway: None,
            router,
        }
    }

    /// Answers one request: Access first, unless the path is an endpoint's, which has credentials of its own.
    pub async fn call<B>(&self, mut request: Request<B>) -> Response<Body>
    where
        B: http_body_util::BodyExt<Data = hyper::body::Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if let Some(endpoint) = self.router.endpoint(request.uri().path()) {
            // `Authorization` is where an endpoint's own clients put their token; what is Access's goes.
            let own = request.headers_mut().remove(AUTHORIZATION);
            bowline_access::strip_credentials(request.headers_mut());
            request
                .headers_mut()
                .extend(own.map(|value| (AUTHORIZATION, value)));
            return endpoint
                .call(request.map(|body| body.map_err(Into::into).boxed_unsync()))
                .await;
        }
        let Some(gateway) = &self.gateway else {
            return respond::text(StatusCode::NOT_FOUND, "there is nothing here");
        };
        // The refusal needs `Accept` and `Host` only; credentials are gone by then.
        match gateway.admit(request.headers_mut()) {
            Ok(permit) => {
                let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
                self.router.route(permit, request).await
            }
            Err(Refused::Denied(reason)) => {
                tracing::info!(access.decision = "deny", reason = reason.code(), "refused");
                respond::refused(request.headers())
            }
            Err(Refused::Unavailable(error)) => {
                tracing::error!(error.kind = "token_store", error = %error, "Access cannot judge requests");
                respond::text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Access cannot judge requests now; see the remote's log",
                )
            }
        }
    }
}

/// Serves until `shutdown`, then gives open connections a few seconds. Not cancel safe: dropping the future leaves
/// connections to their tasks.
pub async fn serve(
    listener: TcpListener,
    remote: Remote,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let connections = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot,
            () = shutdown.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (remote, shutdown) = (remote.clone(), shutdown.clone());
                connections.spawn(async move {
                    serve_connection(stream, remote, shutdown).await;
                    drop(slot);
                });
            }
            // The peer was gone before we looked, or we are out of descriptors: neither ends the server, and the
            // short pause keeps the second from spinning.
            Err(error) if is_transient(&error) => {
                tracing::warn!(error = %error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    connections.close();
    let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
    Ok(())
}

fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    // 23 and 24 are ENFILE and EMFILE.
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
        || matches!(error.raw_os_error(), Some(23 | 24))
}

async fn serve_connection(stream: TcpStream, remote: Remote, shutdown: CancellationToken) {
    // Small frames and heads must not wait for a full segment; a socket that refuses still works.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let remote = remote.clone();
        async move {
            let response = if request.headers().contains_key(EXPECT) {
                remote.call(request).await
            } else {
                remote.call(request.map(Lingering::new)).await
            };
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        // Headers we add would be visible in a binding's response.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = &mut connection => trace_end(ended),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            trace_end(connection.await);
        }
    }
}

fn trace_end(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(error = %error, "connection ended");
    }
}

/// Marks an answer that comes from the binding, so that clients do not take it for the gate's.
pub(crate) fn mark_forwarded(response: &mut Response<Body>) {
    response.headers_mut().insert(
        bowline_wire::header::MF_FORWARDED_RESPONSE,
        HeaderValue::from_static("true"),
    );
}
