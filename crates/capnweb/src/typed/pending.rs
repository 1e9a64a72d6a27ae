//! Results whose type is known and that may not be there yet.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use super::decode::from_result;
use super::{Callable, carry};
use crate::{Error, Promise, Registration, Value, Wait};

/// A result that may not be there yet, of a type that is known: a typed [`Promise`].
///
/// Awaiting it asks the peer for the value and gives a `Result<T, E>`. Without being awaited it can be passed
/// [as an argument](super::Argument) where a `T` is expected; if `T` is the stub of an interface, the interface's methods
/// can be called on it; and lists can be [mapped](Self::map). All of that is carried out at the peer, in the same round
/// trip. Clones share the result.
///
/// `E` is made of whatever is thrown, of a broken session, and of a result that is not a `T`.
pub struct Pending<T, E = Error> {
    promise: Promise,
    /// What it is the result of.
    of: &'static str,
    marker: PhantomData<fn() -> (T, E)>,
}

impl<T, E> Clone for Pending<T, E> {
    fn clone(&self) -> Self {
        Self::new(self.promise.clone()).named(self.of)
    }
}

impl<T, E> fmt::Debug for Pending<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pending").field(&self.of).finish()
    }
}

impl<T, E> Pending<T, E> {
    /// Says what type a promise has. Nothing is checked before it is awaited.
    pub fn new(promise: Promise) -> Self {
        Self {
            promise,
            of: "",
            marker: PhantomData,
        }
    }

    /// What errors are to call it.
    #[doc(hidden)]
    #[must_use]
    pub fn named(mut self, of: &'static str) -> Self {
        self.of = of;
        self
    }

    /// The promise, without its type.
    pub fn untyped(&self) -> &Promise {
        &self.promise
    }

    /// The promise, without its type.
    pub fn into_untyped(self) -> Promise {
        self.promise
    }

    /// A member of the result, of a type that you know. Nothing is sent until it is used.
    pub fn member<M>(&self, name: &str) -> Pending<M, E> {
        Pending::new(self.promise.get(name)).named(self.of)
    }

    /// Calls back when the session breaks or the result is an error, at once if either has happened. It asks for the
    /// result, as awaiting does.
    pub fn on_broken(&self, callback: impl FnOnce(&Error) + Send + 'static) -> Registration {
        self.promise.on_broken(callback)
    }
}

impl<T, E> Pending<Vec<T>, E> {
    /// Maps a list where it is. The closure runs once, here, with a stand-in for an item: it can be called, passed on and
    /// returned, and does nothing else. See [the page on maps](crate::guide::map).
    pub fn map<M: Mapped>(&self, mapper: impl FnOnce(Pending<T, E>) -> M) -> Pending<Vec<M::Output>, E> {
        self.mapped(mapper)
    }
}

impl<T, E> Pending<Option<T>, E> {
    /// Maps what may be there where it is; the closure is not replayed for nothing. As [the one on lists](Pending::map).
    pub fn map<M: Mapped>(&self, mapper: impl FnOnce(Pending<T, E>) -> M) -> Pending<Option<M::Output>, E> {
        self.mapped(mapper)
    }
}

impl<T, E> Pending<T, E> {
    fn mapped<I, M: Mapped, R>(&self, mapper: impl FnOnce(Pending<I, E>) -> M) -> Pending<R, E> {
        let of = self.of;
        let promise = self
            .promise
            .map(|input| mapper(Pending::new(input).named(of)).into_mapped());
        Pending::new(promise).named(of)
    }
}

/// What the closure of a [map](Pending::map) may return: a [`Pending`], or a tuple of them.
pub trait Mapped {
    /// What each item becomes.
    type Output;

    /// The value that the peer fills in.
    fn into_mapped(self) -> Value;
}

impl<T, E> Mapped for Pending<T, E> {
    type Output = T;

    fn into_mapped(self) -> Value {
        self.promise.into()
    }
}

macro_rules! tuples {
    ($(($($part:ident)*))*) => {$(
        impl<$($part: Mapped),*> Mapped for ($($part,)*) {
            type Output = ($($part::Output,)*);

            fn into_mapped(self) -> Value {
                #[expect(non_snake_case, reason = "named as their types")]
                let ($($part,)*) = self;
                Value::Array(vec![$($part.into_mapped()),*])
            }
        }
    )*};
}
tuples!((A B) (A B C) (A B C D));

impl<T, E> Callable for Pending<T, E> {
    fn call_method(
        &self,
        method: &str,
        arguments: impl IntoIterator<Item = Result<Value, Error>>,
    ) -> Promise {
        self.promise.call_method(method, arguments)
    }

    fn read_property(&self, name: &str) -> Promise {
        self.promise.get(name)
    }
}

/// As a promise: whoever receives it finds the result in its place.
impl<T, E> Serialize for Pending<T, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        carry::serialize(self.promise.clone().into(), serializer)
    }
}

impl<T: DeserializeOwned, E: From<Error>> IntoFuture for Pending<T, E> {
    type Output = Result<T, E>;
    type IntoFuture = Waiting<T, E>;

    fn into_future(self) -> Waiting<T, E> {
        Waiting {
            wait: self.promise.into_future(),
            of: self.of,
            marker: PhantomData,
        }
    }
}

/// Waits for a [`Pending`]. Cancel safe, as [`Wait`] is.
#[must_use = "futures do nothing unless awaited"]
pub struct Waiting<T, E> {
    wait: Wait,
    of: &'static str,
    marker: PhantomData<fn() -> (T, E)>,
}

impl<T, E> fmt::Debug for Waiting<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waiting").field(&self.of).finish()
    }
}

impl<T: DeserializeOwned, E: From<Error>> Future for Waiting<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        let value = ready!(Pin::new(&mut self.wait).poll(cx))?;
        let decoded = from_result(value).map_err(|fault| match self.of {
            "" => fault.of("the result"),
            of => fault.of(format_args!("the result of `{of}`")),
        });
        Poll::Ready(decoded.map_err(E::from))
    }
}
