//! The HTTP/1.1 server. HTTP/2 has no reason phrases, and some wrappers show them to user code.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bowline_binding::Body;
use bowline_tunnel::Lingering;
use http::header::EXPECT;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Connection, Gateway, Guarded};

/// Connections at a time; the next one waits in the listener's backlog.
const CONNECTIONS: usize = 4096;
/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(30);
/// How long a client may take to finish its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How long connections may finish what they are doing once the server stops.
const DRAIN: Duration = Duration::from_secs(5);

/// The listener failed.
#[derive(Debug, thiserror::Error)]
#[error("accept connections")]
pub struct ServeError(#[from] io::Error);

/// What a listener serves.
pub trait Service: Clone + Send + Sync + 'static {
    /// Answers one request.
    fn call(
        &self,
        connection: &Connection,
        request: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// A gateway and what it guards, as one service.
#[derive(Debug)]
pub struct Gate<G> {
    gateway: Gateway,
    guarded: Arc<G>,
}

impl<G> Gate<G> {
    /// `guarded` behind `gateway`.
    pub fn new(gateway: Gateway, guarded: Arc<G>) -> Self {
        Self { gateway, guarded }
    }
}

impl<G> Clone for Gate<G> {
    fn clone(&self) -> Self {
        Self {
            gateway: self.gateway.clone(),
            guarded: Arc::clone(&self.guarded),
        }
    }
}

impl<G: Guarded> Service for Gate<G> {
    async fn call(&self, connection: &Connection, request: Request<Body>) -> Response<Body> {
        self.gateway.call(&*self.guarded, connection, request).await
    }
}

/// Serves until `shutdown`, then gives open connections a few seconds. Not cancel safe: dropping the future leaves
/// connections to their tasks.
pub async fn serve(
    listener: TcpListener,
    service: impl Service,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    accept(listener, None, service, shutdown).await
}

/// [`serve`] over TLS.
pub async fn serve_tls(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    service: impl Service,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    accept(listener, Some(TlsAcceptor::from(tls)), service, shutdown).await
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: impl Service,
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
            Ok((stream, peer)) => {
                let (service, shutdown) = (service.clone(), shutdown.clone());
                let (connection, tls) = (Connection::new(Some(peer.ip())), tls.clone());
                // Small frames and heads must not wait for a full segment; a socket that refuses still works.
                let _ = stream.set_nodelay(true);
                connections.spawn(async move {
                    let stream = connection.stream(stream);
                    match tls {
                        None => serve_connection(stream, connection, service, shutdown).await,
                        Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                            Ok(Ok(stream)) => serve_connection(stream, connection, service, shutdown).await,
                            Ok(Err(error)) => tracing::debug!(error = %error, "TLS handshake failed"),
                            Err(_) => tracing::debug!("TLS handshake took too long"),
                        },
                    }
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

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connection: Connection,
    service: impl Service,
    shutdown: CancellationToken,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (service, connection) = (service.clone(), connection.clone());
        async move {
            let request = if request.headers().contains_key(EXPECT) {
                request.map(|body| body.map_err(Into::into).boxed_unsync())
            } else {
                request.map(|body| Lingering::new(body).map_err(Into::into).boxed_unsync())
            };
            Ok::<_, Infallible>(service.call(&connection, request).await)
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
