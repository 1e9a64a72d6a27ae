//! JSON as JavaScript speaks it.
//!
//! The usual crates cannot be it: they refuse lone surrogates (`"\ud800"`, which `JSON.stringify` writes), refuse
//! `1e400` (JavaScript reads Infinity), and bound nesting by their own count. Here a lone surrogate becomes U+FFFD, a
//! number is what JavaScript's `Number` would be, members keep their order, and depth is the caller's limit.

mod read;
mod run;
mod write;

pub(crate) use read::{Kind, Node, Tape};
pub use read::{ReadError, parse};
pub use write::{javascript_text, to_text};
pub(crate) use write::{write_integer, write_number, write_string};

/// A JSON value. Members keep the order they came in; of two members of one name the last counts, at the place of the
/// first, as in JavaScript.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Json {
    /// `null`
    #[default]
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A double; Infinity for a literal out of range.
    Number(f64),
    /// A text, lone surrogates replaced.
    String(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// The text, of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self {
            Some(text)
        } else {
            None
        }
    }
}

/// The integer, if a double holds it exactly.
fn exact_integer(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    // The bounds make the cast exact.
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

#[cfg(test)]
mod tests;
