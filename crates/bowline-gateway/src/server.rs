//! The HTTP/1.1 server. HTTP/2 has no reason phrases, and some wrappers show them to user code.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bowline_binding::Body;
use bowline_tunnel::{LateError, Lingering};
use http::header::EXPECT;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::addresses::Addresses;
use crate::tls::{self, Tls};
use crate::{Connection, Gateway, Guarded};

/// Connections at a time; the next one waits in the listener's backlog.
const CONNECTIONS: usize = 4096;
/// Of these one address may have this many, so that the rest is left to others.
pub const CONNECTIONS_OF_ONE: usize = 1024;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(30);
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

/// A listener, and how it takes connections.
#[derive(Debug)]
pub struct Listening {
    /// Where they come in.
    pub listener: TcpListener,
    /// TLS, if it is spoken here.
    pub tls: Option<Tls>,
    /// Connections that one address may have; more are closed. A proxy in front is one address.
    pub of_one_address: usize,
}

impl Listening {
    /// Over TLS, with [`CONNECTIONS_OF_ONE`].
    pub fn over_tls(listener: TcpListener, tls: impl Into<Tls>) -> Self {
        Self {
            tls: Some(tls.into()),
            ..listener.into()
        }
    }
}

impl From<TcpListener> for Listening {
    /// Without TLS, with [`CONNECTIONS_OF_ONE`].
    fn from(listener: TcpListener) -> Self {
        Self {
            listener,
            tls: None,
            of_one_address: CONNECTIONS_OF_ONE,
        }
    }
}

/// Serves until `shutdown`, then gives open connections a few seconds. Not cancel safe: dropping the future leaves
/// connections to their tasks.
pub async fn serve(
    listening: impl Into<Listening>,
    service: impl Service,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let Listening {
        listener,
        tls,
        of_one_address,
    } = listening.into();
    let addresses = Addresses::new(of_one_address);
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
                let Some(counted) = addresses.take(peer.ip()) else {
                    tracing::debug!(client.addr = %peer.ip(), "too many connections of one address");
                    continue;
                };
                let (service, shutdown, tls) = (service.clone(), shutdown.clone(), tls.clone());
                connections.spawn(async move {
                    serve_stream(stream, Connection::new(Some(peer.ip())), tls, service, shutdown).await;
                    drop((slot, counted));
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

async fn serve_stream(
    stream: TcpStream,
    connection: Connection,
    tls: Option<Tls>,
    service: impl Service,
    shutdown: CancellationToken,
) {
    // Small frames and heads must not wait for a full segment; a socket that refuses still works.
    let _ = stream.set_nodelay(true);
    let stream = connection.stream(stream);
    let Some(Tls(acceptor)) = tls else {
        return serve_connection(stream, connection, service, shutdown).await;
    };
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let verified = tls::verified(stream.get_ref().1.peer_certificates());
            let connection = connection.with_certificate(verified);
            serve_connection(stream, connection, service, shutdown).await;
        }
        Ok(Err(error)) => {
            tracing::debug!(client.addr = ?connection.address, %error, "the TLS handshake failed")
        }
        Err(_) => tracing::debug!(client.addr = ?connection.address, "the TLS handshake took too long"),
    }
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
            Ok::<_, Infallible>(service.call(&connection, request).await.map(LateError::new))
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
