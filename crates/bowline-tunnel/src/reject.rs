//! An rpc session whose every call fails with the same text.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::relay::{PARTING, part};

/// How long a peer that calls nothing keeps such a session. Some clients open one per request and never use it.
const IDLE: Duration = Duration::from_secs(60);

/// Rejects every call of an rpc session with `text`, until the peer closes it or says nothing for a minute; then it is
/// closed with 3000 and `reason`.
///
/// Calls are rejected one by one because nothing else carries a text to every client: npm capnweb 0.5.0 turns an `abort`
/// message into a rejection with no error in it, and a close reason holds 123 bytes.
///
/// Not a Cap'n Web session: it only counts what allots ids and answers what waits (protocol page, "push", "pull",
/// "stream", "pipe").
pub async fn reject_rpc<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
    text: &str,
    reason: &str,
) {
    let mut allotted = 0u64;
    loop {
        let message = match tokio::time::timeout(IDLE, socket.next()).await {
            Ok(Some(Ok(Message::Text(message)))) => message,
            Ok(Some(Ok(Message::Close(_)))) => {
                // tungstenite has queued the answering close frame; flush it.
                let _ = tokio::time::timeout(PARTING, socket.flush()).await;
                return;
            }
            Ok(Some(Ok(_))) => continue,
            Ok(Some(Err(_)) | None) => return,
            Err(_) => break,
        };
        let Some((tag, number)) = read(&message) else {
            continue;
        };
        let waiting = match tag.as_str() {
            "push" | "pipe" => {
                allotted = allotted.saturating_add(1);
                None
            }
            "stream" => {
                allotted = allotted.saturating_add(1);
                Some(allotted)
            }
            "pull" => number,
            _ => None,
        };
        if let Some(id) = waiting {
            let answer = serde_json::json!(["reject", id, ["error", "Error", text]]).to_string();
            let sent = tokio::time::timeout(PARTING, socket.send(Message::text(answer))).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    }
    part(&mut socket, CloseCode::Library(3000), reason).await;
}

/// A message's tag and, where its second element is one, a number. The rest is skipped, however deep it is.
fn read(message: &str) -> Option<(String, Option<u64>)> {
    let parts: Vec<&RawValue> = serde_json::from_str(message).ok()?;
    let tag = serde_json::from_str(parts.first()?.get()).ok()?;
    Some((
        tag,
        parts
            .get(1)
            .and_then(|part| serde_json::from_str(part.get()).ok()),
    ))
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;
    use crate::server_socket;

    #[tokio::test(start_paused = true)]
    async fn every_waiting_call_gets_the_text_and_an_idle_session_is_closed() {
        let (near, far) = duplex(64 * 1024);
        let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let text = "refused: \"DB\"\nline two \u{1}é";
        let server = server_socket(far).await;
        tokio::spawn(async move { reject_rpc(server, text, "refused").await });
        let deep = format!("[\"push\",{}{}]", "[".repeat(5000), "]".repeat(5000));
        for message in [
            &deep,
            "{",
            "[7]",
            "[]",
            "[\"pipe\"]",
            "[\"stream\",1]",
            "[\"pull\",1]",
            "[\"pull\",-1]",
        ] {
            client.send(Message::text(message)).await.unwrap();
        }
        for id in [3, 1] {
            let Message::Text(got) = client.next().await.unwrap().unwrap() else {
                panic!("expected a rejection")
            };
            let got: serde_json::Value = serde_json::from_str(&got).unwrap();
            assert_eq!(got, serde_json::json!(["reject", id, ["error", "Error", text]]));
        }
        // The paused clock runs to the end of the idle time.
        let Message::Close(Some(frame)) = client.next().await.unwrap().unwrap() else {
            panic!("expected a close")
        };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "refused"));
    }
}
