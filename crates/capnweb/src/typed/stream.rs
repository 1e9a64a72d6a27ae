//! Streams whose chunks have a type.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Stream, StreamExt};
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use super::{from_value, to_value};
use crate::stream::{Chunks, Writing};
use crate::{Error, ReadableStream, WritableStream};

/// A stream of `T` to read from: one the peer sends, or one of ours to be sent. A typed [`ReadableStream`].
///
/// It is a [`Stream`] of `Result<T, Error>`, which ends after the first error. Dropping it cancels the stream.
pub struct Readable<T>(Chunks, PhantomData<fn() -> T>);

impl<T> fmt::Debug for Readable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readable")
    }
}

impl<T: Serialize> Readable<T> {
    /// A stream of ours. It is polled as fast as the peer reads; an error ends it at the peer, and a peer that cancels
    /// drops it.
    pub fn new<E: Into<Error>>(stream: impl Stream<Item = Result<T, E>> + Send + 'static) -> Self {
        let values = stream.map(|item| to_value(&item.map_err(Into::into)?));
        Self::from(ReadableStream::new(values))
    }
}

impl<T> Readable<T> {
    /// The same stream, without its type.
    pub fn into_untyped(self) -> ReadableStream {
        self.0.into_untyped()
    }
}

impl<T> From<ReadableStream> for Readable<T> {
    fn from(stream: ReadableStream) -> Self {
        Self(stream.into_stream(), PhantomData)
    }
}

impl<T: DeserializeOwned> Stream for Readable<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.0.poll_next_unpin(cx));
        let item = next.map(|chunk| from_value(chunk?));
        if let Some(Err(_)) = item {
            self.0.end();
        }
        Poll::Ready(item)
    }
}

impl<T> Serialize for Readable<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.stream().serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Readable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ReadableStream::deserialize(deserializer).map(Self::from)
    }
}

/// A stream of `T` to write to: the peer's, or one of ours that the peer will write to. A typed [`WritableStream`].
///
/// It is a [`Sink`](futures_util::Sink) of `T`. Closing it waits until everything has been taken; dropping it before that
/// breaks the stream off.
pub struct Writable<T>(Writing, PhantomData<fn(T)>);

impl<T> fmt::Debug for Writable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writable")
    }
}

impl<T: DeserializeOwned + Send + 'static> Writable<T> {
    /// A stream of ours, into a sink of yours. A slow sink slows its peer. If the peer breaks the stream off, the sink is
    /// dropped without being closed.
    pub fn new<S>(sink: S) -> Self
    where
        S: futures_util::Sink<T, Error: Into<Error>> + Send + 'static,
    {
        use futures_util::SinkExt;
        let values = sink
            .sink_map_err(Into::into)
            .with(|value| std::future::ready(from_value::<T>(value)));
        Self::from(WritableStream::from_sink(values))
    }
}

impl<T> Writable<T> {
    /// The same stream, without its type.
    pub fn into_untyped(self) -> WritableStream {
        self.0.into_untyped()
    }
}

impl<T> From<WritableStream> for Writable<T> {
    fn from(stream: WritableStream) -> Self {
        Self(stream.into_sink(), PhantomData)
    }
}

impl<T: Serialize> futures_util::Sink<T> for Writable<T> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.0).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: T) -> Result<(), Error> {
        Pin::new(&mut self.0).start_send(to_value(&item)?)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

impl<T> Serialize for Writable<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.stream().serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Writable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        WritableStream::deserialize(deserializer).map(Self::from)
    }
}
