//! The log of a preview: a WebSocket on which the edge sends what the Worker wrote.
//!
//! Source: wrangler 4.164 at work: subprotocol `trace-v1`, no authorization (the URL is enough), JSON with `logs` and
//! `exceptions`. Losing it loses log lines and nothing else, so nothing here is an error.

use std::sync::Arc;

use bowline_secret::Secret;
use bowline_upstream::Http;
use futures_util::StreamExt;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// The largest message read.
const LARGEST: usize = 1 << 20;
/// The longest line told, in characters.
const LONGEST: usize = 8192;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `log`, `warn`, `error`, `debug` …, or `exception`.
    pub level: String,
    /// What was written, one line or more.
    pub text: String,
}

/// Tells every entry until the other side ends it.
pub(crate) async fn follow(http: Arc<Http>, url: Secret, tell: impl Fn(&Log)) {
    if let Err(why) = read(&http, &url, &tell).await {
        tracing::debug!(why, "the preview's log cannot be followed");
    }
}

async fn read(http: &Http, url: &Secret, tell: &impl Fn(&Log)) -> Result<(), &'static str> {
    let url = url.expose();
    let url = match (url.strip_prefix("wss://"), url.strip_prefix("ws://")) {
        (Some(rest), _) => format!("https://{rest}"),
        (None, Some(rest)) => format!("http://{rest}"),
        (None, None) => return Err("its URL is no WebSocket's"),
    };
    let request = Request::get(url)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, generate_key())
        .header(SEC_WEBSOCKET_PROTOCOL, "trace-v1")
        .header(USER_AGENT, concat!("bowline/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new().map_err(|never| match never {}).boxed_unsync())
        .map_err(|_| "its URL is none")?;
    let response = http
        .upgrade(request)
        .await
        .map_err(|_| "its host cannot be reached")?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err("the upgrade was refused");
    }
    let stream = hyper::upgrade::on(response)
        .await
        .map_err(|_| "the upgrade failed")?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(LARGEST))
        .max_frame_size(Some(LARGEST));
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Client, Some(config)).await;
    while let Some(message) = socket.next().await {
        match message.map_err(|_| "it broke off")? {
            Message::Text(text) => entries(text.as_bytes()).iter().for_each(tell),
            Message::Binary(bytes) => entries(&bytes).iter().for_each(tell),
            _ => {}
        }
    }
    Ok(())
}

/// The entries of one message; none when it is not understood.
fn entries(message: &[u8]) -> Vec<Log> {
    let Ok(message) = serde_json::from_slice::<Value>(message) else {
        return Vec::new();
    };
    let list = |name: &str| message[name].as_array().cloned().unwrap_or_default();
    let logs = list("logs").into_iter().map(|log| Log {
        level: log["level"].as_str().unwrap_or("log").to_owned(),
        text: cut(&match &log["message"] {
            Value::Array(parts) => parts.iter().map(shown).collect::<Vec<_>>().join(" "),
            other => shown(other),
        }),
    });
    let exceptions = list("exceptions").into_iter().map(|exception| {
        let part = |name: &str| exception[name].as_str().unwrap_or_default().to_owned();
        let mut text = format!("{}: {}", part("name"), part("message"));
        if !part("stack").is_empty() {
            text.push('\n');
            text.push_str(&part("stack"));
        }
        Log {
            level: "exception".to_owned(),
            text: cut(&text),
        }
    });
    logs.chain(exceptions).collect()
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Bounded, and without what would steer a terminal.
fn cut(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .take(LONGEST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_and_exceptions() {
        let message =
            br#"{"logs": [{"level": "warn", "message": ["a", {"b": 1}, "\u001b[31mc"]}, {"message": "d"}],
            "exceptions": [{"name": "TypeError", "message": "no", "stack": "  at x"}], "outcome": "ok"}"#;
        let log = |level: &str, text: &str| Log {
            level: level.into(),
            text: text.into(),
        };
        let expected = [
            log("warn", "a {\"b\":1} [31mc"),
            log("log", "d"),
            log("exception", "TypeError: no\n  at x"),
        ];
        assert_eq!(entries(message), expected);
        for nothing in [&b"no JSON"[..], b"[]", b"{}", br#"{"logs": 1}"#] {
            assert_eq!(entries(nothing), []);
        }
        let long = format!(r#"{{"logs": [{{"message": ["{}"]}}]}}"#, "x".repeat(20_000));
        assert_eq!(entries(long.as_bytes())[0].text.len(), LONGEST);
    }
}
