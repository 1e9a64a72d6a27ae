//! What capabilities are to the application and inside the session.

use crate::{PathKey, Text, Value};

/// An entry of the import table that the peer chose to name: its main object, a stub or a writable of its own, or a pipe
/// of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImportId(pub(super) i64);

/// A result that may not be there yet: of a call, or of work of the application's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromiseId(pub(super) u64);

impl PromiseId {
    /// The id of no promise.
    pub const NONE: Self = Self(u64::MAX);
}

/// A call of the peer that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(pub(super) PromiseId);

/// A stream that the peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PipeId(pub(super) i64);

/// What a call or read of ours starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A stub of the peer.
    Stub(ImportId),
    /// A result, there or not: calls on one that is not there yet are pipelined.
    Promise(PromiseId),
}

/// A capability in a value.
///
/// In values the session hands out, ownership comes along: whoever holds a `Stub` or `Writable` must
/// [`release`](super::Session::release) it once, whoever holds a `Readable` must
/// [`cancel_pipe`](super::Session::cancel_pipe) it once. In values handed to the session nothing changes owner: it takes
/// references of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Capability<T> {
    /// A target of ours.
    Target(T),
    /// A writable stream of ours: a target with the methods `write`, `close` and `abort`.
    Sink(T),
    /// A stub of the peer.
    Stub(ImportId),
    /// A writable stream of the peer.
    Writable(ImportId),
    /// The readable end of a stream the peer sends.
    Readable(PipeId),
    /// Only to send: a stream of ours. When the value is written to the peer, a pipe is opened for it, and
    /// [`Event::Opened`] tells where to send it.
    Source(T),
    /// Only to send: the readable end of a stream of ours, opened with [`open_pipe`](super::Session::open_pipe).
    Pipe(ImportId),
    /// Only to send: a result that may not be there yet. Inside the session it holds a reference.
    Promise(PromiseId),
    /// Only to send: a property of a stub or result.
    Property(Box<(Subject, Vec<PathKey>)>),
}

impl<T> Capability<T> {
    /// Whether it may be called as a function.
    pub(super) fn is_callable(&self) -> bool {
        matches!(self, Self::Target(_) | Self::Stub(_) | Self::Promise(_))
    }
}

/// One item of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum PipeItem<T> {
    /// A chunk; any value.
    Chunk(Value<Capability<T>>),
    /// The stream is complete.
    End,
    /// The stream broke off.
    Failed(Value<Capability<T>>),
}

/// What the application must know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<T> {
    /// The peer calls `target`. To be delivered before the next message is handled; to be answered by
    /// [`answer`](super::Session::answer) at any time.
    Call {
        /// Under which to answer.
        call: CallId,
        /// The target.
        target: T,
        /// The names that led from what the peer knows to the target, for error texts.
        followed: Vec<PathKey>,
        /// The method; empty when the target itself is called.
        method: Text,
        /// The arguments.
        args: Vec<Value<Capability<T>>>,
    },
    /// The peer reads a property of `target`. As a call.
    Get {
        /// Under which to answer.
        call: CallId,
        /// The target.
        target: T,
        /// The property.
        name: Text,
    },
    /// A promise that was [pulled](super::Session::pull) is settled. With this the session has forgotten it.
    Settled {
        /// Which.
        promise: PromiseId,
        /// What it resolved to or was rejected with.
        result: Result<Value<Capability<T>>, Value<Capability<T>>>,
    },
    /// [`read_pipe`](super::Session::read_pipe) has something.
    PipeReadable(PipeId),
    /// A [`Capability::Source`] was written: its chunks are to be sent there.
    Opened(ImportId, T),
    /// The window of a stream of ours has room again.
    WriterReady(ImportId),
    /// A write was rejected: the stream is broken.
    WriterFailed(ImportId, Value<Capability<T>>),
    /// The peer took the end of a stream of ours.
    WriterClosed(ImportId, Result<(), Value<Capability<T>>>),
    /// The peer ended the session. Everything pending fails with this value.
    Aborted(Value<Capability<T>>),
}
