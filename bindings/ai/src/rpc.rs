//! Methods of the binding that travel by Cap'n Web: `gateway(id)` with `{beta: true}` or the experimental flag.

use std::sync::Arc;

use bowline_ai_gateway::{Gateway, GatewayError, Gateways, Options, Patch};
use bowline_binding::{Body, BoxError};
use capnweb::{Answer, BytesKind, Call, Error, ReadableStream, Response, Stub, Target, Value};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use serde_json::Value as Json;

use crate::gateway;

/// The main object of a session.
pub(crate) struct Main(pub(crate) Arc<Gateways>);

impl Target for Main {
    fn call(&self, mut call: Call) -> Answer {
        match call.method.as_str() {
            "gateway" => match call.take(0) {
                Value::String(id) => match self.0.gateway(&id) {
                    Ok(gateway) => Answer::from(Value::from(Stub::new(GatewayTarget(gateway)))),
                    Err(error) => Answer::error(internal(&error)),
                },
                _ => Answer::error(Error::new("TypeError", "gateway() takes the gateway's id")),
            },
            "aiSearch" | "autorag" | "websearch" => {
                let text = format!(
                    "{}() is not offered by this binding: it has no index to search",
                    call.method
                );
                Answer::error(Error::new("Error", text))
            }
            _ => Answer::error(call.not_a_function()),
        }
    }

    fn methods(&self) -> &[&str] {
        &["gateway", "aiSearch", "autorag", "websearch"]
    }
}

/// One gateway.
struct GatewayTarget(Gateway);

impl Target for GatewayTarget {
    fn call(&self, mut call: Call) -> Answer {
        let gateway = self.0.clone();
        let (first, second) = (call.take(0), call.take(1));
        match call.method.as_str() {
            "getUrl" => Answer::from(
                gateway
                    .url(first.as_str().unwrap_or_default())
                    .map(Value::from)
                    .map_err(|error| internal(&error)),
            ),
            "getLog" => Answer::later(async move {
                let log = gateway.log(text(&first)?).await.map_err(|error| thrown(&error))?;
                Ok(with_date(value(log)))
            }),
            "patchLog" => Answer::later(async move {
                let patch = json(&second).ok_or_else(|| not_plain("the change"))?;
                let patch = Patch::read(&patch).map_err(|error| internal(&error))?;
                gateway
                    .patch_log(text(&first)?, patch)
                    .await
                    .map_err(|error| thrown(&error))?;
                Ok(Value::Undefined)
            }),
            "run" => Answer::later(async move {
                let steps = json(&first).ok_or_else(|| not_plain("the request"))?;
                let options = match second.member("gateway").map(json) {
                    None | Some(Some(Json::Null)) => Options::default(),
                    Some(Some(Json::Object(options))) => {
                        Options::from_json(&options).map_err(|error| internal(&error))?
                    }
                    Some(_) => return Err(not_plain("options.gateway")),
                };
                Ok(match gateway::universal(&gateway, &steps, &options).await {
                    Ok(answer) => response(answer),
                    Err(error) => response(gateway::refused(&error)),
                })
            }),
            _ => Answer::error(call.not_a_function()),
        }
    }

    fn methods(&self) -> &[&str] {
        &["getUrl", "getLog", "patchLog", "run"]
    }
}

fn internal(error: &GatewayError) -> Error {
    Error::new("AiGatewayInternalError", error.to_string())
}

fn thrown(error: &GatewayError) -> Error {
    match error {
        GatewayError::NoLog => Error::new("AiGatewayLogNotFound", error.to_string()),
        other => internal(other),
    }
}

fn not_plain(what: &str) -> Error {
    Error::new("TypeError", format!("{what} must be plain data"))
}

fn text(value: &Value) -> Result<&str, Error> {
    value
        .as_str()
        .ok_or_else(|| Error::new("TypeError", "the log's id must be a text"))
}

/// An answer of a provider as a response of the fetch standard, its body a stream.
fn response(answer: http::Response<Body>) -> Value {
    let (parts, body) = answer.into_parts();
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    let chunks = body
        .into_data_stream()
        .map(|chunk: Result<bytes::Bytes, BoxError>| match chunk {
            Ok(chunk) => Ok(Value::Bytes(chunk.to_vec(), BytesKind::default())),
            Err(error) => Err(Error::new("Error", error.to_string())),
        });
    Value::Response(Box::new(Response {
        status: parts.status.as_u16(),
        status_text: parts.status.canonical_reason().unwrap_or_default().to_owned(),
        headers,
        body: ReadableStream::new(chunks).into(),
        init: Vec::new(),
    }))
}

/// The log's time as a date, as the client in workerd makes it of the text.
fn with_date(log: Value) -> Value {
    let Value::Object(mut members) = log else {
        return log;
    };
    for (name, value) in &mut members {
        if name == "created_at"
            && let Value::String(text) = value
        {
            let at = text.parse::<jiff::Timestamp>().ok();
            *value = Value::Date(at.map(|at| at.as_millisecond() as f64));
        }
    }
    Value::Object(members)
}

/// JSON as a value.
fn value(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Value::from(text),
        Json::Array(items) => Value::Array(items.into_iter().map(value).collect()),
        Json::Object(members) => Value::object(members.into_iter().map(|(name, json)| (name, value(json)))),
    }
}

/// A value as JSON: what `JSON.stringify` would make of it. `None` for what is not plain data.
fn json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Undefined | Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => Json::from(*number as i64),
        Value::Number(number) => serde_json::Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::String(text) => Json::String(text.to_string()),
        Value::Array(items) => items.iter().map(json).collect::<Option<_>>()?,
        Value::Object(members) => members
            .iter()
            .filter(|(_, value)| !matches!(value, Value::Undefined))
            .map(|(name, value)| Some((name.to_string(), json(value)?)))
            .collect::<Option<_>>()?,
        _ => return None,
    })
}
