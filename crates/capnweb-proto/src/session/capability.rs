//! What capabilities are to the application and inside the session.

use super::promise::PromiseId;
use crate::{PathKey, Value};

/// An entry of the import table: our call under way, or a stub of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImportId(pub(super) i64);

/// A call of the peer that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(pub(super) PromiseId);

/// A stream that the peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PipeId(pub(super) i64);

/// A capability in a value. Ownership goes with the value: whoever holds a `Stub` must
/// [`release`](super::Session::release) it once, whoever holds a `Readable` must
/// [`cancel_pipe`](super::Session::cancel_pipe) it once.
#[derive(Debug, Clone, PartialEq)]
pub enum Capability<T> {
    /// A target of ours.
    Target(T),
    /// A stub of the peer.
    Stub(ImportId),
    /// The readable end of a stream the peer sends.
    Readable(PipeId),
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
    /// The peer calls `target`, or reads a property of it when there are no `args`. To be delivered before the next
    /// message is handled; to be answered by [`answer`](super::Session::answer) at any time.
    Call {
        /// Under which to answer.
        call: CallId,
        /// The target.
        target: T,
        /// Names from the target to the method; empty when the target itself is called.
        path: Vec<PathKey>,
        /// The arguments.
        args: Option<Vec<Value<Capability<T>>>>,
    },
    /// A call of ours has its result.
    Settled {
        /// The id [`call`](super::Session::call) returned.
        import: ImportId,
        /// What it resolved to or was rejected with.
        result: Result<Value<Capability<T>>, Value<Capability<T>>>,
    },
    /// [`read_pipe`](super::Session::read_pipe) has something.
    PipeReadable(PipeId),
    /// The peer ended the session. Everything pending fails with this value.
    Aborted(Value<Capability<T>>),
}

/// A capability inside the session, where a value may also hold promises that are not settled yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Slot<T> {
    Given(Capability<T>),
    Promise(PromiseId),
}

impl<T> From<Capability<T>> for Slot<T> {
    fn from(capability: Capability<T>) -> Self {
        Self::Given(capability)
    }
}

/// A value as the application sees it. Its promises are settled: one that was not would read as undefined.
pub(super) fn expose<T>(value: Value<Slot<T>>) -> Value<Capability<T>> {
    let exposed = value.try_map::<_, std::convert::Infallible>(&mut |slot| {
        Ok(match slot {
            Slot::Given(capability) => Value::Capability(capability),
            Slot::Promise(_) => Value::Undefined,
        })
    });
    match exposed {
        Ok(value) => value,
        Err(never) => match never {},
    }
}
