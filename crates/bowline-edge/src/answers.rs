//! Every answer the stand-in makes up itself, in one place.

use bowline_binding::{Body, full};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

/// An answer of the API that a call went well: the envelope around `result`.
pub(crate) fn success(result: Value) -> Response<Body> {
    json(
        StatusCode::OK,
        &json!({"success": true, "result": result, "errors": [], "messages": []}),
    )
}

/// [`success`] for a list that fits one page.
pub(crate) fn page(items: Vec<Value>) -> Response<Body> {
    let count = items.len();
    json(
        StatusCode::OK,
        &json!({
            "success": true, "result": items, "errors": [], "messages": [],
            "result_info": {"page": 1, "per_page": 20, "count": count, "total_count": count, "total_pages": 1},
        }),
    )
}

/// An error of the API. Clients go by the code; the statuses beside the codes were never seen at Cloudflare's.
pub(crate) fn error(status: StatusCode, code: u32, message: &str) -> Response<Body> {
    let errors = json!([{"code": code, "message": message}]);
    json(
        status,
        &json!({"success": false, "result": null, "errors": errors, "messages": []}),
    )
}

/// The error that a fault asked for: the status and words that go with the code, as far as they are known.
pub(crate) fn coded(code: u32) -> Response<Body> {
    coded_as(code, None)
}

/// [`coded`], with another status.
pub(crate) fn coded_as(code: u32, status: Option<u16>) -> Response<Body> {
    let (usual, message) = match code {
        9106 => (
            StatusCode::BAD_REQUEST,
            "Missing X-Auth-Key, X-Auth-Email or Authorization headers",
        ),
        10000 => (StatusCode::FORBIDDEN, "Authentication error"),
        10405 => (
            StatusCode::METHOD_NOT_ALLOWED,
            "Method not allowed for this authentication scheme",
        ),
        10007 => (StatusCode::NOT_FOUND, "This account has no workers.dev subdomain"),
        10021 => (StatusCode::BAD_REQUEST, "The uploaded Worker is not valid"),
        10049 => (
            StatusCode::BAD_REQUEST,
            "The preview session token is unknown or has expired",
        ),
        10063 => (
            StatusCode::FORBIDDEN,
            "A workers.dev subdomain must be registered first",
        ),
        _ => (StatusCode::BAD_REQUEST, "A fault on demand"),
    };
    let status = status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(usual);
    error(status, code, message)
}

/// A bare JSON document.
pub(crate) fn json(status: StatusCode, document: &Value) -> Response<Body> {
    answer(status, "application/json", document.to_string())
}

/// A plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", text.into())
}

/// A page of HTML where JSON was expected.
pub(crate) fn html() -> Response<Body> {
    answer(
        StatusCode::OK,
        "text/html; charset=utf-8",
        "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>This is not the API.</body></html>\n".into(),
    )
}

/// A bare status, with the seconds to wait where a fault names them.
pub(crate) fn bare(status: u16, wait: Option<u32>) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = text(status, "a fault on demand\n");
    if let Some(wait) = wait {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}

/// What an edge says to a preview token that it does not know. Clients look for status 400 and these words, and for the
/// absence of the header that marks an answer of a binding.
pub(crate) fn unknown_preview() -> Response<Body> {
    answer(
        StatusCode::BAD_REQUEST,
        "text/html; charset=utf-8",
        "<!DOCTYPE html>\n<html><head><title>Invalid Workers Preview configuration</title></head>\n\
         <body><h1>Invalid Workers Preview configuration</h1></body></html>\n"
            .into(),
    )
}

/// A product's own session is gone. It comes through the binding, hence with the mark of one.
pub(crate) fn product_gone() -> Response<Body> {
    let mut response = text(StatusCode::BAD_REQUEST, "error code: 1031");
    response.headers_mut().insert(
        bowline_wire::header::MF_FORWARDED_RESPONSE,
        HeaderValue::from_static("true"),
    );
    response
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
