//! Refusals, by Cloudflare's numbers.
//!
//! Source of the numbers, statuses and most texts: Cloudflare's page of Images errors (2026). It was written for URL
//! transformations; which of them the binding itself gives is not documented.

use bowline_binding::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

/// Where the binding's client looks for a failure.
const ERROR_HEADER: &str = "cf-images-binding";

/// A refusal with its number. The text goes to the Worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ERROR {code}: {text}")]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    status: StatusCode,
    text: String,
}

impl Refusal {
    fn new(code: u16, status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            code,
            status,
            text: text.into(),
        }
    }

    /// An option that is wrong, or that is not offered here.
    pub(crate) fn options(problem: impl std::fmt::Display) -> Self {
        let text = format!("Missing or invalid resizing parameters: {problem}");
        Self::new(9401, StatusCode::BAD_REQUEST, text)
    }

    /// The request is not one that the binding's client makes.
    pub(crate) fn request(problem: impl std::fmt::Display) -> Self {
        Self::new(9432, StatusCode::BAD_REQUEST, format!("Bad request: {problem}"))
    }

    /// More bytes than are taken.
    pub(crate) fn too_many_bytes(limit: u64) -> Self {
        let text = format!("Could not read the image: it is larger than {limit} bytes");
        Self::new(9402, StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// The upload broke off.
    pub(crate) fn interrupted() -> Self {
        let text = "Could not read the image: the upload ended early";
        Self::new(9402, StatusCode::BAD_GATEWAY, text)
    }

    /// Not an image of a kind that is read.
    pub(crate) fn not_an_image(problem: impl std::fmt::Display) -> Self {
        let text = format!("Could not resize the image: {problem}");
        Self::new(9412, StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    }

    /// Too many pixels, on the way in or out.
    pub(crate) fn too_large(problem: impl std::fmt::Display) -> Self {
        let text = format!("Could not resize the image: {problem}");
        Self::new(9413, StatusCode::FORBIDDEN, text)
    }

    /// An image of a known kind that is broken.
    pub(crate) fn broken(problem: impl std::fmt::Display) -> Self {
        let text = format!("Could not resize the image: error during decoding: {problem}");
        Self::new(9516, StatusCode::UNPROCESSABLE_ENTITY, text)
    }

    /// A result that cannot be written.
    pub(crate) fn unwritable(problem: impl std::fmt::Display) -> Self {
        let text = format!("Could not resize the image: error during encoding: {problem}");
        Self::new(9516, StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// Too much is being done already.
    pub(crate) fn busy() -> Self {
        let text = "The service is too busy; try again";
        Self::new(9522, StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// The deadline passed.
    pub(crate) fn too_slow() -> Self {
        let text = "The image is too large to process or the service is too busy";
        Self::new(9529, StatusCode::GATEWAY_TIMEOUT, text)
    }

    /// Nobody waits for the result any more.
    pub(crate) fn aborted() -> Self {
        Self::new(9528, StatusCode::BAD_GATEWAY, "Request aborted")
    }

    /// A failure of ours: told to the log in full, to the caller in one sentence.
    pub(crate) fn internal(what: &str, error: impl std::fmt::Display) -> Self {
        tracing::error!(error.kind = "internal", error = %error, "{what}");
        let text = "Could not resize the image: internal error while processing the image";
        Self::new(9523, StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn response(&self) -> Response<Body> {
        let mut response = Response::new(bowline_binding::full(self.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        let value = HeaderValue::try_from(format!("err={}", self.code)).expect("digits make a header value");
        headers.insert(ERROR_HEADER, value);
        response
    }
}
