//! What is wrong with a value, and where in it.

use std::fmt;

use crate::Error;

/// A conversion that failed.
#[derive(Debug)]
pub(crate) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    /// Names of members and numbers of items, the innermost first.
    place: Vec<String>,
    text: String,
}

impl Fault {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            place: Vec::new(),
            text: text.into(),
        }))
    }

    /// The same fault, seen from around it.
    pub(super) fn at(mut self, key: impl ToString) -> Self {
        self.0.place.push(key.to_string());
        self
    }

    /// As the error of a call, with what it is about.
    pub(super) fn of(self, what: impl fmt::Display) -> Error {
        Error::new("TypeError", format!("{what}: {self}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.place.is_empty() {
            let place: Vec<&str> = self.0.place.iter().rev().map(String::as_str).collect();
            write!(f, "at `{}`: ", place.join("."))?;
        }
        f.write_str(&self.0.text)
    }
}

impl std::error::Error for Fault {}

impl serde::ser::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(text.to_string())
    }
}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(text.to_string())
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::new("TypeError", fault.to_string())
    }
}
