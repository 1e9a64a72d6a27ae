//! The private network of the demo: a host that echoes lines, and a web server that also echoes WebSocket messages.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use bowline_binding::{Body, empty, full};
use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// What the web server says.
pub(super) const GREETING: &str = "hello from the private network";

/// Where the hosts are. They live as long as the process.
pub(super) struct Hosts {
    pub(super) echo: SocketAddr,
    pub(super) web: SocketAddr,
}

pub(super) async fn start() -> io::Result<Hosts> {
    let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let web = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let hosts = Hosts {
        echo: echo.local_addr()?,
        web: web.local_addr()?,
    };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = echo.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = web.accept().await {
            let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(request)) });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(
                http.serve_connection(TokioIo::new(stream), service)
                    .with_upgrades(),
            );
        }
    });
    Ok(hosts)
}

fn answer(mut request: Request<Incoming>) -> Response<Body> {
    let key = request
        .headers()
        .get(SEC_WEBSOCKET_KEY)
        .map(|key| derive_accept_key(key.as_bytes()));
    let Some(accept) = key.and_then(|accept| HeaderValue::from_str(&accept).ok()) else {
        return Response::new(full(GREETING));
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}
