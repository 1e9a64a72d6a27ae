//! Streams, both ways.

mod adapt;

use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use capnweb_proto::{ImportId, PipeId};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use tokio::sync::{Notify, oneshot};

use crate::core::{Core, Dropped, Local};
use crate::{Answer, Call, Error, Target, Value};

pub use adapt::{Chunks, Writing};

/// One answer to a read.
pub(crate) type Next = Result<Option<Value>, Error>;

/// A stream to read from: one the peer sends, or one of ours to be sent.
///
/// Reading is what lets the sender send more. Dropping the last clone cancels the stream. Clones share it: each chunk goes
/// to one of them.
#[derive(Clone)]
pub struct ReadableStream(Arc<Source>);

enum Source {
    Remote(Arc<Core>, PipeId),
    Local(tokio::sync::Mutex<BoxStream<'static, Result<Value, Error>>>),
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Self::Remote(core, pipe) = self {
            core.give_back(Dropped::Pipe(*pipe));
        }
    }
}

/// A stream travels inside the session as a target does, and is sent when it is written into a message.
impl Target for ReadableStream {
    fn call(&self, call: Call) -> Answer {
        Answer::error(call.not_a_function())
    }
}

impl std::fmt::Debug for ReadableStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReadableStream")
    }
}

impl ReadableStream {
    pub(crate) fn remote(core: Arc<Core>, pipe: PipeId) -> Self {
        Self(Arc::new(Source::Remote(core, pipe)))
    }

    /// A stream of ours, to be put into arguments or results. It is polled as fast as the peer reads; an error ends it at
    /// the peer, and a peer that cancels drops it.
    pub fn new(stream: impl Stream<Item = Result<Value, Error>> + Send + 'static) -> Self {
        Self(Arc::new(Source::Local(tokio::sync::Mutex::new(stream.boxed()))))
    }

    /// The next chunk, `None` at the end. Not cancel safe: a chunk that arrives for a dropped future is lost.
    pub async fn next(&self) -> Result<Option<Value>, Error> {
        let (core, pipe) = match &*self.0 {
            Source::Local(stream) => return stream.lock().await.next().await.transpose(),
            Source::Remote(core, pipe) => (core, *pipe),
        };
        let (answer, next) = oneshot::channel();
        let broken = core.with(|state| {
            if let Some(error) = &state.broken {
                return Some(error.clone());
            }
            state.readers.insert(pipe, answer);
            core.feed_reader(state, pipe);
            None
        });
        match broken {
            Some(error) => Err(error),
            None => next
                .await
                .unwrap_or_else(|_| Err(Error::new("Error", "another reader took the stream over"))),
        }
    }

    /// Gives the stream up: writes that wait, and all later ones, fail at the sender with `reason`. Dropping the last clone
    /// does so with an error that says as much.
    pub async fn cancel(&self, reason: Value) {
        match &*self.0 {
            Source::Local(stream) => *stream.lock().await = futures_util::stream::empty().boxed(),
            Source::Remote(core, pipe) => core.put(|state, later| {
                let reason = core.to_wire(state, reason, later);
                state.readers.remove(pipe);
                state.session.cancel_pipe(*pipe, &reason);
            }),
        }
    }

    /// All bytes (texts as UTF-8), refusing more than `limit` with a `RangeError`.
    pub async fn collect(&self, limit: usize) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next().await? {
            let bytes = match &chunk {
                Value::Bytes(bytes, _) => bytes.as_slice(),
                Value::String(text) => text.as_bytes(),
                _ => {
                    let text = "the stream has a chunk that is neither bytes nor text";
                    return Err(Error::new("TypeError", text));
                }
            };
            if all.len() + bytes.len() > limit {
                let text = format!("the stream is longer than {limit} bytes");
                return Err(Error::new("RangeError", text));
            }
            all.extend_from_slice(bytes);
        }
        Ok(all)
    }
}

/// The sending end of a stream: what the session knows of it.
pub(crate) struct Writer {
    core: Arc<Core>,
    id: ImportId,
    ended: Mutex<Ended>,
    changed: Notify,
}

#[derive(Default)]
struct Ended {
    failed: Option<Error>,
    closed: bool,
}

impl Writer {
    pub(crate) fn new(core: Arc<Core>, id: ImportId) -> Self {
        Self {
            core,
            id,
            ended: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn ended(&self) -> std::sync::MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fail(&self, error: Error) {
        self.ended().failed.get_or_insert(error);
        self.changed.notify_waiters();
    }

    pub(crate) fn close_acknowledged(&self) {
        self.ended().closed = true;
        self.changed.notify_waiters();
    }

    pub(crate) fn ready(&self) {
        self.changed.notify_waiters();
    }

    fn check(&self) -> Result<(), Error> {
        self.ended().failed.clone().map_or(Ok(()), Err)
    }

    async fn write(&self, chunk: Value) -> Result<(), Error> {
        self.check()?;
        self.core
            .put(|state, later| {
                let chunk = self.core.to_wire(state, chunk, later);
                state.session.write(self.id, chunk)
            })
            .map_err(|error| Error::thrown(self.core.to_local(error)))?;
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            self.check()?;
            if self.core.with(|state| state.session.has_room(self.id)) {
                return Ok(());
            }
            changed.await;
        }
    }

    async fn close(&self) -> Result<(), Error> {
        self.check()?;
        self.core.with(|state| state.session.close_writer(self.id));
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            self.check()?;
            if self.ended().closed {
                return Ok(());
            }
            changed.await;
        }
    }

    /// Waits until everything written has been taken.
    async fn drained(&self) -> Result<(), Error> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            self.check()?;
            if self.core.with(|state| state.session.is_drained(self.id)) {
                return Ok(());
            }
            changed.await;
        }
    }

    fn abort(&self, reason: Error) {
        self.core.put(|state, later| {
            let reason = self.core.to_wire(state, reason.into_value(), later);
            state.session.abort_writer(self.id, reason);
        });
    }
}

/// Sends a stream of ours until either side ends it. What it comes from goes then, whoever else holds the stream.
pub(crate) async fn pump(stream: ReadableStream, writer: Arc<Writer>) {
    while send_next(&stream, &writer).await {}
    stream.cancel(Value::Undefined).await;
}

/// Whether to go on.
async fn send_next(stream: &ReadableStream, writer: &Writer) -> bool {
    let mut changed = pin!(writer.changed.notified());
    changed.as_mut().enable();
    // A reader that cancels is heard of while the source has nothing.
    if writer.check().is_err() {
        return false;
    }
    tokio::select! {
        biased;
        next = stream.next() => match next {
            Ok(Some(chunk)) => writer.write(chunk).await.is_ok(),
            Ok(None) => {
                let _ = writer.close().await;
                false
            }
            Err(error) => {
                // What came before the error is the reader's first: an abort overtakes what is not read.
                if writer.drained().await.is_ok() {
                    writer.abort(error);
                }
                false
            }
        },
        () = changed => true,
    }
}

/// A stream to write to: the peer's, or one of ours that the peer will write to.
#[derive(Clone)]
pub struct WritableStream(Arc<Drain>);

enum Drain {
    Remote(Remote),
    Local(Local),
}

struct Remote {
    core: Arc<Core>,
    id: ImportId,
    /// From the first write on: it hears of failures between two writes.
    writer: OnceLock<Arc<Writer>>,
}

impl Remote {
    fn writer(&self) -> &Writer {
        self.writer.get_or_init(|| self.core.writer(self.id))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.core.give_back(Dropped::Import(self.id));
    }
}

impl std::fmt::Debug for WritableStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WritableStream")
    }
}

/// What takes the chunks of a [`WritableStream`] of ours, one after the other.
pub trait Sink: Send + 'static {
    /// Takes one chunk. The peer's acknowledgement waits for it, so a slow sink slows its peer. After an error nothing more
    /// is written.
    fn write(&mut self, chunk: Value) -> BoxFuture<'_, Result<(), Error>>;

    /// The stream is complete.
    fn close(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The stream broke off, or its writer went away without a word.
    fn abort(&mut self, reason: Error) {
        let _ = reason;
    }
}

impl WritableStream {
    /// A stream of ours, to be put into arguments or results.
    pub fn new(sink: impl Sink) -> Self {
        let guarded = Guarded { sink, ended: None };
        let target = SinkTarget(Arc::new(tokio::sync::Mutex::new(guarded)));
        Self::home(Arc::new(target))
    }

    pub(crate) fn remote(core: Arc<Core>, id: ImportId) -> Self {
        Self(Arc::new(Drain::Remote(Remote {
            core,
            id,
            writer: OnceLock::new(),
        })))
    }

    pub(crate) fn home(target: Arc<dyn Target>) -> Self {
        Self(Arc::new(Drain::Local(Local::new(target))))
    }

    pub(crate) fn import_of(&self, core: &Arc<Core>) -> Option<ImportId> {
        match &*self.0 {
            Drain::Remote(remote) if Arc::ptr_eq(&remote.core, core) => Some(remote.id),
            _ => None,
        }
    }

    pub(crate) fn into_target(self) -> Arc<dyn Target> {
        match &*self.0 {
            Drain::Local(target) => target.clone().into_target(),
            Drain::Remote(_) => Arc::new(Elsewhere(self)),
        }
    }

    /// Writes one chunk and waits for room for the next. Not cancel safe: the chunk may be on its way.
    pub async fn write(&self, chunk: Value) -> Result<(), Error> {
        match &*self.0 {
            Drain::Remote(remote) => remote.writer().write(chunk).await,
            Drain::Local(target) => call(target, "write", Some(chunk)).await,
        }
    }

    /// Ends the stream and waits until everything has been taken.
    pub async fn close(&self) -> Result<(), Error> {
        match &*self.0 {
            Drain::Remote(remote) => remote.writer().close().await,
            Drain::Local(target) => call(target, "close", None).await,
        }
    }

    /// Breaks the stream off.
    pub async fn abort(&self, reason: Error) {
        match &*self.0 {
            Drain::Remote(remote) => remote.writer().abort(reason),
            Drain::Local(target) => {
                let _ = call(target, "abort", Some(reason.into_value())).await;
            }
        }
    }
}

async fn call(target: &Local, method: &str, argument: Option<Value>) -> Result<(), Error> {
    let call = Call::new(method, argument);
    let answer = target.clone().into_target().call(call);
    match answer {
        Answer::Ready(result) => result.map(drop),
        Answer::Later(future) => future.await.map(drop),
    }
}

/// A writable of another session, exported to this one.
struct Elsewhere(WritableStream);

impl Target for Elsewhere {
    fn call(&self, mut call: Call) -> Answer {
        let (stream, argument) = (self.0.clone(), call.take(0));
        Answer::later(async move {
            match call.method.as_str() {
                "write" => stream.write(argument).await?,
                "close" => stream.close().await?,
                _ => stream.abort(Error::thrown(argument)).await,
            }
            Ok(Value::Undefined)
        })
    }
}

/// A sink of ours as the target that its peer writes to. Each operation waits for the one before it.
struct SinkTarget<S: Sink>(Arc<tokio::sync::Mutex<Guarded<S>>>);

struct Guarded<S: Sink> {
    sink: S,
    ended: Option<SinkEnd>,
}

/// How a sink ended, for what comes after. As for `WritableStream` in the streams standard.
enum SinkEnd {
    Closed,
    Errored(Error),
}

impl<S: Sink> Drop for Guarded<S> {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let text = "WritableStream RPC stub was disposed without calling close()";
            self.sink.abort(Error::new("Error", text));
        }
    }
}

impl<S: Sink> Guarded<S> {
    async fn take(&mut self, method: &str, argument: Value) -> Result<(), Error> {
        let closed = || Error::new("TypeError", "This WritableStream has been closed.");
        match (method, &self.ended) {
            ("write", None) => {
                let written = self.sink.write(argument).await;
                self.ended = written.clone().err().map(SinkEnd::Errored);
                written
            }
            ("write", Some(SinkEnd::Errored(error))) => Err(error.clone()),
            ("close", None) => {
                let result = self.sink.close().await;
                self.ended = Some(match &result {
                    Ok(()) => SinkEnd::Closed,
                    Err(error) => SinkEnd::Errored(error.clone()),
                });
                result
            }
            ("write" | "close", Some(_)) => Err(closed()),
            ("abort", None) => {
                let reason = Error::thrown(argument);
                self.ended = Some(SinkEnd::Errored(reason.clone()));
                self.sink.abort(reason);
                Ok(())
            }
            // There is nothing left to abort.
            ("abort", Some(_)) => Ok(()),
            (other, _) => {
                let text = format!("Unknown WritableStream method: {other}");
                Err(Error::new("Error", text))
            }
        }
    }
}

impl<S: Sink> Target for SinkTarget<S> {
    fn call(&self, mut call: Call) -> Answer {
        let argument = call.take(0);
        let guarded = Arc::clone(&self.0);
        Answer::later(async move {
            // Waits are few: the peer sends no more than its window ahead of the acknowledgements.
            let mut guarded = guarded.lock_owned().await;
            guarded
                .take(&call.method, argument)
                .await
                .map(|()| Value::Undefined)
        })
    }
}
