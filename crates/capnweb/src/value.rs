//! Values and errors with this crate's handles in them.

use std::fmt;

use capnweb_proto::ErrorValue;

use crate::{Promise, ReadableStream, Stub, WritableStream};

/// A value with capabilities of this crate. See [`capnweb_proto::Value`] for the kinds.
pub type Value = capnweb_proto::Value<Capability>;

/// A reference inside a value.
#[derive(Clone)]
pub enum Capability {
    /// An object or function: the peer's, or one of ours.
    Stub(Stub),
    /// A result that may not be there yet. Peers get it by reference; whoever receives a value finds it replaced by what
    /// it resolved to.
    Promise(Box<Promise>),
    /// A stream to read from.
    Readable(ReadableStream),
    /// A stream to write to.
    Writable(WritableStream),
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stub(_) => "Stub",
            Self::Promise(_) => "Promise",
            Self::Readable(_) => "ReadableStream",
            Self::Writable(_) => "WritableStream",
        })
    }
}

/// Handles have no value to compare: two are never equal.
impl PartialEq for Capability {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

macro_rules! capability {
    ($($kind:ident($type:ty)),*) => {
        $(impl From<$type> for Value {
            fn from(handle: $type) -> Self {
                Self::Capability(Capability::$kind(handle))
            }
        })*
    };
}
capability!(Stub(Stub), Readable(ReadableStream), Writable(WritableStream));

impl From<Promise> for Value {
    fn from(promise: Promise) -> Self {
        Self::Capability(Capability::Promise(Box::new(promise)))
    }
}

/// What a call throws. Any value may be thrown; honest peers throw [errors](capnweb_proto::ErrorValue).
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    value: Value,
    disconnected: bool,
}

impl Error {
    /// An error of a class, such as `TypeError`.
    pub fn new(name: &str, message: impl Into<String>) -> Self {
        Self::thrown(Value::error(name, message))
    }

    /// Any value, thrown.
    pub fn thrown(value: Value) -> Self {
        Self(Box::new(Inner {
            value,
            disconnected: false,
        }))
    }

    pub(crate) fn disconnected(mut self) -> Self {
        self.0.disconnected = true;
        self
    }

    /// Whether the session broke, rather than the call failing at the peer.
    pub fn is_disconnected(&self) -> bool {
        self.0.disconnected
    }

    /// What was thrown.
    pub fn value(&self) -> &Value {
        &self.0.value
    }

    /// What was thrown.
    pub fn into_value(self) -> Value {
        self.0.value
    }

    /// The error, unless something else was thrown.
    pub fn as_error(&self) -> Option<&ErrorValue<Capability>> {
        if let Value::Error(error) = &self.0.value {
            Some(error)
        } else {
            None
        }
    }

    /// The `name` of an error.
    pub fn name(&self) -> &str {
        self.as_error().map_or("", |error| &error.name)
    }

    /// The message of an error; something else thrown as the text JavaScript makes of it.
    pub fn message(&self) -> String {
        match &self.0.value {
            Value::Error(error) => error.message.clone(),
            other => javascript_text(other),
        }
    }
}

/// The text JavaScript's `String(value)` gives, nearly: a date is shown as its milliseconds.
fn javascript_text(value: &Value) -> String {
    match value {
        Value::Undefined => "undefined".into(),
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) | Value::Date(Some(number)) => {
            capnweb_proto::json::javascript_text(&capnweb_proto::json::Json::Number(*number))
        }
        Value::Date(None) => "Invalid Date".into(),
        Value::String(text) => text.to_string(),
        Value::Url(text) | Value::BigInt(text) => text.clone(),
        Value::Error(error) => format!("{}: {}", error.name, error.message),
        Value::Array(items) => {
            let texts = items.iter().map(|item| match item {
                Value::Undefined | Value::Null => String::new(),
                item => javascript_text(item),
            });
            texts.collect::<Vec<_>>().join(",")
        }
        _ => "[object Object]".into(),
    }
}

/// For errors of your own: implement `From<Yours> for Error` and, to have them back at the client,
/// `From<Error> for Yours`.
impl Error {
    /// The same error with one more property, which travels along. A value that cannot be sent is left out, and so is a
    /// property of something that is no error.
    #[must_use]
    pub fn with(mut self, name: &str, value: &(impl serde::Serialize + ?Sized)) -> Self {
        if let (Value::Error(error), Ok(value)) = (&mut self.0.value, crate::to_value(value)) {
            error.props.push((name.into(), value));
        }
        self
    }

    /// A property, if there is one of that name and type.
    pub fn prop<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        let (_, value) = self.as_error()?.props.iter().find(|(prop, _)| prop == name)?;
        crate::from_value(value.clone()).ok()
    }
}

impl From<ErrorValue<Capability>> for Error {
    fn from(error: ErrorValue<Capability>) -> Self {
        Self::thrown(Value::Error(Box::new(error)))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.value {
            Value::Error(error) => write!(f, "{}: {}", error.name, error.message),
            other => write!(f, "thrown: {other:?}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

/// For readers and writers over streams.
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}
