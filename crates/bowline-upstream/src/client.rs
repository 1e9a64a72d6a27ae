//! The client and its connections.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An idle connection is kept this long; servers commonly close after 60 to 75 seconds.
pub const IDLE: Duration = Duration::from_secs(50);
/// Idle connections kept.
const IDLE_CONNECTIONS: usize = 64;

/// A client for bodies of type `B`. Cheap to clone; clones share the pool.
pub type Client<B> = legacy::Client<Connector, B>;

/// A client that sends what it is given: header case and bytes kept, `Host` is the caller's to add.
///
/// `connect` bounds opening a connection, TLS included. Without `tls`, `https` URLs are refused.
pub fn client<B>(tls: Option<Arc<ClientConfig>>, connect: Duration) -> Client<B>
where
    B: http_body::Body<Data = Bytes> + Send,
{
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .http1_preserve_header_case(true)
        .set_host(false)
        .build(Connector { tls, connect })
}

/// Opens TCP, and TLS for `https`, within one deadline.
#[derive(Debug, Clone)]
pub struct Connector {
    tls: Option<Arc<ClientConfig>>,
    connect: Duration,
}

impl tower_service::Service<Uri> for Connector {
    type Response = Upstream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Upstream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { tls, connect } = self.clone();
        Box::pin(async move {
            tokio::time::timeout(connect, open(uri, tls))
                .await
                .unwrap_or_else(|_| {
                    Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("no connection within {} s", connect.as_secs_f32()),
                    ))
                })
        })
    }
}

async fn open(uri: Uri, tls: Option<Arc<ClientConfig>>) -> io::Result<Upstream> {
    let host = uri
        .host()
        .unwrap_or_default()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    // Small frames must not wait for a full segment; a socket that refuses still works.
    let _ = stream.set_nodelay(true);
    match tls.filter(|_| secure) {
        // Plain text on a connection that should be secret would carry credentials.
        None if secure => Err(io::Error::other("this client was made without TLS")),
        None => Ok(Upstream::Plain(TokioIo::new(stream))),
        Some(config) => {
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            let stream = TlsConnector::from(config).connect(name, stream).await?;
            Ok(Upstream::Tls(Box::new(TokioIo::new(stream))))
        }
    }
}

/// One connection.
#[derive(Debug)]
pub enum Upstream {
    /// TCP.
    Plain(TokioIo<TcpStream>),
    /// TLS over TCP.
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Upstream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Upstream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buffer),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buffer),
        }
    }
}

impl Write for Upstream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, data),
            Self::Tls(io) => Pin::new(io).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, data),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, data),
        }
    }
}
