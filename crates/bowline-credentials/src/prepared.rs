//! Header values made once and added to every request.

use std::fmt;

use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderName, HeaderValue};

/// What is added to a request's head.
#[derive(Clone, Default)]
pub(crate) struct Prepared(Box<[(HeaderName, HeaderValue)]>);

impl Prepared {
    pub(crate) fn new(headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self(headers.into())
    }

    /// Replaces headers of the same name.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            headers.insert(name.clone(), value.clone());
        }
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared(****)")
    }
}

/// A value that hyper neither prints nor indexes.
pub(crate) fn sensitive(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}
