//! A fetch answered by HTTP/1.1 over a byte stream.

use std::time::Duration;

use base64::Engine;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{BoxDuplex, FetchReply, FetchRequest, UpgradeRequest};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The connection broke, or the peer does not speak HTTP.
    #[error("the connection broke before the answer")]
    Broken(#[from] hyper::Error),
    /// No head of an answer came in time.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// An upgrade was answered with something else.
    #[error("the upgrade was answered with status {0}")]
    NotUpgraded(StatusCode),
}

/// Sends `request` as `target` over a connection of its own and returns the head of the answer; bodies are streamed, and
/// an upgrade becomes a byte stream. Redirects are answers like any other. `host` is sent where the request has no `Host`.
///
/// Cancel safe: the connection is dropped with the future.
pub async fn exchange<S>(
    stream: S,
    request: FetchRequest,
    target: Uri,
    host: Option<HeaderValue>,
    first_byte: Duration,
) -> Result<FetchReply, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .preserve_header_case(true)
        .handshake(TokioIo::new(stream))
        .await?;
    // Ends with the response's body, or with the upgrade.
    tokio::spawn(connection.with_upgrades());

    let mut outgoing = Request::new(request.body);
    *outgoing.method_mut() = request.method;
    *outgoing.uri_mut() = target;
    *outgoing.headers_mut() = request.headers;
    let headers = outgoing.headers_mut();
    if let Some(host) = host
        && !headers.contains_key(HOST)
    {
        headers.insert(HOST, host);
    }
    if let Some(upgrade) = &request.upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_KEY, upgrade.key.clone());
        headers.insert(SEC_WEBSOCKET_VERSION, upgrade.version.clone());
    }
    let response = tokio::time::timeout(first_byte, sender.send_request(outgoing))
        .await
        .map_err(|_| ExchangeError::TimedOut(first_byte))??;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS && request.upgrade.is_some() {
        let headers = response.headers().clone();
        let upgraded = hyper::upgrade::on(response).await?;
        return Ok(FetchReply::Upgrade {
            headers,
            duplex: Box::new(TokioIo::new(upgraded)),
        });
    }
    Ok(response
        .map(|body| body.map_err(Into::into).boxed_unsync())
        .into())
}

/// Opens a WebSocket over a connection and returns its bytes, the handshake done.
///
/// Cancel safe: the connection is dropped with the future.
pub async fn open_websocket<S>(
    stream: S,
    target: Uri,
    host: HeaderValue,
    first_byte: Duration,
) -> Result<BoxDuplex, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let key = base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 16]>());
    let request = FetchRequest {
        method: Method::GET,
        url: target.to_string(),
        headers: HeaderMap::new(),
        body: crate::empty(),
        upgrade: Some(UpgradeRequest {
            key: HeaderValue::from_str(&key).expect("base64 makes a header value"),
            version: HeaderValue::from_static("13"),
        }),
    };
    match exchange(stream, request, target, Some(host), first_byte).await? {
        FetchReply::Upgrade { duplex, .. } => Ok(duplex),
        FetchReply::Response(response) => Err(ExchangeError::NotUpgraded(response.status())),
    }
}
