//! A server with OpenAI's API, and the part of Cloudflare's that runs models, on a free loopback port.
//!
//! It is no model: it answers with what it was asked, so that tests can tell. The model's name says how it behaves:
//!
//! | model | behaves |
//! |---|---|
//! | `echo` | answers `you said: …`, streamed word by word |
//! | `drip` | streams a word every few milliseconds until the connection closes |
//! | `silent` | never answers |
//! | `stall` | streams one word, then nothing |
//! | `cut` | streams two words, then the connection breaks |
//! | `early` | streams two words, then the stream ends without its mark |
//! | `sulk` | streams two words, then an error as an event |
//! | `garbage` | answers something that is not JSON, or a stream of it |
//! | `odd` | answers JSON that is not what was asked for |
//! | `tools` | calls a tool |
//! | `refuse-STATUS` | answers with that status, repeating the `Authorization` it was sent |
//! | `flaky-N` | answers 500 to the first N requests, then as `echo` |
//! | `redirect` | answers 307 to another host |
//!
//! It ends with the runtime it was started on.

mod answers;
mod stream;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Path and query.
    pub target: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Seen {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

#[derive(Debug)]
struct State {
    seen: Mutex<Vec<Seen>>,
    failed: Mutex<HashMap<String, u32>>,
    streams: watch::Sender<usize>,
}

/// A running server.
#[derive(Debug, Clone)]
pub struct ModelServer {
    address: SocketAddr,
    state: Arc<State>,
}

impl ModelServer {
    /// Starts one.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let server = Self {
            address: listener.local_addr()?,
            state: Arc::new(State {
                seen: Mutex::default(),
                failed: Mutex::default(),
                streams: watch::Sender::new(0),
            }),
        };
        let state = Arc::clone(&server.state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A small piece must not wait for a full segment.
                let _ = stream.set_nodelay(true);
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&state), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await;
                });
            }
        });
        Ok(server)
    }

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of OpenAI's API.
    pub fn openai(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The URL of Cloudflare's API.
    pub fn cloudflare(&self) -> String {
        format!("http://{}/client/v4", self.address)
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state
            .seen
            .lock()
            .map(|seen| seen.clone())
            .unwrap_or_default()
    }

    /// The last request.
    pub fn last(&self) -> Option<Seen> {
        self.seen().pop()
    }

    /// Waits until exactly so many streams are being written.
    pub async fn streams(&self, count: usize) {
        let mut streams = self.state.streams.subscribe();
        // The sender lives as long as this server.
        let _ = streams.wait_for(|open| *open == count).await;
    }
}

async fn answer(
    state: Arc<State>,
    mut request: Request<Incoming>,
) -> Result<http::Response<answers::ResponseBody>, Infallible> {
    let upgrade = request
        .headers()
        .contains_key(http::header::UPGRADE)
        .then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let seen = Seen {
        target: parts.uri.to_string(),
        headers: parts.headers,
        body,
    };
    if let Ok(mut all) = state.seen.lock() {
        all.push(seen.clone());
    }
    if let Some(upgrade) = upgrade {
        return Ok(answers::websocket(&seen, upgrade));
    }
    Ok(answers::answer(&state, &seen).await)
}
