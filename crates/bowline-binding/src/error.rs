//! Failures of a binding, by what the caller may do about them.

use crate::BoxError;

/// What went wrong, in the words of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The thing named does not exist.
    NotFound,
    /// The request is malformed or breaks a limit; repeating it will not help.
    Invalid,
    /// The request contradicts the present state.
    Conflict,
    /// Too many requests.
    RateLimited,
    /// This binding does not do that.
    Unsupported,
    /// A store or upstream does not answer.
    Unavailable,
    /// A defect of ours.
    Internal,
}

/// Whether the same request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Repeating gives the same failure.
    No,
    /// Repeating may succeed and does no harm.
    Yes,
}

/// A failure without a shape of the binding's own. The display text is a lowercase fragment that fits after
/// "failed to".
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {message}")]
pub struct BindingError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Whether to try again.
    pub retry: Retry,
    /// What was being done.
    pub operation: &'static str,
    /// One sentence for the developer.
    pub message: String,
    /// The failure below, when there is one.
    #[source]
    pub source: Option<BoxError>,
}

impl BindingError {
    /// A failure of `operation`. Only [`ErrorKind::Unavailable`] and [`ErrorKind::RateLimited`] may be retried.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::Unavailable | ErrorKind::RateLimited => Retry::Yes,
            _ => Retry::No,
        };
        Self {
            kind,
            retry,
            operation,
            message: message.into(),
            source: None,
        }
    }

    /// The same failure with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// `binding` does not answer this flow.
    pub fn unsupported(flow: &'static str, binding: &str) -> Self {
        Self::new(
            ErrorKind::Unsupported,
            flow,
            format!("binding \"{binding}\" does not answer {flow}"),
        )
    }
}
