//! Streams of chunks, and the ways they end.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::State;
use crate::answers::{ResponseBody, usage};

type Piece = Result<Frame<Bytes>, Box<dyn std::error::Error + Send + Sync>>;

/// Counts one stream for as long as it is written.
struct Open(watch::Sender<usize>);

impl Open {
    fn new(streams: &watch::Sender<usize>) -> Self {
        streams.send_modify(|open| *open += 1);
        Self(streams.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// A streamed chat, its words those of `said`.
pub(crate) fn chunks(state: &State, model: &str, said: &str) -> Response<ResponseBody> {
    let (to, from) = mpsc::channel::<Piece>(4);
    let open = Open::new(&state.streams);
    let (model, said) = (model.to_owned(), said.to_owned());
    tokio::spawn(async move {
        let _open = open;
        // The receiver goes with the connection.
        tokio::select! {
            () = to.closed() => {}
            _ = write(&to, &model, &said) => {}
        }
    });
    let pieces = futures_util::stream::unfold(from, async |mut from| Some((from.recv().await?, from)));
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

async fn write(to: &mpsc::Sender<Piece>, model: &str, said: &str) -> Option<()> {
    let words: Vec<&str> = said.split_inclusive(' ').collect();
    let raw = async |text: String| to.send(Ok(Frame::data(text.into()))).await.ok();
    let event = async |value: Value| raw(format!("data: {value}\n\n")).await;
    let delta = |delta: Value, finish: Option<&str>| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    let word = |word: &str| delta(json!({"content": word}), None);
    event(delta(json!({"role": "assistant", "content": ""}), None)).await?;
    match model {
        "drip" => loop {
            event(word("drop ")).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        },
        "stall" => {
            event(word(words[0])).await?;
            std::future::pending::<()>().await;
        }
        "garbage" => raw("data: <html>\n\n".into()).await?,
        "tools" => {
            let part = |call: Value| delta(json!({"tool_calls": [call]}), None);
            event(part(
                json!({"index": 0, "function": {"name": "weather", "arguments": ""}}),
            ))
            .await?;
            event(part(json!({"index": 0, "function": {"arguments": "{\"city\":"}}))).await?;
            event(part(json!({"index": 0, "function": {"arguments": "\"Oslo\"}"}}))).await?;
            event(delta(json!({}), Some("tool_calls"))).await?;
            raw("data: [DONE]\n\n".into()).await?;
        }
        "cut" | "early" | "sulk" => {
            for piece in words.iter().take(2) {
                event(word(piece)).await?;
            }
            match model {
                "cut" => {
                    // What was written before goes out first, most likely.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    to.send(Err("cut".into())).await.ok()?;
                }
                "sulk" => event(json!({"error": {"message": "out of memory"}})).await?,
                _ => {}
            }
        }
        _ => {
            for piece in words {
                event(word(piece)).await?;
            }
            event(delta(json!({}), Some("stop"))).await?;
            event(json!({"choices": [], "usage": usage()})).await?;
            raw("data: [DONE]\n\n".into()).await?;
        }
    }
    Some(())
}
