//! The four ways to a binding, each spoken as miniflare speaks it, by hand.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use http::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::client::{DEADLINE, Outgoing, Socket, Upgraded};

/// A flow, with the WebSocket inside fetch as one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// D1 by HTTP.
    Fetch,
    /// `send_email` by Cap'n Web.
    Rpc,
    /// TCP to an echo server.
    Connect,
    /// A WebSocket to an echo server.
    WebSocket,
}

/// All of them.
pub const FLOWS: [Flow; 4] = [Flow::Fetch, Flow::Rpc, Flow::Connect, Flow::WebSocket];

/// Where the flows that leave the remote lead.
#[derive(Debug, Clone, Copy)]
pub struct Targets {
    /// A TCP echo server.
    pub tcp: SocketAddr,
    /// A WebSocket echo server.
    pub http: SocketAddr,
}

/// What came of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The binding did what it was asked to.
    Works,
    /// It was not reached; the words that say why, as that flow carries them.
    Fails(String),
}

impl Outcome {
    /// The words of a failure.
    pub fn text(&self) -> &str {
        match self {
            Self::Works => "",
            Self::Fails(text) => text,
        }
    }
}

/// An upgrade on the rpc flow.
pub fn rpc(url: &str, binding: &str) -> Outgoing {
    Outgoing::new(Method::GET, &format!("{url}?MF-Binding={binding}"))
}

/// An upgrade on the connect flow.
pub fn connect(url: &str, binding: &str, address: &str) -> Outgoing {
    Outgoing::new(Method::GET, url)
        .header("MF-Binding", binding)
        .header("MF-Connect-Address", address)
}

/// A request on the fetch flow.
pub fn fetch(method: Method, url: &str, binding: &str, inner: &str) -> Outgoing {
    Outgoing::new(method, url)
        .header("MF-Binding", binding)
        .header("MF-URL", inner)
}

/// One D1 query.
pub fn query(url: &str, sql: &str, params: Value) -> Outgoing {
    fetch(
        Method::POST,
        url,
        "DB",
        "http://d1/query?resultsFormat=ROWS_AND_COLUMNS",
    )
    .header("MF-Header-content-type", "application/json")
    .body(json!({"sql": sql, "params": params}).to_string())
}

/// The next message that carries something.
pub async fn next(socket: &mut Socket) -> Result<Message> {
    tokio::time::timeout(DEADLINE, async {
        loop {
            match socket.next().await.context("the socket ended")?? {
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                message => return Ok(message),
            }
        }
    })
    .await
    .context("no message in time")?
}

impl Flow {
    /// Makes one call through a connection string. An error is a hang or a broken exchange, never a refusal.
    pub async fn call(self, url: &str, targets: Targets) -> Result<Outcome> {
        match self {
            Self::Fetch => {
                let answer = query(url, "SELECT ?1 AS a", json!([7])).send().await?;
                let text = answer.text();
                if answer.status != 200 {
                    return Ok(Outcome::Fails(format!("{} {text}", answer.status.as_u16())));
                }
                let document: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
                anyhow::ensure!(document[0]["results"]["rows"] == json!([[7]]), "{text}");
                Ok(Outcome::Works)
            }
            Self::Rpc => match rpc(url, "MAIL").upgrade().await? {
                Upgraded::Answer(answer) => Ok(Outcome::Fails(format!(
                    "{} {}",
                    answer.status.as_u16(),
                    answer.text()
                ))),
                Upgraded::Socket(mut socket, _) => {
                    let mail = json!({"from": "from@example.com", "to": "to@example.com", "subject": "s", "text": "t"});
                    call_rpc(&mut socket, "send", mail)
                        .await
                        .map(|answer| match answer {
                            Ok(_) => Outcome::Works,
                            Err(text) => Outcome::Fails(text),
                        })
                }
            },
            Self::Connect => match connect(url, "VPC", &targets.tcp.to_string()).upgrade().await? {
                Upgraded::Answer(answer) => Ok(Outcome::Fails(format!(
                    "{} {}",
                    answer.status.as_u16(),
                    answer.text()
                ))),
                Upgraded::Socket(mut socket, _) => echo(&mut socket, Message::binary(&b"ahoy"[..])).await,
            },
            Self::WebSocket => {
                let inner = format!("http://{}/socket", targets.http);
                match fetch(Method::GET, url, "VPC", &inner).upgrade().await? {
                    Upgraded::Answer(answer) => Ok(Outcome::Fails(format!(
                        "{} {}",
                        answer.status.as_u16(),
                        answer.text()
                    ))),
                    Upgraded::Socket(mut socket, _) => echo(&mut socket, Message::text("ahoy")).await,
                }
            }
        }
    }
}

/// Sends one message and expects it back.
pub async fn echo(socket: &mut Socket, message: Message) -> Result<Outcome> {
    // A far side that has closed already says why in its close frame.
    let _ = socket.send(message.clone()).await;
    match next(socket).await? {
        Message::Close(Some(frame)) => Ok(Outcome::Fails(format!(
            "{} {}",
            u16::from(frame.code),
            frame.reason
        ))),
        Message::Close(None) => Ok(Outcome::Fails("closed".into())),
        back if back == message => Ok(Outcome::Works),
        other => bail!("sent {message:?} and got {other:?}"),
    }
}

/// Calls a method of a session's main object: the value, or the message of the rejection or abort.
pub async fn call_rpc(socket: &mut Socket, method: &str, argument: Value) -> Result<Result<Value, String>> {
    let push = json!(["push", ["pipeline", 0, [method], [argument]]]).to_string();
    // A session that was aborted already still has its message to be read.
    let _ = socket.send(Message::text(push)).await;
    let _ = socket.send(Message::text(json!(["pull", 1]).to_string())).await;
    match next(socket).await? {
        Message::Text(text) => {
            let message: Value = serde_json::from_str(&text).with_context(|| text.to_string())?;
            match message[0].as_str() {
                Some("resolve") => Ok(Ok(message[2].clone())),
                Some("reject") => Ok(Err(message[2][2].as_str().unwrap_or_default().to_owned())),
                Some("abort") => Ok(Err(message[1][2].as_str().unwrap_or_default().to_owned())),
                _ => bail!("unexpected message {message}"),
            }
        }
        Message::Close(frame) => Ok(Err(format!("{frame:?}"))),
        other => bail!("unexpected message {other:?}"),
    }
}
