//! Text generation: Workers AI's inputs into a chat or completion, and the answer back.

use serde_json::{Map, Value, json};

use super::garbage;
use crate::backend::{Ask, Shape};
use crate::error::AiError;

/// Inputs that mean the same at both ends.
const SAME: [&str; 13] = [
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "response_format",
    "tool_choice",
    "parallel_tool_calls",
];

/// The endpoint and its body.
pub(super) fn request(ask: Ask<'_>) -> Result<(&'static str, Map<String, Value>), AiError> {
    let inputs = ask.inputs;
    if ask.media.is_some() {
        return Err(AiError::Input("a text model takes no stream".into()));
    }
    if inputs.get("lora").is_some_and(|lora| !lora.is_null()) {
        return Err(AiError::Input("lora is not offered by this backend".into()));
    }
    let mut body = Map::new();
    body.insert("model".into(), ask.model.into());
    let raw = inputs.get("raw") == Some(&Value::Bool(true));
    let path = match (inputs.get("prompt"), inputs.get("messages")) {
        (Some(Value::String(prompt)), None | Some(Value::Null)) if raw => {
            body.insert("prompt".into(), prompt.as_str().into());
            "completions"
        }
        (Some(Value::String(prompt)), None | Some(Value::Null)) => {
            body.insert("messages".into(), json!([{"role": "user", "content": prompt}]));
            "chat/completions"
        }
        (None | Some(Value::Null), Some(Value::Array(messages))) if messages.iter().all(Value::is_object) => {
            body.insert("messages".into(), messages.clone().into());
            "chat/completions"
        }
        _ => {
            return Err(AiError::Input(
                "either prompt (a text) or messages (a list of objects) is required".into(),
            ));
        }
    };
    for name in SAME {
        if let Some(value) = inputs.get(name).filter(|value| !value.is_null()) {
            body.insert(name.into(), value.clone());
        }
    }
    if let Some(tools) = inputs.get("tools").filter(|tools| !tools.is_null()) {
        body.insert("tools".into(), self::tools(tools)?);
    }
    if ask.stream {
        body.insert("stream".into(), true.into());
        let wanted = inputs.get("stream_options").cloned();
        let usage = json!({"include_usage": true});
        let options = match ask.shape {
            Shape::OpenAi => wanted,
            Shape::WorkersAi => Some(usage),
        };
        body.extend(options.map(|options| ("stream_options".to_owned(), options)));
    }
    Ok((path, body))
}

/// Tools in either spelling: `{name, description, parameters}` or OpenAI's `{type, function}`.
fn tools(tools: &Value) -> Result<Value, AiError> {
    let shape = || AiError::Input("tools must be a list of objects with a name".into());
    let tools = tools.as_array().ok_or_else(shape)?;
    let tool = |tool: &Value| match (tool.get("function"), tool.get("name")) {
        (Some(_), _) => Ok(tool.clone()),
        (None, Some(Value::String(_))) => Ok(json!({"type": "function", "function": tool})),
        _ => Err(shape()),
    };
    tools.iter().map(tool).collect()
}

/// An answer in Workers AI's shape.
pub(super) fn answer(answer: &Value, inputs: &Map<String, Value>) -> Result<Value, AiError> {
    let choice = answer
        .pointer("/choices/0")
        .ok_or_else(|| garbage("a completion"))?;
    let message = choice.get("message");
    let text = match message.map_or_else(|| choice.get("text"), |message| message.get("content")) {
        Some(Value::String(text)) => text.as_str(),
        // A call of tools has no text.
        Some(Value::Null) | None if message.is_some() => "",
        _ => return Err(garbage("a completion")),
    };
    let mut result = Map::new();
    // JSON mode gives the document itself.
    let parsed = inputs
        .get("response_format")
        .filter(|format| format.get("type").is_some_and(|kind| kind != "text"))
        .and_then(|_| serde_json::from_str(text).ok());
    result.insert("response".into(), parsed.unwrap_or_else(|| text.into()));
    if let Some(Value::Array(calls)) = message.and_then(|message| message.get("tool_calls")) {
        let calls: Vec<Value> = calls.iter().filter_map(tool_call).collect();
        result.insert("tool_calls".into(), calls.into());
    }
    if let Some(usage) = answer.get("usage").filter(|usage| usage.is_object()) {
        result.insert("usage".into(), usage.clone());
    }
    Ok(result.into())
}

/// `{name, arguments}`, the arguments as an object where they are one.
pub(super) fn tool_call(call: &Value) -> Option<Value> {
    let function = call.get("function")?;
    let arguments = function.get("arguments").cloned().unwrap_or(Value::Null);
    let arguments = arguments
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or(arguments);
    Some(json!({"name": function.get("name")?, "arguments": arguments}))
}
