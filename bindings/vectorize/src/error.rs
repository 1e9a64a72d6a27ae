//! Failures and their codes.

use http::StatusCode;

/// Why a call was not answered.
///
/// Cloudflare does not publish its codes. 40012 is what its client has been seen to report for wrong dimensions; all
/// others are Bowline's own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VectorizeError {
    /// The body is not the JSON or NDJSON the endpoint takes.
    #[error("{0}")]
    Body(String),
    /// A vector's id, values, namespace or metadata breaks a rule.
    #[error("{0}")]
    Vector(String),
    /// A vector has the wrong number of values.
    #[error("invalid vector{id}: expected {expected} dimensions, and got {got} dimensions")]
    Dimensions { id: String, expected: usize, got: usize },
    /// A query option breaks a rule.
    #[error("{0}")]
    Option(String),
    /// A filter breaks a rule.
    #[error("invalid filter: {0}")]
    Filter(String),
    /// More of something than there may be.
    #[error("{0}")]
    TooMany(String),
    /// The vector to query by does not exist.
    #[error("vector \"{0}\" does not exist")]
    NoVector(String),
    /// There is no such endpoint.
    #[error("Vectorize has no endpoint {0}")]
    NoEndpoint(String),
    /// The endpoint takes another method.
    #[error("{path} takes {allow}")]
    Method { path: &'static str, allow: &'static str },
    /// The body is larger than an upload may be.
    #[error("request body is larger than {0} bytes")]
    BodyTooLarge(usize),
    /// Too many calls at once.
    #[error("the index is overloaded; try again")]
    Overloaded,
    /// The file could not be read or written.
    #[error("the index could not be stored")]
    Storage(#[from] rusqlite::Error),
    /// The server that keeps the index failed, could not be reached, or answered garbage.
    #[error("{0}")]
    Backend(String),
    /// A defect of ours.
    #[error("internal error")]
    Internal,
}

impl VectorizeError {
    /// The `code` of the answer.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Self::Body(_) => 40001,
            Self::Vector(_) => 40002,
            Self::Option(_) => 40003,
            Self::Filter(_) => 40004,
            Self::TooMany(_) => 40005,
            Self::Dimensions { .. } => 40012,
            Self::NoVector(_) => 40401,
            Self::NoEndpoint(_) => 40402,
            Self::Method { .. } => 40501,
            Self::BodyTooLarge(_) => 41301,
            Self::Storage(_) => 50001,
            Self::Internal => 50002,
            Self::Backend(_) => 50201,
            Self::Overloaded => 50301,
        }
    }

    /// The status of the answer: the first three digits of the code.
    pub(crate) fn status(&self) -> StatusCode {
        u16::try_from(self.code() / 100)
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}
