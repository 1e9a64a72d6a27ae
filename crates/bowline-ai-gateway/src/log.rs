//! What is kept of a call.

use http::HeaderValue;
use serde_json::{Map, Value, json};

use crate::GatewayError;

/// How much of a body is kept as text, in bytes.
pub(crate) const HEAD: usize = 4096;

/// One call, once it is over.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) created_ms: i64,
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) path: String,
    pub(crate) duration_ms: u64,
    pub(crate) request_content_type: &'static str,
    pub(crate) status: u16,
    pub(crate) response_content_type: Option<String>,
    pub(crate) success: bool,
    pub(crate) cached: bool,
    pub(crate) tokens_in: Option<u64>,
    pub(crate) tokens_out: Option<u64>,
    pub(crate) metadata: Option<Map<String, Value>>,
    pub(crate) event_id: Option<String>,
    pub(crate) step: usize,
    pub(crate) request_size: usize,
    pub(crate) request_head: String,
    pub(crate) response_size: usize,
    pub(crate) response_head: String,
}

impl Record {
    /// The log object, without what is patched in later.
    pub(crate) fn json(&self) -> Value {
        let at = jiff::Timestamp::from_millisecond(self.created_ms)
            .map(|at| format!("{at:.3}"))
            .unwrap_or_default();
        let mut log = json!({
            "id": self.id, "created_at": at, "provider": self.provider, "model": self.model, "model_type": "",
            "path": self.path, "duration": self.duration_ms, "request_type": "POST",
            "request_content_type": self.request_content_type, "status_code": self.status,
            "response_content_type": self.response_content_type, "success": self.success, "cached": self.cached,
            "tokens_in": self.tokens_in, "tokens_out": self.tokens_out, "metadata": self.metadata, "step": self.step,
            "request_size": self.request_size, "request_head": self.request_head,
            "request_head_complete": self.request_size <= self.request_head.len(),
            "response_size": self.response_size, "response_head": self.response_head,
            "response_head_complete": self.response_size <= self.response_head.len(),
        });
        if let (Some(event), Some(log)) = (&self.event_id, log.as_object_mut()) {
            log.insert("event_id".into(), event.as_str().into());
        }
        log
    }
}

/// The start of a body as text, cut between characters.
pub(crate) fn head(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(HEAD)];
    let mut text = String::from_utf8_lossy(cut).into_owned();
    // A character cut in two became a replacement of three bytes.
    if bytes.len() > HEAD && text.ends_with('\u{fffd}') {
        text.pop();
    }
    text
}

/// Tokens in and out, as the answer itself tells them: OpenAI's and Anthropic's spelling, whole or streamed.
pub(crate) fn usage(content_type: Option<&HeaderValue>, body: &[u8]) -> (Option<u64>, Option<u64>) {
    let read = |value: &Value| {
        let usage = value.get("usage")?;
        let count = |names: [&str; 2]| names.iter().find_map(|name| usage.get(name)?.as_u64());
        let found = (
            count(["prompt_tokens", "input_tokens"]),
            count(["completion_tokens", "output_tokens"]),
        );
        (found != (None, None)).then_some(found)
    };
    let kind = content_type.map_or(&b""[..], HeaderValue::as_bytes);
    if kind.starts_with(b"application/json") {
        return serde_json::from_slice(body)
            .ok()
            .as_ref()
            .and_then(read)
            .unwrap_or_default();
    }
    if kind.starts_with(b"text/event-stream") {
        return body
            .rsplit(|byte| *byte == b'\n')
            .filter_map(|line| line.strip_prefix(b"data:"))
            .filter_map(|data| serde_json::from_slice(data).ok())
            .find_map(|value: Value| read(&value))
            .unwrap_or_default();
    }
    (None, None)
}

/// A change of a log. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patch(Map<String, Value>);

impl Patch {
    /// Reads the body of `patchLog`.
    pub fn read(body: &Value) -> Result<Self, GatewayError> {
        let refuse = |text: &str| GatewayError::Invalid(text.to_owned());
        let members = body
            .as_object()
            .ok_or_else(|| refuse("the body must be an object"))?;
        let mut patch = Map::new();
        for (name, value) in members {
            let fits = match name.as_str() {
                "score" => {
                    value.is_null() || value.as_f64().is_some_and(|score| (0.0..=100.0).contains(&score))
                }
                "feedback" => {
                    value.is_null() || matches!(value.as_f64(), Some(feedback) if feedback.abs() == 1.0)
                }
                "metadata" => value.is_null() || crate::options::metadata(value.clone()).map(|_| true)?,
                _ => continue,
            };
            if !fits {
                return Err(refuse(match name.as_str() {
                    "score" => "score must be a number from 0 to 100, or null",
                    _ => "feedback must be -1, 1 or null",
                }));
            }
            patch.insert(name.clone(), value.clone());
        }
        Ok(Self(patch))
    }

    pub(crate) fn apply(&self, log: &mut Map<String, Value>) {
        for (name, value) in &self.0 {
            log.insert(name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_end_between_characters() {
        let text = "é".repeat(HEAD);
        assert!(head(text.as_bytes()).chars().all(|c| c == 'é'));
        assert_eq!(head(&text.as_bytes()[..HEAD]).len(), HEAD);
        assert_eq!(head(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn usage_is_read_from_whole_and_streamed_answers() {
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        let sse = HeaderValue::from_static("text/event-stream");
        let body = br#"{"usage":{"prompt_tokens":3,"completion_tokens":5}}"#;
        assert_eq!(usage(Some(&json), body), (Some(3), Some(5)));
        let body = b"data: {\"usage\":null}\n\ndata: {\"usage\":{\"input_tokens\":3,\"output_tokens\":5}}\n\ndata: [DONE]\n\n";
        assert_eq!(usage(Some(&sse), body), (Some(3), Some(5)));
        assert_eq!(usage(None, body), (None, None));
    }

    #[test]
    fn patches() {
        for (body, good) in [
            (json!({"feedback": 1, "score": 50, "metadata": {"a": 1}}), true),
            (json!({"feedback": null, "score": null, "other": {}}), true),
            (json!({"feedback": 0}), false),
            (json!({"score": 101}), false),
            (json!({"metadata": []}), false),
            (json!([]), false),
        ] {
            assert_eq!(Patch::read(&body).is_ok(), good, "{body}");
        }
    }
}
