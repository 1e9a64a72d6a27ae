//! Functions as arguments and results.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use super::decode::decode;
use super::{Argument, Pending, to_value};
use crate::{Answer, Error, Registration, Stub, Value};

/// A function, the peer's or one of ours, of the type `S`: `Callback<fn(String, u32) -> bool>`.
///
/// Clones are further references; the peer's is released when the last goes. One that comes as an argument is ours until
/// the method has finished: clone it to call it later.
///
/// ```
/// use capnweb::Callback;
///
/// let shout: Callback<fn(String) -> String> = Callback::new(|text: String| text.to_uppercase());
/// # let _ = shout;
/// ```
pub struct Callback<S>(Stub, PhantomData<fn() -> S>);

impl<S> Clone for Callback<S> {
    fn clone(&self) -> Self {
        Self::from(self.0.clone())
    }
}

impl<S> fmt::Debug for Callback<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Callback").field(&self.0).finish()
    }
}

impl<S> Callback<S> {
    /// A closure that peers may call. It returns what the type says, or a [`Result`] of it.
    pub fn new(function: impl Function<S>) -> Self {
        Self::from(Stub::function(move |arguments| {
            Answer::Ready(function.answer(arguments))
        }))
    }

    /// As [`new`](Self::new), for a closure that gives a future.
    pub fn later(function: impl AsyncFunction<S>) -> Self {
        Self::from(Stub::function(move |arguments| function.answer(arguments)))
    }

    /// The same function, without its type.
    pub fn untyped(&self) -> &Stub {
        &self.0
    }

    /// Calls back when the session that this belongs to breaks, at once if it is broken.
    pub fn on_broken(&self, callback: impl FnOnce(&Error) + Send + 'static) -> Registration {
        self.0.on_broken(callback)
    }
}

/// Nothing is checked: whether it is such a function shows when it is called.
impl<S> From<Stub> for Callback<S> {
    fn from(stub: Stub) -> Self {
        Self(stub, PhantomData)
    }
}

impl<S> From<Callback<S>> for Stub {
    fn from(callback: Callback<S>) -> Self {
        callback.0
    }
}

impl<S> Serialize for Callback<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, S> Deserialize<'de> for Callback<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Stub::deserialize(deserializer).map(Self::from)
    }
}

/// A closure of the type `S`: its arguments are decoded, its result is encoded.
pub trait Function<S>: Send + Sync + 'static {
    /// Answers one call.
    fn answer(&self, arguments: Vec<Value>) -> Result<Value, Error>;
}

/// A closure of the type `S` that gives a future.
pub trait AsyncFunction<S>: Send + Sync + 'static {
    /// Answers one call.
    fn answer(&self, arguments: Vec<Value>) -> Answer;
}

/// What a closure may return where an `R` is expected: an `R`, or a [`Result`] of one.
pub trait Returned<R> {
    /// The value to send, or what to throw.
    fn into_outcome(self) -> Result<Value, Error>;
}

impl<R: Serialize> Returned<R> for R {
    fn into_outcome(self) -> Result<Value, Error> {
        to_value(&self)
    }
}

impl<R: Serialize, E: Into<Error>> Returned<R> for Result<R, E> {
    fn into_outcome(self) -> Result<Value, Error> {
        to_value(&self.map_err(Into::into)?)
    }
}

fn argument<T: DeserializeOwned>(arguments: &mut [Value], index: usize) -> Result<T, Error> {
    let value = arguments.get_mut(index).map(std::mem::take).unwrap_or_default();
    decode(value, false).map_err(|fault| fault.of(format_args!("argument {} of the callback", index + 1)))
}

macro_rules! arities {
    ($(($($argument:ident $index:literal)*))*) => {$(
        impl<F, R, O, $($argument),*> Function<fn($($argument),*) -> R> for F
        where
            F: Fn($($argument),*) -> O + Send + Sync + 'static,
            O: Returned<R>,
            $($argument: DeserializeOwned,)*
        {
            #[allow(unused_mut, unused_variables, reason = "of one without arguments")]
            fn answer(&self, mut arguments: Vec<Value>) -> Result<Value, Error> {
                self($(argument::<$argument>(&mut arguments, $index)?),*).into_outcome()
            }
        }

        impl<F, R, O, $($argument),*> AsyncFunction<fn($($argument),*) -> R> for F
        where
            F: Fn($($argument),*) -> O + Send + Sync + 'static,
            O: Future<Output: Returned<R>> + Send + 'static,
            $($argument: DeserializeOwned,)*
        {
            #[allow(unused_mut, unused_variables, reason = "of one without arguments")]
            fn answer(&self, mut arguments: Vec<Value>) -> Answer {
                let mut start = || Ok::<_, Error>(self($(argument::<$argument>(&mut arguments, $index)?),*));
                match start() {
                    Ok(running) => Answer::later(async move { running.await.into_outcome() }),
                    Err(error) => Answer::error(error),
                }
            }
        }

        // The bounds are spelled out: that no callback is a closure is known of `Fn`, not of a trait of ours.
        impl<F, R, O, $($argument),*> Argument<Callback<fn($($argument),*) -> R>> for F
        where
            F: Fn($($argument),*) -> O + Send + Sync + 'static,
            O: Returned<R>,
            $($argument: DeserializeOwned,)*
        {
            fn into_argument(self) -> Result<Value, Error> {
                Ok(Stub::from(Callback::<fn($($argument),*) -> R>::new(self)).into())
            }
        }

        impl<R, $($argument),*> Callback<fn($($argument),*) -> R> {
            /// Calls it.
            #[allow(non_snake_case)]
            pub fn call(&self, $($argument: impl Argument<$argument>),*) -> Pending<R> {
                let arguments = [$($argument.into_argument()),*];
                let promise = match super::argument::all(arguments) {
                    Ok(arguments) => self.0.invoke(arguments),
                    Err(failed) => failed,
                };
                Pending::new(promise).named("the callback")
            }
        }
    )*};
}
arities! {
    ()
    (A 0)
    (A 0 B 1)
    (A 0 B 1 C 2)
    (A 0 B 1 C 2 D 3)
}
