//! Every response the remote makes up itself, in one place.

use bowline_binding::{BindingError, Body, ErrorKind, full};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// The remote's `aud` tag until applications exist: 64 hex digits, as Access has them.
const AUDIENCE: &str = "626f776c696e652d72656d6f7465000000000000000000000000000000000000";

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

/// Access's refusal: 403 with the block page, or JSON when the client asks for it (reference/access.md §4.3). It is
/// the same for every reason, so that it does not tell a guesser which half was right.
pub(crate) fn refused(request_headers: &HeaderMap) -> Response<Body> {
    const MESSAGE: &str =
        "Forbidden. You don't have permission to view this. Please contact your system administrator.";
    let json = request_headers.get_all(ACCEPT).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|part| part.trim_ascii().starts_with(b"application/json"))
    });
    let (content_type, body) = if json {
        let body = serde_json::json!({ "message": MESSAGE, "status_code": 403, "aud": AUDIENCE });
        ("application/json", body.to_string())
    } else {
        ("text/html; charset=utf-8", PAGE.replace("{message}", MESSAGE))
    };
    let mut response = Response::new(full(body));
    *response.status_mut() = StatusCode::FORBIDDEN;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(
        HeaderName::from_static("cf-access-aud"),
        HeaderValue::from_static(AUDIENCE),
    );
    if let Some(host) = request_headers.get(http::header::HOST) {
        headers.insert(HeaderName::from_static("cf-access-domain"), host.clone());
    }
    response
}

/// The title's separator is U+30FB; clients recognise the page by it and by the words "Cloudflare Access".
const PAGE: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>Error \u{30fb} Cloudflare Access</title></head>
<body>
<h1>Forbidden</h1>
<p>{message}</p>
<p>This remote is protected in the manner of Cloudflare Access. Send CF-Access-Client-Id and CF-Access-Client-Secret
of a service token with every request and every upgrade.</p>
</body>
</html>
";

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
