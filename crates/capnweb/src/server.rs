//! Sessions behind an HTTP server of yours.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::batch::{BatchError, serve_batch_with};
use crate::websocket::serve_upgraded_with;
use crate::{Session, SessionOptions, Target};

/// How long a client may take to complete an upgrade, and a batch to be answered.
const DEADLINE: Duration = Duration::from_secs(60);

/// Answers a request that upgrades to a WebSocket with 101 and serves the session in a task of its own; anything else with
/// 400. For hyper, and whatever is made of it, such as axum: the server has to allow upgrades.
///
/// There is no check of origins here, as there is none in the protocol: authenticate inside the session, or before.
pub fn upgrade<B>(
    mut request: Request<B>,
    options: SessionOptions,
    main: impl FnOnce(&Session) -> Arc<dyn Target> + Send + 'static,
) -> Response<Full<Bytes>> {
    let headers = request.headers();
    let asks = headers
        .get(UPGRADE)
        .is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let version = headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_some_and(|version| version == "13");
    let accept = headers
        .get(SEC_WEBSOCKET_KEY)
        .and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok());
    let (Some(accept), true, true, true) = (accept, asks, version, request.method() == Method::GET) else {
        return text(
            StatusCode::BAD_REQUEST,
            "This endpoint only accepts WebSocket requests.",
        );
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // A client that does not complete its upgrade has no session, and one that breaks the protocol was told.
        if let Ok(Ok(upgraded)) = tokio::time::timeout(DEADLINE, upgraded).await {
            let _ = serve_upgraded_with(TokioIo::new(upgraded), options, main).await;
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// Answers whatever a client of Cap'n Web asks at one URL: [`upgrade`] for a WebSocket, [`batch`] for a POST, and 400 for
/// anything else. Several sessions want several main objects, so `main` makes one.
pub async fn answer<B>(
    request: Request<B>,
    options: SessionOptions,
    main: impl FnOnce(&Session) -> Arc<dyn Target> + Send + 'static,
) -> Response<Full<Bytes>>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if request.headers().contains_key(UPGRADE) {
        upgrade(request, options, main)
    } else if request.method() == Method::POST {
        batch_with(request, options, main).await
    } else {
        text(
            StatusCode::BAD_REQUEST,
            "This endpoint only accepts POST or WebSocket requests.",
        )
    }
}

/// Answers a batch: 200 with the answers, 405 to anything but POST, 400 to a batch that aborts its session, 413 to one
/// that is too large, 504 to one that takes too long. Any origin may read the answer, as with the JavaScript server for
/// Workers: authenticate inside the session, or before.
pub async fn batch<B>(
    request: Request<B>,
    options: SessionOptions,
    main: Arc<dyn Target>,
) -> Response<Full<Bytes>>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    batch_with(request, options, |_| main).await
}

async fn batch_with<B>(
    request: Request<B>,
    options: SessionOptions,
    main: impl FnOnce(&Session) -> Arc<dyn Target>,
) -> Response<Full<Bytes>>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut response = if request.method() == Method::POST {
        answer_batch(request, options, main).await
    } else {
        text(
            StatusCode::METHOD_NOT_ALLOWED,
            "This endpoint only accepts POST requests.",
        )
    };
    response
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

async fn answer_batch<B>(
    request: Request<B>,
    options: SessionOptions,
    main: impl FnOnce(&Session) -> Arc<dyn Target>,
) -> Response<Full<Bytes>>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Several messages, each at most three bytes a UTF-16 unit.
    let limit = options.limits.max_message_size.saturating_mul(4);
    let collected = tokio::time::timeout(DEADLINE, Limited::new(request.into_body(), limit).collect()).await;
    let body = match collected {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "The batch is too large.");
        }
        Ok(Err(_)) => return text(StatusCode::BAD_REQUEST, "The batch ended early."),
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "The batch took too long to arrive."),
    };
    let Ok(body) = std::str::from_utf8(&body) else {
        return text(StatusCode::BAD_REQUEST, "The batch is not UTF-8.");
    };
    match serve_batch_with(body, options, main, DEADLINE).await {
        Ok(answer) => text(StatusCode::OK, answer),
        Err(error @ BatchError::Aborted(_)) => text(StatusCode::BAD_REQUEST, error.to_string()),
        Err(error @ BatchError::TimedOut(_)) => text(StatusCode::GATEWAY_TIMEOUT, error.to_string()),
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain;charset=UTF-8"),
    );
    response
}
