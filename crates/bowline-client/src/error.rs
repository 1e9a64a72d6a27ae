//! Why a call has no result.

use std::sync::Arc;
use std::time::Duration;

use bowline_proxy::{Failure, Hop};
use http::StatusCode;

/// Why a call has no result: which binding, what was being done, and what happened.
#[derive(Debug, thiserror::Error)]
#[error("binding \"{binding}\", {operation}: {kind}")]
pub struct Error {
    /// The binding's name.
    pub binding: Arc<str>,
    /// What was being done: a method of the binding.
    pub operation: &'static str,
    /// What happened.
    pub kind: Box<ErrorKind>,
}

/// What happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was given cannot be sent; nothing was.
    #[error("{0}")]
    Invalid(String),
    /// The remote was not reached, or something in front of it refused. Names hop, host, status and cause.
    #[error("{0}")]
    Line(#[source] Failure),
    /// The remote was reached, and it or a proxy on the way answered in the binding's place.
    #[error("answered {status} on the way: {text}")]
    OnTheWay {
        /// The status of the answer.
        status: StatusCode,
        /// What it said.
        text: String,
    },
    /// The binding refused the call or failed.
    #[error("{message}")]
    Binding {
        /// The status of its answer; 200 where the binding tells failures otherwise.
        status: StatusCode,
        /// Its own code, where it has codes.
        code: Option<i64>,
        /// Its words.
        message: String,
    },
    /// An rpc call was rejected, by the binding or for want of one.
    #[error("{0}")]
    Rejected(#[source] capnweb::Error),
    /// The rpc session ended before its call did.
    #[error("the session ended: {0}")]
    Disconnected(#[source] capnweb::Error),
    /// A deadline passed.
    #[error("{what} took longer than {} s", .after.as_secs_f32())]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// The body of an answer could not be read to its end.
    #[error("the answer ended early")]
    Body(#[source] bowline_binding::BodyError),
    /// The answer is not what this kind of binding answers.
    #[error("the answer is not the binding's: {0}")]
    Answer(String),
}

impl Error {
    /// Whether the same call may succeed later. It does not tell whether this one was carried out: a call that changes
    /// something and ended with [`Hop::Send`], [`Hop::Answer`], a time-out or a broken answer may have been.
    pub fn may_retry(&self) -> bool {
        match &*self.kind {
            ErrorKind::Line(failure) => !matches!(failure.hop, Hop::Request | Hop::Gate(_)),
            ErrorKind::OnTheWay { status, .. } | ErrorKind::Binding { status, .. } => {
                status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED
                    || *status == StatusCode::TOO_MANY_REQUESTS
            }
            ErrorKind::TimedOut { .. } | ErrorKind::Disconnected(_) => true,
            ErrorKind::Body(error) => matches!(error, bowline_binding::BodyError::Read(_)),
            ErrorKind::Invalid(_) | ErrorKind::Rejected(_) | ErrorKind::Answer(_) => false,
        }
    }

    /// What an rpc call was rejected with: a name, a message, and perhaps properties such as `code`.
    pub fn rejection(&self) -> Option<&capnweb::Error> {
        match &*self.kind {
            ErrorKind::Rejected(error) => Some(error),
            _ => None,
        }
    }

    /// The status of the answer, where there was one.
    pub fn status(&self) -> Option<StatusCode> {
        match &*self.kind {
            ErrorKind::Line(failure) => Some(failure.status),
            ErrorKind::OnTheWay { status, .. } | ErrorKind::Binding { status, .. } => Some(*status),
            _ => None,
        }
    }
}
