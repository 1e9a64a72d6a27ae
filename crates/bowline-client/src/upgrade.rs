//! Requests that become WebSockets.

use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use crate::{Binding, Body, Error, ErrorKind};

/// What came of an upgrade.
pub(crate) enum Outcome {
    /// A connection, and the answer's head.
    Switched(TokioIo<Upgraded>, Response<()>),
    /// Any other answer.
    Answered(Response<Body>),
}

/// Sends `request` as the handshake of a WebSocket (RFC 6455 §4.1). No extensions are offered.
pub(crate) async fn upgrade(
    binding: &Binding,
    operation: &'static str,
    mut request: Request<Body>,
) -> Result<Outcome, Error> {
    let key = generate_key();
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    let value = HeaderValue::from_str(&key).expect("base64 is a header's value");
    headers.insert(SEC_WEBSOCKET_KEY, value);

    let client = binding.client();
    let response = client.proxy().exchange("/", request).await;
    let mut response = response.map_err(|failure| binding.fails(operation, ErrorKind::Line(failure)))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Outcome::Answered(response));
    }
    let accepted = response
        .headers()
        .get(SEC_WEBSOCKET_ACCEPT)
        .is_some_and(|accept| accept.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes());
    if !accepted {
        let text = "a WebSocket that nobody asked for: Sec-WebSocket-Accept is wrong".to_owned();
        return Err(binding.fails(operation, ErrorKind::Answer(text)));
    }
    let after = client.deadlines().upgrade;
    match tokio::time::timeout(after, hyper::upgrade::on(&mut response)).await {
        Ok(Ok(upgraded)) => Ok(Outcome::Switched(TokioIo::new(upgraded), response.map(drop))),
        Ok(Err(error)) => {
            let text = format!("the upgrade was not completed: {error}");
            Err(binding.fails(operation, ErrorKind::Answer(text)))
        }
        Err(_) => {
            let what = "the upgrade";
            Err(binding.fails(operation, ErrorKind::TimedOut { what, after }))
        }
    }
}
