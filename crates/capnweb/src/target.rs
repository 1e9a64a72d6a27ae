//! Objects of ours that the peer may call.

use std::sync::Arc;

use capnweb_proto::PathKey;
use futures_util::future::BoxFuture;

use crate::{Error, Stub, Text, Value};

/// The answer to a call: there, or on its way.
pub enum Answer {
    /// Known at once.
    Ready(Result<Value, Error>),
    /// Known later. Dropped when the session ends.
    Later(BoxFuture<'static, Result<Value, Error>>),
}

impl Answer {
    /// An answer that needs time.
    pub fn later(future: impl Future<Output = Result<Value, Error>> + Send + 'static) -> Self {
        Self::Later(Box::pin(future))
    }

    /// An error, at once.
    pub fn error(error: impl Into<Error>) -> Self {
        Self::Ready(Err(error.into()))
    }
}

impl From<Value> for Answer {
    fn from(value: Value) -> Self {
        Self::Ready(Ok(value))
    }
}

impl From<Result<Value, Error>> for Answer {
    fn from(result: Result<Value, Error>) -> Self {
        Self::Ready(result)
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        Self::Ready(Err(error))
    }
}

/// One call.
#[derive(Debug)]
pub struct Call {
    /// The names that led from what the caller knows to the target, for error texts.
    pub(crate) followed: Vec<PathKey>,
    /// The method; empty when the target itself is called as a function.
    pub method: Text,
    /// The arguments. Stubs in them go back to the peer when they are dropped: to keep one, clone it.
    pub args: Vec<Value>,
}

impl Call {
    /// A call, as one made on a target directly.
    pub fn new(method: impl Into<Text>, args: impl IntoIterator<Item = Value>) -> Self {
        Self {
            followed: Vec::new(),
            method: method.into(),
            args: args.into_iter().collect(),
        }
    }

    /// Takes an argument out; `undefined` where there is none.
    pub fn take(&mut self, index: usize) -> Value {
        self.args
            .get_mut(index)
            .map_or(Value::Undefined, |arg| std::mem::replace(arg, Value::Undefined))
    }

    /// What to throw for a method that does not exist.
    pub fn not_a_function(&self) -> Error {
        let mut path = self.followed.clone();
        if !self.method.is_empty() {
            path.push(PathKey::Name(self.method.clone()));
        }
        Error::new(
            "TypeError",
            format!("'{}' is not a function.", capnweb_proto::show_path(&path)),
        )
    }
}

/// An object the peer may call.
///
/// [`call`](Self::call) and [`get`](Self::get) are entered in the order of the peer's calls, before the next message is
/// looked at; answers that come [later](Answer::Later) run side by side. When the last reference to a target goes, it is
/// dropped: [`Drop`] is what a disposer is in JavaScript.
pub trait Target: std::any::Any + Send + Sync {
    /// Starts one call.
    fn call(&self, call: Call) -> Answer;

    /// Answers the read of a property. Unknown names are `undefined`, not an error.
    fn get(&self, name: &str) -> Answer {
        let _ = name;
        Answer::Ready(Ok(Value::Undefined))
    }

    /// Names of methods that may be read like properties: the peer gets a function bound to this target.
    fn methods(&self) -> &[&str] {
        &[]
    }
}

/// A function as a target.
pub(crate) struct Function<F>(pub(crate) F);

impl<F: Fn(Vec<Value>) -> Answer + Send + Sync + 'static> Target for Function<F> {
    fn call(&self, call: Call) -> Answer {
        if call.method.is_empty() {
            (self.0)(call.args)
        } else {
            Answer::error(call.not_a_function())
        }
    }
}

/// A method of a target as a function.
struct Bound {
    target: Arc<dyn Target>,
    method: String,
}

impl Target for Bound {
    fn call(&self, call: Call) -> Answer {
        if call.method.is_empty() {
            self.target.call(Call::new(&*self.method, call.args))
        } else {
            Answer::error(call.not_a_function())
        }
    }
}

/// Reads a property: a method becomes a function.
pub(crate) fn read(target: &Arc<dyn Target>, name: &str) -> Answer {
    if target.methods().contains(&name) {
        let bound = Bound {
            target: Arc::clone(target),
            method: name.to_owned(),
        };
        Answer::Ready(Ok(Stub::new(bound).into()))
    } else {
        target.get(name)
    }
}

/// The main object of a side that offers none: every use of it fails with an error that says so.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMain;

impl NoMain {
    pub(crate) const TEXT: &str = "This connection has no main object.";

    fn answer() -> Answer {
        Answer::error(Error::new("Error", Self::TEXT))
    }
}

impl Target for NoMain {
    fn call(&self, _: Call) -> Answer {
        Self::answer()
    }

    fn get(&self, _: &str) -> Answer {
        Self::answer()
    }
}
