//! Every response the remote makes up itself, in one place.

use bowline_binding::{BindingError, Body, ErrorKind, full};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

/// A plain text answer.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(full(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// A failure without a shape of the binding's own.
pub(crate) fn binding_error(error: &BindingError) -> Response<Body> {
    let status = match error.kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        // Upstream answers every exception of a binding with 500 and its text, and 400 has texts of its own meaning.
        ErrorKind::Invalid | ErrorKind::Unsupported => StatusCode::INTERNAL_SERVER_ERROR,
    };
    text(status, error.message.clone())
}

/// Marks an answer that comes from the binding, so that clients do not take it for the gate's.
pub(crate) fn mark_forwarded(response: &mut Response<Body>) {
    response.headers_mut().insert(
        bowline_wire::header::MF_FORWARDED_RESPONSE,
        HeaderValue::from_static("true"),
    );
}
