//! The layer of types over values: what `#[interface]` writes is made of this.

pub mod kinds;

mod argument;
mod callback;
mod carry;
mod decode;
mod encode;
mod fault;
mod handles;
mod pending;
mod stream;

pub use argument::{Argument, Callable};
pub use callback::{AsyncFunction, Callback, Function, Returned};
pub use decode::from_value;
pub use encode::to_value;
pub use pending::{Mapped, Pending, Waiting};
pub use stream::{Readable, Writable};

/// What `#[interface]` writes uses this. It may change in any version.
#[doc(hidden)]
pub mod __private {
    pub use serde;

    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::decode::decode;
    use crate::{Call, Error, Value};

    /// Takes an argument out of a call.
    pub fn argument<T: DeserializeOwned>(call: &mut Call, index: usize, name: &str) -> Result<T, Error> {
        decode(call.take(index), false)
            .map_err(|fault| fault.of(format_args!("argument `{name}` of `{}`", call.method)))
    }

    /// The answer of a method that cannot fail.
    pub fn answer<T: Serialize + ?Sized>(result: &T) -> Result<Value, Error> {
        super::to_value(result)
    }

    /// The answer of a method that can.
    pub fn answer_fallible<T: Serialize, E: Into<Error>>(result: Result<T, E>) -> Result<Value, Error> {
        super::to_value(&result.map_err(Into::into)?)
    }

    /// Finds the error of an alias of [`Result`].
    pub trait Fallible {
        /// The error.
        type Error;
    }

    impl<T, E> Fallible for Result<T, E> {
        type Error = E;
    }
}
