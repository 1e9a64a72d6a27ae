//! A client's connection, which can be cut from elsewhere.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bowline_access::{Certificate, UnixSeconds};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What a gateway knows of the connection a request came by.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The client's address.
    pub address: Option<IpAddr>,
    certificate: Option<Arc<Verified>>,
    cut: Arc<Cut>,
}

/// A client certificate that verified when the connection was opened, and its end.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) certificate: Certificate,
    pub(crate) until: UnixSeconds,
}

#[derive(Debug, Default)]
struct Cut {
    done: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Connection {
    /// A connection from `address`.
    pub fn new(address: Option<IpAddr>) -> Self {
        Self {
            address: address.map(|address| address.to_canonical()),
            certificate: None,
            cut: Arc::default(),
        }
    }

    /// The same, by a client whose certificate verified.
    pub(crate) fn with_certificate(mut self, verified: Option<Verified>) -> Self {
        self.certificate = verified.map(Arc::new);
        self
    }

    /// The client's certificate, while it is good: a connection may last longer.
    pub(crate) fn certificate(&self, now: UnixSeconds) -> Option<&Certificate> {
        self.certificate
            .as_ref()
            .filter(|verified| now < verified.until)
            .map(|verified| &verified.certificate)
    }

    /// When the client's certificate ends, if it has one.
    pub(crate) fn certificate_until(&self) -> Option<UnixSeconds> {
        self.certificate.as_ref().map(|verified| verified.until)
    }

    /// Ends the connection under whoever uses it: an upgraded one has no other way to be told. Nothing more is written,
    /// an answer under way included.
    pub fn cut(&self) {
        self.cut.done.store(true, Ordering::Release);
        self.cut.reader.wake();
        self.cut.writer.wake();
    }

    /// Whether nobody but the caller holds the connection any more.
    pub(crate) fn is_over(&self) -> bool {
        Arc::strong_count(&self.cut) == 1
    }

    /// The stream, ending when it is cut.
    pub(crate) fn stream(&self, stream: TcpStream) -> Severable {
        Severable {
            stream,
            cut: Arc::clone(&self.cut),
        }
    }
}

/// A TCP stream that fails once it is cut.
pub(crate) struct Severable {
    stream: TcpStream,
    cut: Arc<Cut>,
}

impl Severable {
    /// Registers for the cut, then looks: a cut in between is not lost.
    fn check(&self, waker: &AtomicWaker, cx: &Context<'_>) -> io::Result<()> {
        waker.register(cx.waker());
        if self.cut.done.load(Ordering::Acquire) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "access was revoked",
            ));
        }
        Ok(())
    }
}

impl AsyncRead for Severable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(&self.cut.reader, cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Severable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(&self.cut.writer, cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(&self.cut.writer, cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
