//! Handles inside data: they pass through serde as they are.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::carry;
use crate::{Capability, Error, Promise, ReadableStream, Stub, Value, WritableStream};

macro_rules! handles {
    ($($handle:ident)*) => {$(
        /// For Cap'n Web only; other formats refuse it.
        impl Serialize for $handle {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                carry::serialize(self.clone().into(), serializer)
            }
        }
    )*};
}
handles!(Stub Promise ReadableStream WritableStream);

macro_rules! received {
    ($($handle:ident($kind:ident) is $what:literal)*) => {$(
        impl<'de> Deserialize<'de> for $handle {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match carry::deserialize(deserializer, $what)? {
                    Value::Capability(Capability::$kind(handle)) => Ok(handle),
                    _ => Err(D::Error::custom(concat!("expected ", $what))),
                }
            }
        }
    )*};
}
received! {
    Stub(Stub) is "a stub"
    ReadableStream(Readable) is "a readable stream"
    WritableStream(Writable) is "a writable stream"
}

/// An error as a value, rather than thrown.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        carry::serialize(self.value().clone(), serializer)
    }
}

/// Any value: whatever may be thrown.
impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        carry::deserialize(deserializer, "an error").map(Self::thrown)
    }
}
