//! WebSocket handshakes of the remote's own flows (rpc and connect).

use bowline_binding::{Body, empty};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::respond;

/// What is wrong with a handshake.
#[derive(Debug)]
pub struct Malformed(&'static str);

impl Malformed {
    /// The answer that says so.
    pub fn into_response(self) -> Response<Body> {
        let mut response = respond::text(
            StatusCode::BAD_REQUEST,
            format!("malformed WebSocket upgrade: {}", self.0),
        );
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        response
    }
}

/// Checks a handshake (RFC 6455 §4.2.1) and makes the 101 that answers it. Extensions and subprotocols are not
/// negotiated: frames are spliced by proxies on the way as they are.
pub fn accept<B>(request: &Request<B>) -> Result<Response<Body>, Malformed> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Malformed("the method is not GET"));
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(Malformed("Sec-WebSocket-Version is not 13"));
    }
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .ok_or(Malformed("Sec-WebSocket-Key is missing"))?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| Malformed("Sec-WebSocket-Key"))?;
    let mut response = switching(HeaderMap::new());
    response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// A 101 with `headers` of whoever answered the upgrade.
pub(crate) fn switching(headers: HeaderMap) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response
        .headers_mut()
        .insert(UPGRADE, HeaderValue::from_static("websocket"));
    response
}
