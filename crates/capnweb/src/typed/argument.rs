//! What typed calls are made of.

use serde::Serialize;

use super::Pending;
use super::encode::to_argument;
use crate::{Error, Promise, Stub, Value};

/// What may be passed where a `T` is expected: a `T`, a reference to one, a result that [will be one](Pending) and is not
/// there yet, the borrowed forms `&str` and `&[T]`, and a closure for a
/// [`Callback`](super::Callback).
pub trait Argument<T> {
    /// The value that is sent. A mistake keeps the call from being sent.
    fn into_argument(self) -> Result<Value, Error>;
}

impl<T: Serialize> Argument<T> for T {
    fn into_argument(self) -> Result<Value, Error> {
        to_argument(&self)
    }
}

impl<T: Serialize> Argument<T> for &T {
    fn into_argument(self) -> Result<Value, Error> {
        to_argument(self)
    }
}

impl Argument<String> for &str {
    fn into_argument(self) -> Result<Value, Error> {
        Ok(self.into())
    }
}

impl<T: Serialize> Argument<Vec<T>> for &[T] {
    fn into_argument(self) -> Result<Value, Error> {
        to_argument(self)
    }
}

impl<T, E> Argument<T> for Pending<T, E> {
    fn into_argument(self) -> Result<Value, Error> {
        Ok(self.into_untyped().into())
    }
}

impl<T, E> Argument<T> for &Pending<T, E> {
    fn into_argument(self) -> Result<Value, Error> {
        Ok(self.untyped().clone().into())
    }
}

/// Something that can be called: a stub, or a result that is not there yet.
pub trait Callable {
    /// Calls a method, unless an argument is a mistake.
    fn call_method(&self, method: &str, arguments: impl IntoIterator<Item = Result<Value, Error>>)
    -> Promise;

    /// A property. Nothing is sent until it is used.
    fn read_property(&self, name: &str) -> Promise;
}

/// The arguments, unless one is a mistake.
pub(super) fn all(arguments: impl IntoIterator<Item = Result<Value, Error>>) -> Result<Vec<Value>, Promise> {
    let numbered = arguments.into_iter().enumerate();
    let all: Result<Vec<Value>, Error> = numbered
        .map(|(index, argument)| {
            argument.map_err(|error| {
                Error::new(
                    "TypeError",
                    format!("argument {}: {}", index + 1, error.message()),
                )
            })
        })
        .collect();
    all.map_err(|error| Promise::settled(Err(error)))
}

macro_rules! callable {
    ($($what:ty)*) => {$(
        impl Callable for $what {
            fn call_method(
                &self,
                method: &str,
                arguments: impl IntoIterator<Item = Result<Value, Error>>,
            ) -> Promise {
                all(arguments).map_or_else(|failed| failed, |arguments| self.call(method, arguments))
            }

            fn read_property(&self, name: &str) -> Promise {
                self.get(name)
            }
        }
    )*};
}
callable!(Stub Promise);
