//! Refusals, as the caller sees them.

use capnweb::{Error, ErrorValue};

/// A refusal with Cloudflare's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new("E_VALIDATION_ERROR", message)
    }

    pub(crate) fn into_error(self) -> Error {
        ErrorValue::new("Error", self.message)
            .with("code", self.code.into())
            .into()
    }
}
