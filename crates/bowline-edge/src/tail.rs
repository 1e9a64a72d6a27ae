//! Tails: WebSockets on which a client is told what its preview did.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bowline_access::hex;
use bowline_access_store::random;
use bowline_binding::Body;
use futures_util::{SinkExt, StreamExt, stream};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;

use crate::answers;
use crate::stand::StandError;

/// The subprotocol of a tail.
const PROTOCOL: &str = "trace-v1";
/// Tails at a time; more push out any other.
const MOST: usize = 256;
/// Events that a slow reader may be behind; older ones are lost to it, as all of a tail's may be.
const BEHIND: usize = 256;
/// Events are told so much later, along with what came meanwhile: a client that waits for an answer gets that first. When
/// Cloudflare tells them is not known; its Tail Workers are called after what they are told of has ended.
const LATER: Duration = Duration::from_millis(5);
/// How long a client may take to complete its upgrade.
const UPGRADE: Duration = Duration::from_secs(30);

/// The tails of all previews.
#[derive(Debug, Default)]
pub(crate) struct Tails(Mutex<HashMap<String, broadcast::Sender<Arc<str>>>>);

impl Tails {
    /// A new tail; its name is the path of its URL, and a secret of those who were told.
    pub(crate) fn open(&self) -> Result<String, StandError> {
        let name = hex(&random::<16>()?);
        let mut tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tails.len() >= MOST {
            let any = tails
                .iter()
                .find(|(_, tail)| tail.receiver_count() == 0)
                .or_else(|| tails.iter().next());
            if let Some(name) = any.map(|(name, _)| name.clone()) {
                tails.remove(&name);
            }
        }
        tails.insert(name.clone(), broadcast::Sender::new(BEHIND));
        Ok(name)
    }

    /// Tells one tail, if anybody listens.
    pub(crate) fn tell(&self, name: &str, event: &Value) {
        let tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tail) = tails.get(name).filter(|tail| tail.receiver_count() > 0) {
            let _ = tail.send(event.to_string().into());
        }
    }

    /// Tells every tail.
    pub(crate) fn tell_all(&self, event: &Value) {
        let text: Arc<str> = event.to_string().into();
        for tail in self.0.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let _ = tail.send(Arc::clone(&text));
        }
    }

    /// How many sockets are open.
    pub(crate) fn open_sockets(&self) -> usize {
        let tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tails.values().map(broadcast::Sender::receiver_count).sum()
    }

    /// Answers a request to the host of tails.
    pub(crate) fn accept(&self, mut request: Request<Body>) -> Response<Body> {
        let name = request.uri().path().trim_start_matches('/');
        let tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut events) = tails.get(name).map(broadcast::Sender::subscribe) else {
            return answers::text(StatusCode::NOT_FOUND, "no such tail\n");
        };
        drop(tails);
        let mut response = match bowline_remote::accept_upgrade(&request) {
            Ok(response) => response,
            Err(malformed) => return malformed.into_response(),
        };
        let offered = request.headers().get(SEC_WEBSOCKET_PROTOCOL);
        if offered.is_some_and(|offered| offered.as_bytes().split(|byte| *byte == b',').any(is_trace)) {
            let protocol = HeaderValue::from_static(PROTOCOL);
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let Ok(Ok(upgraded)) = tokio::time::timeout(UPGRADE, upgrade).await else {
                return;
            };
            let mut socket = bowline_tunnel::server_socket(TokioIo::new(upgraded)).await;
            loop {
                tokio::select! {
                    event = events.recv() => {
                        let text = match event {
                            Ok(text) => text,
                            Err(broadcast::error::RecvError::Lagged(_)) => continue,
                            Err(broadcast::error::RecvError::Closed) => break,
                        };
                        tokio::time::sleep(LATER).await;
                        let more = std::iter::from_fn(|| events.try_recv().ok());
                        let all = std::iter::once(text).chain(more);
                        let mut all = stream::iter(all.map(|text| Ok(Message::text(text.as_ref()))));
                        if socket.send_all(&mut all).await.is_err() {
                            return;
                        }
                    }
                    // A client has nothing to say; this notices that it left.
                    heard = socket.next() => match heard {
                        Some(Ok(_)) => {}
                        _ => return,
                    },
                }
            }
            let _ = socket.close(None).await;
        });
        response
    }
}

fn is_trace(offered: &[u8]) -> bool {
    offered.trim_ascii().eq_ignore_ascii_case(PROTOCOL.as_bytes())
}
