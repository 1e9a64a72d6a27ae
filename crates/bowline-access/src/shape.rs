//! Reading JSON objects of the API, with errors that name the place.

use serde_json::{Map, Value};

/// An object is not what the API describes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {problem}")]
pub struct ShapeError {
    /// Where, as a JSON pointer (RFC 6901) into the object.
    pub pointer: String,
    /// What is wrong there.
    pub problem: String,
}

impl ShapeError {
    /// A problem with the value at `pointer`.
    pub fn new(pointer: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            problem: problem.into(),
        }
    }

    /// The same problem seen from the object that holds this one at `prefix`.
    #[must_use]
    pub fn below(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}

/// The value as an object.
pub(crate) fn object(value: &Value) -> Result<&Map<String, Value>, ShapeError> {
    value
        .as_object()
        .ok_or_else(|| ShapeError::new("", "must be an object"))
}

/// A member; `null` counts as absent.
pub(crate) fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// An optional text.
pub(crate) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, ShapeError> {
    member(object, name)
        .map(|value| {
            value
                .as_str()
                .ok_or_else(|| ShapeError::new(format!("/{name}"), "must be a string"))
        })
        .transpose()
}

/// A text that must be there and not be empty.
pub(crate) fn required<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, ShapeError> {
    text(object, name)?
        .filter(|text| !text.trim().is_empty())
        .ok_or_else(|| ShapeError::new(format!("/{name}"), "is required"))
}

/// An optional flag; absent is `false`.
pub(crate) fn flag(object: &Map<String, Value>, name: &str) -> Result<bool, ShapeError> {
    match member(object, name) {
        None => Ok(false),
        Some(value) => value
            .as_bool()
            .ok_or_else(|| ShapeError::new(format!("/{name}"), "must be true or false")),
    }
}

/// An optional list; absent is empty.
pub(crate) fn list<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], ShapeError> {
    match member(object, name) {
        None => Ok(&[]),
        Some(value) => value
            .as_array()
            .map(Vec::as_slice)
            .ok_or_else(|| ShapeError::new(format!("/{name}"), "must be a list")),
    }
}

/// An optional list of texts.
pub(crate) fn texts(object: &Map<String, Value>, name: &str) -> Result<Vec<String>, ShapeError> {
    list(object, name)?
        .iter()
        .enumerate()
        .map(|(index, value)| {
            value
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| ShapeError::new(format!("/{name}/{index}"), "must be a string"))
        })
        .collect()
}
