//! Real servers on free loopback ports, the far sides of a private network. They end with the test's runtime.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Result<SocketAddr>
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    Ok(address)
}

/// Sends back every byte.
pub async fn tcp_echo() -> Result<SocketAddr> {
    listen(|mut stream| async move {
        let (mut reader, mut writer) = stream.split();
        // A peer that goes away is no matter here.
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await
}

/// HTTP: an upgrade becomes a WebSocket echo (with the first subprotocol that was offered); everything else is answered
/// 418 `Short And Stout` with the body that came, the request's method and target in `x-method` and `x-target`, and all
/// `x-` headers as they came, byte by byte.
pub async fn http_echo() -> Result<SocketAddr> {
    listen(|stream| async move {
        let service = service_fn(|request: Request<Incoming>| async move { echo(request).await });
        let _ = hyper::server::conn::http1::Builder::new()
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
    })
    .await
}

async fn echo(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    if request.headers().contains_key(UPGRADE) {
        return websocket(&mut request);
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::IM_A_TEAPOT;
    response
        .extensions_mut()
        .insert(hyper::ext::ReasonPhrase::from_static(b"Short And Stout"));
    let headers = response.headers_mut();
    headers.insert("x-method", HeaderValue::from_str(request.method().as_str())?);
    headers.insert("x-target", HeaderValue::from_str(&request.uri().to_string())?);
    for (name, value) in request
        .headers()
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-"))
    {
        headers.append(name, value.clone());
    }
    *response.body_mut() = Full::new(request.into_body().collect().await?.to_bytes());
    Ok(response)
}

/// HTTP: an upgrade becomes a WebSocket echo; everything else is answered 200 with what came as a JSON document: `method`,
/// `target`, `body`, and `headers` as an object of lists.
pub async fn http_mirror() -> Result<SocketAddr> {
    listen(|stream| async move {
        let service = service_fn(|request: Request<Incoming>| async move { mirror(request).await });
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
    })
    .await
}

/// Answers a request by its head; `None` leaves it to the mirror.
pub type Answering = Arc<dyn Fn(&Request<Incoming>) -> Result<Option<Response<Full<Bytes>>>> + Send + Sync>;

/// HTTP: what `answers` says, and a mirror for all else.
pub async fn answering(answers: Answering) -> Result<SocketAddr> {
    listen(move |stream| {
        let answers = Arc::clone(&answers);
        async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answers = Arc::clone(&answers);
                async move {
                    match answers(&request)? {
                        Some(response) => Ok(response),
                        None => mirror(request).await,
                    }
                }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
                .await;
        }
    })
    .await
}

/// An answer with a text.
pub fn text(body: &str) -> Response<Full<Bytes>> {
    Response::new(Full::from(body.to_owned()))
}

async fn mirror(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    if request.headers().contains_key(UPGRADE) {
        return websocket(&mut request);
    }
    let mut headers = serde_json::Map::new();
    for name in request.headers().keys() {
        let values = request.headers().get_all(name).iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        headers.insert(name.as_str().to_owned(), values.into());
    }
    let (method, target) = (request.method().to_string(), request.uri().to_string());
    let body = request.into_body().collect().await?.to_bytes();
    let document = serde_json::json!({
        "method": method, "target": target, "headers": headers, "body": String::from_utf8_lossy(&body),
    });
    let mut response = Response::new(Full::new(document.to_string().into()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

fn websocket(request: &mut Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let key = request
        .headers()
        .get(SEC_WEBSOCKET_KEY)
        .context("an upgrade has a key")?;
    let accept = derive_accept_key(key.as_bytes());
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accept)?);
    if let Some(offered) = request.headers().get(SEC_WEBSOCKET_PROTOCOL) {
        let first = offered.to_str()?.split(',').next().unwrap_or_default().trim();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(first)?);
    }
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            // The close frame is answered by the library itself.
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                break;
            }
        }
    });
    Ok(response)
}

/// TLS in front of a server on loopback, with a certificate for 127.0.0.1 that signs itself; and that certificate (PEM).
pub async fn tls(server: SocketAddr) -> Result<(SocketAddr, String)> {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der())
        .map_err(anyhow::Error::msg)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)?;
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let address = listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let (Ok(mut near), Ok(mut far)) =
                tokio::join!(acceptor.accept(stream), TcpStream::connect(server))
            {
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        }
    })
    .await?;
    Ok((address, certified.cert.pem()))
}

/// A way to a server on loopback that takes this much longer for each connection.
pub async fn late(server: SocketAddr, by: std::time::Duration) -> Result<SocketAddr> {
    listen(move |mut near| async move {
        tokio::time::sleep(by).await;
        if let Ok(mut far) = TcpStream::connect(server).await {
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }
    })
    .await
}

/// What a [`recorder`] received, one entry per connection.
pub type Recorded = Arc<Mutex<Vec<Vec<u8>>>>;

/// Keeps the bytes of one request per connection, head and a body of `content-length` bytes, and answers `ok`.
pub async fn recorder() -> Result<(SocketAddr, Recorded)> {
    let recorded = Recorded::default();
    let to = Arc::clone(&recorded);
    let address = listen(move |mut stream| {
        let to = Arc::clone(&to);
        async move {
            let mut bytes = Vec::new();
            while !complete(&bytes) {
                match stream.read_buf(&mut bytes).await {
                    Ok(1..) => {}
                    _ => break,
                }
            }
            to.lock().expect("no holder panics").push(bytes);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            let _ = stream.write_all(answer).await;
        }
    })
    .await?;
    Ok((address, recorded))
}

fn complete(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    request.len() >= end + 4 + length.unwrap_or(0)
}
