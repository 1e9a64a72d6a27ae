//! The listener of `bowline connect`: who may use the proxy at all.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bowline_tunnel::{LateError, Lingering};
use http::header::{EXPECT, HOST, ORIGIN};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::proxy::Body;
use crate::{Capability, Proxy, respond};

/// Connections at a time; the next one waits in the listener's backlog.
const CONNECTIONS: usize = 1024;
/// How long a client may take to send a request's head, and how long it may be idle before it.
///
/// Longer than [`bowline_upstream::IDLE`] on purpose: tokio wakes its driver by a system call whenever a timer is set that
/// ends before every other. The pool's own timer then always ends earlier than this one, which is set anew for every
/// request. Measured: one `write` and one `epoll_wait` less per request.
const HEAD: Duration = Duration::from_secs(60);
const _: () = assert!(HEAD.as_secs() > bowline_upstream::IDLE.as_secs());
/// How long requests may finish once the proxy stops.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves until `shutdown`; spliced streams end then.
pub async fn serve(
    listener: TcpListener,
    proxy: Proxy,
    capability: Capability,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let port = listener.local_addr()?.port();
    let door = Arc::new(Door {
        proxy: proxy.clone(),
        capability,
        hosts: hosts(port),
    });
    let (connections, slots) = (TaskTracker::new(), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let (slot, accepted) = tokio::select! {
            next = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, listener.accept().await)
            } => next,
            () = shutdown.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, or a peer that is gone: the listener itself lives. The pause keeps it from spinning.
                tracing::warn!(error = %error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (door, shutdown) = (Arc::clone(&door), shutdown.clone());
        connections.spawn(async move {
            connection(stream, door, shutdown).await;
            drop(slot);
        });
    }
    proxy.shutdown();
    connections.close();
    let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
    Ok(())
}

async fn connection(stream: TcpStream, door: Arc<Door>, shutdown: CancellationToken) {
    // Small frames must not wait for a full segment; a socket that refuses still works.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(door.enter(request).await.map(LateError::new)) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .preserve_header_case(true)
        // A header we add would be visible in a binding's response.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "connection ended");
    }
}

struct Door {
    proxy: Proxy,
    capability: Capability,
    hosts: [String; 3],
}

impl Door {
    async fn enter(&self, request: Request<Incoming>) -> Response<Body> {
        if let Err(reason) = self.check(request.headers()) {
            tracing::warn!(reason, "refused a request to the local endpoint");
            return respond::text(StatusCode::FORBIDDEN, format!("bowline: refused: {reason}"));
        }
        // No word on what is wrong with a path: it would only help a guesser.
        let Some(path) = self.capability.strip(request.uri().path()).map(str::to_owned) else {
            return respond::text(
                StatusCode::NOT_FOUND,
                "bowline: use the connection string exactly as it was printed",
            );
        };
        if request.headers().contains_key(EXPECT) {
            self.proxy.call(&path, request).await
        } else {
            self.proxy.call(&path, request.map(Lingering::new)).await
        }
    }

    /// Any web page can reach loopback: by DNS rebinding with a `Host` of its own, directly with its `Origin`.
    fn check(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let mut host = headers.get_all(HOST).iter();
        let known = |value: &[u8]| {
            self.hosts
                .iter()
                .any(|host| value.eq_ignore_ascii_case(host.as_bytes()))
        };
        match (host.next(), host.next()) {
            (Some(value), None) if known(value.as_bytes()) => {}
            _ => return Err("the Host header is not this endpoint's"),
        }
        let own = |value: &[u8]| value.strip_prefix(b"http://").is_some_and(known);
        if headers
            .get_all(ORIGIN)
            .iter()
            .any(|origin| !own(origin.as_bytes()))
        {
            return Err("the Origin header is a web page's");
        }
        Ok(())
    }
}

fn hosts(port: u16) -> [String; 3] {
    ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests;
