//! Streams of the test server.

use std::sync::{Arc, Mutex, PoisonError};

use capnweb::{Error, ReadableStream, Sink, Value, WritableStream};
use futures_util::future::BoxFuture;
use futures_util::stream;
use tokio::sync::mpsc;

use crate::counter::Counter;
use crate::kinds::tag;

/// What a sink has seen.
pub(crate) struct SinkState {
    pub(crate) chunks: Vec<Value>,
    pub(crate) closed: bool,
    pub(crate) aborted: Value,
}

impl Default for SinkState {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            closed: false,
            aborted: Value::Null,
        }
    }
}

/// A stream of the given results.
pub(crate) fn readable(
    items: impl IntoIterator<Item = Result<Value, Error>, IntoIter: Send + 'static>,
) -> Value {
    ReadableStream::new(stream::iter(items)).into()
}

/// Numbers in decimal, padded with `x`.
pub(crate) fn readable_of(count: usize, size: usize) -> Value {
    readable((0..count).map(move |index| Ok(format!("{index:x<size$}").into())))
}

pub(crate) fn readable_values() -> Value {
    readable([
        Ok(1.into()),
        Ok("two".into()),
        Ok(Value::object([("three", 3.into())])),
        Ok(Value::Array(vec![4.into()])),
        Ok(Value::Date(Some(5.0))),
        Ok(Value::from(vec![6u8])),
        Ok(Value::Undefined),
        Ok(Value::Null),
    ])
}

pub(crate) fn readable_error(count: u32) -> Value {
    readable(
        (0..count)
            .map(|index| Ok(index.into()))
            .chain([Err(Error::new("Error", "stream failed"))]),
    )
}

pub(crate) fn readable_counter() -> Value {
    readable([Ok(capnweb::Stub::new(Counter::new(50.0)).into())])
}

/// `"first"`, then nothing for ever; `cancelled` runs when nobody reads any more.
pub(crate) fn readable_tracked(cancelled: impl FnOnce() + Send + 'static) -> Value {
    struct OnDrop<F: FnOnce()>(Option<F>);
    impl<F: FnOnce()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            if let Some(run) = self.0.take() {
                run();
            }
        }
    }
    let guard = OnDrop(Some(cancelled));
    ReadableStream::new(stream::unfold((0, guard), async |(sent, guard)| {
        if sent > 0 {
            std::future::pending::<()>().await;
        }
        Some((Ok("first".into()), (sent + 1, guard)))
    }))
    .into()
}

/// Notes what is written to it.
pub(crate) struct Noting(pub(crate) Arc<Mutex<SinkState>>);

impl Noting {
    fn note(&self, note: impl FnOnce(&mut SinkState)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Sink for Noting {
    fn write(&mut self, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let tag = tag(&chunk).await?;
            self.note(|state| state.chunks.push(tag));
            Ok(())
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        self.note(|state| state.closed = true);
        Box::pin(std::future::ready(Ok(())))
    }

    fn abort(&mut self, reason: Error) {
        self.note(|state| state.aborted = reason.message().into());
    }
}

/// Fails after a number of writes.
pub(crate) struct Failing(pub(crate) f64);

impl Sink for Failing {
    fn write(&mut self, _: Value) -> BoxFuture<'_, Result<(), Error>> {
        self.0 -= 1.0;
        let result = if self.0 < 0.0 {
            Err(Error::new("Error", "Write limit exceeded"))
        } else {
            Ok(())
        };
        Box::pin(std::future::ready(result))
    }
}

/// Passes chunks on in capitals.
struct Upper(Option<mpsc::Sender<Result<Value, Error>>>);

impl Sink for Upper {
    fn write(&mut self, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let upper = match chunk {
                Value::String(text) => text.to_uppercase().into(),
                other => other,
            };
            match &self.0 {
                Some(out) if out.send(Ok(upper)).await.is_ok() => Ok(()),
                _ => Err(Error::new("Error", "nobody reads")),
            }
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        self.0 = None;
        Box::pin(std::future::ready(Ok(())))
    }

    fn abort(&mut self, reason: Error) {
        if let Some(out) = self.0.take() {
            // A full queue is read to its end, and then ends without the reason.
            let _ = out.try_send(Err(reason));
        }
    }
}

pub(crate) fn transform() -> Value {
    let (sender, receiver) = mpsc::channel(1);
    let readable = stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|item| (item, receiver))
    });
    Value::object([
        ("readable", ReadableStream::new(readable).into()),
        ("writable", WritableStream::new(Upper(Some(sender))).into()),
    ])
}
