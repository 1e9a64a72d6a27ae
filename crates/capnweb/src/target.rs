//! Local objects that answer calls, and the values they speak in.

use std::sync::Arc;

use capnweb_proto::{ErrorValue, PathKey};
use futures_util::future::BoxFuture;

use crate::{ReadableStream, Stub};

/// A value with capabilities of this crate.
pub type Value = capnweb_proto::Value<Capability>;

/// What a call throws. Any value may be thrown; honest peers throw errors.
pub type Error = Value;

/// The answer of a call.
pub type CallFuture = BoxFuture<'static, Result<Value, Error>>;

/// A stub, target or stream inside a value.
#[derive(Clone)]
pub enum Capability {
    /// An object here: the peer gets a stub of it.
    Target(Arc<dyn Target>),
    /// An object of the peer's.
    Stub(Stub),
    /// A stream the peer sends. The first clone to read takes it.
    Readable(ReadableStream),
}

impl std::fmt::Debug for Capability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Target(_) => "Target",
            Self::Stub(_) => "Stub",
            Self::Readable(_) => "ReadableStream",
        })
    }
}

/// One call.
#[derive(Debug)]
pub struct Call {
    /// Names from the target to the method.
    pub path: Vec<PathKey>,
    /// The arguments. What is not kept is given back to the peer when they are dropped.
    pub args: Vec<Value>,
}

impl Call {
    /// The method, when the path is one name.
    pub fn method(&self) -> Option<&str> {
        match self.path.as_slice() {
            [PathKey::Name(name)] => Some(name),
            _ => None,
        }
    }

    /// What to throw for a method that does not exist.
    pub fn not_a_function(&self) -> Error {
        let path = self
            .path
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(".");
        Error::Error(Box::new(ErrorValue::new(
            "TypeError",
            format!("'{path}' is not a function."),
        )))
    }
}

/// An object the peer may call.
///
/// [`call`](Self::call) is entered in the order of the peer's calls, before the next message is looked at; the futures
/// run side by side. They are dropped when the session ends.
pub trait Target: Send + Sync + 'static {
    /// Starts one call.
    fn call(&self, call: Call) -> CallFuture;

    /// Answers the read of a property. Unknown names are `undefined`, not an error.
    fn get(&self, path: &[PathKey]) -> CallFuture {
        let _ = path;
        Box::pin(std::future::ready(Ok(Value::Undefined)))
    }
}
