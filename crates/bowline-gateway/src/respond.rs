//! Every response the gateway makes up itself, in one place.

use bowline_access::{Cors, hex, wants_json};
use bowline_access_store::random;
use bowline_binding::{Body, empty, full};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, CONTENT_TYPE, ORIGIN, RETRY_AFTER, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::challenge::Place;

const MESSAGE: &str =
    "Forbidden. You don't have permission to view this. Please contact your system administrator.";

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A plain text answer.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", text.into())
}

/// A page that nobody keeps.
pub(crate) fn html(status: StatusCode, page: String) -> Response<Body> {
    let mut response = answer(status, "text/html; charset=utf-8", page);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    answer(status, "application/json", value.to_string())
}

/// The block page, or its JSON form where the client asks for JSON. It is the same for every reason, so that it does not
/// tell a guesser which half was right.
pub(crate) fn blocked(
    status: StatusCode,
    request_headers: &HeaderMap,
    place: Option<&Place>,
) -> Response<Body> {
    let aud = place.map(|place| &*place.application.aud);
    let mut response = if wants_json(request_headers) {
        let ray = random::<8>().map(|bytes| hex(&bytes)).unwrap_or_default();
        let body = json!({"message": MESSAGE, "status_code": status.as_u16(), "aud": aud, "ray_id": ray});
        json(status, &body)
    } else {
        answer(
            status,
            "text/html; charset=utf-8",
            PAGE.replace("{message}", MESSAGE),
        )
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    if let Some(place) = place {
        for (name, value) in [
            ("cf-access-aud", &*place.application.aud),
            ("cf-access-domain", &place.domain),
        ] {
            // The catch-all guards whatever host was asked for, which says more than a star.
            let value = if value == "*" { &place.host } else { value };
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }
    response
}

/// Too many failures: the block page with a time to come back.
pub(crate) fn throttled(wait: i64, request_headers: &HeaderMap, place: &Place) -> Response<Body> {
    let mut response = blocked(StatusCode::TOO_MANY_REQUESTS, request_headers, Some(place));
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(wait));
    response
}

/// What scripts get instead of a redirect.
pub(crate) fn unauthorized() -> Response<Body> {
    let page = "<html>\n<head><title>401 Unauthorized</title></head>\n<body>\n<center><h1>401 Unauthorized</h1></center>\n</body>\n</html>\n";
    answer(StatusCode::UNAUTHORIZED, "text/html", page.into())
}

/// The body of a redirect.
pub(crate) fn found() -> Response<Body> {
    let page = "<html>\n<head><title>302 Found</title></head>\n<body>\n<center><h1>302 Found</h1></center>\n</body>\n</html>\n";
    let mut response = answer(StatusCode::FOUND, "text/html", page.into());
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}

/// The answer to a preflight, by the application's settings; the origin is not asked.
pub(crate) fn preflight(cors: &Cors, request_headers: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(empty());
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    let origin = request_headers.get(ORIGIN);
    let allowed = |list: &[String], value: Option<&HeaderValue>| {
        list.iter().any(|entry| {
            entry == "*" || value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(entry.as_bytes()))
        })
    };
    let Some(origin) =
        origin.filter(|origin| cors.allow_all_origins || allowed(&cors.allowed_origins, Some(origin)))
    else {
        return response;
    };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if cors.allow_credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    let list = |all: bool, listed: &[String], asked| -> Option<HeaderValue> {
        if all {
            request_headers.get(asked).cloned()
        } else if listed.is_empty() {
            None
        } else {
            HeaderValue::try_from(listed.join(", ")).ok()
        }
    };
    let methods = list(
        cors.allow_all_methods,
        &cors.allowed_methods,
        ACCESS_CONTROL_REQUEST_METHOD,
    );
    let names = list(
        cors.allow_all_headers,
        &cors.allowed_headers,
        ACCESS_CONTROL_REQUEST_HEADERS,
    );
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, methods),
        (ACCESS_CONTROL_ALLOW_HEADERS, names),
        (ACCESS_CONTROL_MAX_AGE, cors.max_age.map(HeaderValue::from)),
    ] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    response
}

/// An error with its causes in one line, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// The title's separator is U+30FB; clients recognise the page by it and by the words "Cloudflare Access".
const PAGE: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>Error \u{30fb} Cloudflare Access</title></head>
<body>
<h1>Forbidden</h1>
<p>{message}</p>
<p>This place is protected in the manner of Cloudflare Access. Send CF-Access-Client-Id and CF-Access-Client-Secret
of a service token with every request and every upgrade.</p>
</body>
</html>
";
