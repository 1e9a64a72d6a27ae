//! A stream of OpenAI's chunks as Workers AI's: `data: {"response":"…"}`, at last `data: [DONE]`.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};

use bowline_binding::{Body, BoxError};
use bowline_upstream::{Events, event};
use bytes::Bytes;
use http_body::Frame;
use serde_json::{Value, json};

use super::text::tool_call;

/// Tools called in one answer, and the text of their arguments.
const MOST_CALLS: usize = 128;
const LONGEST_ARGUMENTS: usize = 1 << 20;

/// Translates as it passes. It ends well only if the server's stream does: with `[DONE]`, or with the reason why it
/// finished. Dropping it closes the connection to the server.
pub(super) struct Translated {
    body: Body,
    parser: Events,
    ready: VecDeque<Bytes>,
    calls: BTreeMap<u64, (String, String)>,
    usage: Option<Value>,
    finished: bool,
    done: bool,
    failed: Option<BoxError>,
}

impl Translated {
    pub(super) fn new(body: Body) -> Self {
        Self {
            body,
            parser: Events::default(),
            ready: VecDeque::new(),
            calls: BTreeMap::new(),
            usage: None,
            finished: false,
            done: false,
            failed: None,
        }
    }

    fn take(&mut self, data: &[u8]) -> Result<(), BoxError> {
        if self.done {
            return Ok(());
        }
        if data == b"[DONE]" {
            self.end();
            return Ok(());
        }
        let chunk: Value =
            serde_json::from_slice(data).map_err(|_| "the backend's stream has an event that is not JSON")?;
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            let told = error
                .get("message")
                .and_then(Value::as_str)
                .unwrap_or("no reason given");
            return Err(format!(
                "the backend gave up: {}",
                told.chars().take(200).collect::<String>()
            )
            .into());
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            self.usage = Some(usage.clone());
        }
        let Some(choice) = chunk.pointer("/choices/0") else {
            return Ok(());
        };
        let delta = choice.get("delta").unwrap_or(&Value::Null);
        let text = delta
            .get("content")
            .or_else(|| choice.get("text"))
            .and_then(Value::as_str);
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.ready
                .push_back(event(&json!({"response": text}).to_string()));
        }
        for call in delta
            .get("tool_calls")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            self.take_call(call)?;
        }
        if choice
            .get("finish_reason")
            .is_some_and(|reason| !reason.is_null())
        {
            self.finished = true;
        }
        Ok(())
    }

    /// A piece of a tool's call: the name comes once, the arguments in parts.
    fn take_call(&mut self, call: &Value) -> Result<(), BoxError> {
        let index = call.get("index").and_then(Value::as_u64).unwrap_or(0);
        let part = |name: &str| {
            call.pointer(&format!("/function/{name}"))
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (name, arguments) = self.calls.entry(index).or_default();
        name.push_str(part("name"));
        arguments.push_str(part("arguments"));
        if name.len() + arguments.len() > LONGEST_ARGUMENTS || self.calls.len() > MOST_CALLS {
            return Err("the backend's stream calls more tools than can be kept".into());
        }
        Ok(())
    }

    fn end(&mut self) {
        let calls: Vec<Value> = std::mem::take(&mut self.calls)
            .into_values()
            .filter_map(|(name, arguments)| {
                tool_call(&json!({"function": {"name": name, "arguments": arguments}}))
            })
            .collect();
        if !calls.is_empty() {
            self.ready
                .push_back(event(&json!({"response": "", "tool_calls": calls}).to_string()));
        }
        if let Some(usage) = self.usage.take() {
            self.ready
                .push_back(event(&json!({"response": "", "usage": usage}).to_string()));
        }
        self.ready.push_back(event("[DONE]"));
        self.done = true;
    }
}

impl http_body::Body for Translated {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            // What was made before the break still counts.
            if let Some(error) = this.failed.take() {
                this.done = true;
                return Poll::Ready(Some(Err(error)));
            }
            if this.done {
                return Poll::Ready(None);
            }
            let failed = match std::task::ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Some(data) = frame.data_ref() else { continue };
                    let events = this.parser.push(data).map_err(BoxError::from);
                    events.and_then(|events| events.iter().try_for_each(|event| this.take(event)))
                }
                Some(Err(error)) => Err(error),
                // Some servers close after the last chunk and leave the mark out.
                None if this.finished => {
                    this.end();
                    Ok(())
                }
                None => Err("the backend's stream ended in the middle".into()),
            };
            if let Err(error) = failed {
                tracing::info!(%error, "a generation broke off");
                // The connection to the server ends here, whoever may hold on to this body.
                this.body = bowline_binding::empty();
                this.failed = Some(error);
            }
        }
    }
}
