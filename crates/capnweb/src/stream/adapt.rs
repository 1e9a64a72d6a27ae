//! Streams as the rest of Rust's async world knows them.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::io::{ReaderStream, StreamReader};

use super::{Next, ReadableStream, Sink, WritableStream};
use crate::{Error, Value};

/// Bytes of one chunk: a message stays far below every peer's limit, and small next to the window.
const CHUNK: usize = 64 * 1024;

/// The chunks of a [`ReadableStream`] as a [`Stream`], which ends after the first error.
pub struct Chunks {
    stream: ReadableStream,
    next: Option<BoxFuture<'static, Next>>,
    ended: bool,
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chunks")
    }
}

impl Chunks {
    pub(crate) fn stream(&self) -> &ReadableStream {
        &self.stream
    }

    /// Gives no more.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    pub(crate) fn into_untyped(self) -> ReadableStream {
        self.stream
    }
}

impl Stream for Chunks {
    type Item = Result<Value, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Self { stream, next, ended } = &mut *self;
        let reading = next.get_or_insert_with(|| {
            let stream = stream.clone();
            Box::pin(async move { stream.next().await })
        });
        let chunk = ready!(reading.as_mut().poll(cx));
        *next = None;
        *ended = !matches!(chunk, Ok(Some(_)));
        Poll::Ready(chunk.transpose())
    }
}

impl ReadableStream {
    /// The chunks as a [`Stream`], which ends after the first error.
    pub fn into_stream(self) -> Chunks {
        Chunks {
            stream: self,
            next: None,
            ended: false,
        }
    }

    /// The bytes (texts as UTF-8). Any other chunk is an error of the kind `InvalidData`.
    pub fn into_async_read(self) -> impl AsyncBufRead + Send + Unpin + 'static {
        StreamReader::new(self.into_stream().map(|chunk| match chunk? {
            Value::Bytes(bytes, _) => Ok(Bytes::from(bytes)),
            Value::String(text) => Ok(Bytes::from(text.into_string())),
            _ => {
                let text = "the stream has a chunk that is neither bytes nor text";
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
        }))
    }

    /// A stream of the bytes that a reader of ours gives. If it fails, the peer is told the error's text.
    pub fn from_async_read(reader: impl AsyncRead + Send + 'static) -> Self {
        Self::new(
            ReaderStream::with_capacity(reader, CHUNK).map(|chunk| match chunk {
                Ok(bytes) => Ok(Value::from(Vec::from(bytes))),
                Err(error) => Err(Error::new("Error", error.to_string())),
            }),
        )
    }
}

/// A [`WritableStream`] as a [`Sink`](futures_util::Sink) of chunks.
///
/// Closing it waits until everything has been taken. Dropping it before that breaks the stream off.
pub struct Writing {
    stream: WritableStream,
    busy: Option<BoxFuture<'static, Result<(), Error>>>,
    closing: bool,
}

impl fmt::Debug for Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writing")
    }
}

impl Writing {
    pub(crate) fn stream(&self) -> &WritableStream {
        &self.stream
    }

    pub(crate) fn into_untyped(self) -> WritableStream {
        self.stream
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(busy) = &mut self.busy {
            let done = ready!(busy.as_mut().poll(cx));
            self.busy = None;
            return Poll::Ready(done);
        }
        Poll::Ready(Ok(()))
    }
}

impl futures_util::Sink<Value> for Writing {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_idle(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, chunk: Value) -> Result<(), Error> {
        let stream = self.stream.clone();
        self.busy = Some(Box::pin(async move { stream.write(chunk).await }));
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_idle(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_idle(cx))?;
        if !std::mem::replace(&mut self.closing, true) {
            let stream = self.stream.clone();
            self.busy = Some(Box::pin(async move { stream.close().await }));
        }
        self.poll_idle(cx)
    }
}

/// As bytes, each write at most one chunk.
impl AsyncWrite for Writing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_idle(cx))?;
        let chunk = &bytes[..bytes.len().min(CHUNK)];
        futures_util::Sink::start_send(self, Value::from(chunk.to_vec()))?;
        Poll::Ready(Ok(chunk.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_idle(cx).map_err(io::Error::from)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_util::Sink::poll_close(self, cx).map_err(io::Error::from)
    }
}

impl WritableStream {
    /// The stream as a sink of chunks, which is also a writer of bytes.
    pub fn into_sink(self) -> Writing {
        Writing {
            stream: self,
            busy: None,
            closing: false,
        }
    }

    /// A stream of ours, into a sink. Each chunk is flushed before it is acknowledged. If the peer breaks the stream off,
    /// the sink is dropped without being closed.
    pub fn from_sink<S>(sink: S) -> Self
    where
        S: futures_util::Sink<Value, Error: Into<Error>> + Send + 'static,
    {
        Self::new(Fed(Some(Box::pin(sink))))
    }

    /// A stream of ours whose bytes (texts as UTF-8) are written to a writer, which is shut down at the end. If it fails,
    /// the peer is told the error's text.
    pub fn from_async_write(writer: impl AsyncWrite + Send + 'static) -> Self {
        Self::new(Written(Some(Box::pin(writer))))
    }
}

/// What is left of a sink that is gone.
fn broken_off() -> Error {
    Error::new("TypeError", "This WritableStream has been closed.")
}

struct Fed<S>(Option<Pin<Box<S>>>);

impl<S> Sink for Fed<S>
where
    S: futures_util::Sink<Value, Error: Into<Error>> + Send + 'static,
{
    fn write(&mut self, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let sink = self.0.as_mut().ok_or_else(broken_off)?;
            poll_fn(|cx| sink.as_mut().poll_ready(cx))
                .await
                .map_err(Into::into)?;
            sink.as_mut().start_send(chunk).map_err(Into::into)?;
            poll_fn(|cx| sink.as_mut().poll_flush(cx))
                .await
                .map_err(Into::into)
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let mut sink = self.0.take().ok_or_else(broken_off)?;
            poll_fn(|cx| sink.as_mut().poll_close(cx))
                .await
                .map_err(Into::into)
        })
    }

    fn abort(&mut self, _: Error) {
        self.0 = None;
    }
}

struct Written<W>(Option<Pin<Box<W>>>);

impl<W: AsyncWrite + Send + 'static> Sink for Written<W> {
    fn write(&mut self, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let writer = self.0.as_mut().ok_or_else(broken_off)?;
            let bytes = match &chunk {
                Value::Bytes(bytes, _) => bytes.as_slice(),
                Value::String(text) => text.as_bytes(),
                _ => return Err(Error::new("TypeError", "this stream takes bytes and texts only")),
            };
            let written = writer.write_all(bytes).await;
            written.map_err(|error| Error::new("Error", error.to_string()))
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let mut writer = self.0.take().ok_or_else(broken_off)?;
            let closed = writer.shutdown().await;
            closed.map_err(|error| Error::new("Error", error.to_string()))
        })
    }

    fn abort(&mut self, _: Error) {
        self.0 = None;
    }
}
