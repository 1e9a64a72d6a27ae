//! The pages of a login.

use bowline_binding::Body;
use http::header::{CONTENT_SECURITY_POLICY, LOCATION};
use http::{HeaderValue, Response, StatusCode};

use crate::respond;

/// A page about the login. The title's separator is U+30FB, as in the login page that clients know.
pub(super) fn page(status: StatusCode, content: &str) -> Response<Body> {
    let mut response = respond::html(
        status,
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Sign in \u{30fb} Cloudflare Access</title></head>\n\
             <body>\n{content}\n</body>\n</html>\n"
        ),
    );
    response.headers_mut().insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
    );
    response
}

/// A page that says why the login does not go on.
pub(super) fn over(status: StatusCode, why: &str) -> Response<Body> {
    page(status, &format!("<h1>Sign in</h1>\n<p>{why}</p>"))
}

/// A redirect that nobody keeps.
pub(super) fn to(status: StatusCode, location: &str) -> Response<Body> {
    let mut response = respond::found();
    *response.status_mut() = status;
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
