//! Failures as the client in workerd reads them: `{internalCode, description, name}`.

use bowline_binding::{Body, BodyError, full};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

/// Why a call was not answered. The text is the `description`.
///
/// Codes are Cloudflare's documented ones where there is one that fits; 5006 and 3043 are not in that list, but are what
/// its users report for inputs that do not fit a model and for failures behind it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AiError {
    /// No model of that name is mapped.
    #[error("No such model {model} or task; {mapped}")]
    NoModel { model: String, mapped: String },
    /// The request lacks something the client always sends.
    #[error("{0}")]
    Incomplete(String),
    /// An input that should be base64 is not.
    #[error("{0} must be base64")]
    Base64(&'static str),
    /// Inputs or options that the model or its backend do not take.
    #[error("{0}")]
    Input(String),
    /// The request is larger than it may be.
    #[error("the request is larger than {0} bytes")]
    TooLarge(usize),
    /// The backend does not know the model it was mapped to.
    #[error("{0}")]
    InvalidModel(String),
    /// The backend refuses our credential.
    #[error("{0}")]
    NotAllowed(String),
    /// The backend did not answer in time.
    #[error("{0}")]
    Timeout(String),
    /// The request's body ended early.
    #[error("the request was broken off")]
    Aborted,
    /// The backend has too much to do.
    #[error("{0}")]
    Capacity(String),
    /// The backend failed or could not be reached.
    #[error("{0}")]
    Upstream(String),
    /// Cloudflare's own refusal, passed on.
    #[error("{text}")]
    Passed { code: u32, status: u16, text: String },
}

impl AiError {
    /// `internalCode`.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Self::NoModel { .. } => 5007,
            Self::Incomplete(_) => 3003,
            Self::Base64(_) => 5004,
            Self::Input(_) => 5006,
            Self::TooLarge(_) => 3006,
            Self::InvalidModel(_) => 3042,
            Self::NotAllowed(_) => 5018,
            Self::Timeout(_) => 3007,
            Self::Aborted => 3008,
            Self::Capacity(_) => 3040,
            Self::Upstream(_) => 3043,
            Self::Passed { code, .. } => *code,
        }
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoModel { .. } | Self::Incomplete(_) | Self::Base64(_) | Self::Input(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InvalidModel(_) => StatusCode::NOT_FOUND,
            Self::NotAllowed(_) => StatusCode::FORBIDDEN,
            Self::Timeout(_) | Self::Aborted => StatusCode::REQUEST_TIMEOUT,
            Self::Capacity(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Upstream(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Passed { status, .. } => {
                StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// The answer.
    pub(crate) fn response(&self) -> Response<Body> {
        let body = serde_json::json!({
            "internalCode": self.code(), "description": self.to_string(), "name": "InferenceUpstreamError",
        });
        json(self.status(), &body)
    }
}

impl From<BodyError> for AiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { limit } => Self::TooLarge(limit),
            BodyError::Read(_) => Self::Aborted,
        }
    }
}

/// A JSON answer. Exactly this content type is what the client reads as JSON.
pub(crate) fn json(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
