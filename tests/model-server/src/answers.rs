//! What is said to which request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::{Seen, State, stream};

pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A PNG of one pixel.
const PIXEL: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\nIDATx\x9cc\0\x01\0\0\x05\0\x01\r\n-\xb4\0\0\0\0IEND\xaeB`\x82";

pub(crate) fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(
        Full::new(body.into())
            .map_err(|never| match never {})
            .boxed_unsync(),
    );
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(crate) fn json(status: StatusCode, body: &Value) -> Response<ResponseBody> {
    text(status, "application/json", body.to_string())
}

pub(crate) async fn answer(state: &State, seen: &Seen) -> Response<ResponseBody> {
    let path = seen.target.split('?').next().unwrap_or_default();
    if let Some((_, model)) = path.split_once("/ai/run/") {
        return cloudflare(seen, model).await;
    }
    let body = seen.json();
    let model = body
        .get("model")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if let Some(response) = misbehave(state, seen, &model).await {
        return response;
    }
    let asked = |pointer: &str| {
        body.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let streamed = body["stream"] == true;
    match path {
        "/v1/chat/completions" | "/v1/completions" if streamed => stream::chunks(state, &model, &said(&body)),
        "/v1/chat/completions" if model == "tools" => {
            let call = json!({"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}});
            completion(&json!({"role": "assistant", "content": null, "tool_calls": [call]}))
        }
        "/v1/chat/completions" if asked("/response_format/type") == "json_object" => {
            completion(&json!({"role": "assistant", "content": json!({"said": last(&body)}).to_string()}))
        }
        "/v1/chat/completions" => completion(&json!({"role": "assistant", "content": said(&body)})),
        "/v1/completions" => json(
            StatusCode::OK,
            &json!({"choices": [{"index": 0, "text": said(&body), "finish_reason": "stop"}], "usage": usage()}),
        ),
        "/v1/embeddings" => {
            let texts = body["input"].as_array().cloned().unwrap_or_default();
            // From last to first, each saying which it is: the order is nobody's promise.
            let data: Vec<Value> = texts
                .iter()
                .enumerate()
                .rev()
                .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": embedding(text)}))
                .collect();
            json(
                StatusCode::OK,
                &json!({"object": "list", "data": data, "usage": usage()}),
            )
        }
        "/v1/images/generations" => json(
            StatusCode::OK,
            &json!({"created": 1, "data": [{"b64_json": STANDARD.encode(PIXEL)}]}),
        ),
        "/v1/audio/transcriptions" => {
            let form = String::from_utf8_lossy(&seen.body);
            let field = |name: &str| {
                form.split(&format!("name=\"{name}\"\r\n\r\n"))
                    .nth(1)
                    .and_then(|rest| rest.split("\r\n").next())
                    .unwrap_or("none")
                    .to_owned()
            };
            let file = form.split("filename=\"").nth(1).unwrap_or_default();
            let (name, rest) = file.split_once('"').unwrap_or_default();
            let audio = rest
                .split("\r\n\r\n")
                .nth(1)
                .and_then(|rest| rest.split("\r\n--").next())
                .unwrap_or_default();
            let heard = format!(
                "{audio} from {name} in {} by {}",
                field("language"),
                field("model")
            );
            json(StatusCode::OK, &json!({"text": heard}))
        }
        _ => json(
            StatusCode::NOT_FOUND,
            &json!({"error": {"message": format!("no route {path}")}}),
        ),
    }
}

/// What every endpoint does for the models that misbehave.
async fn misbehave(state: &State, seen: &Seen, model: &str) -> Option<Response<ResponseBody>> {
    let sent = seen
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("nothing");
    let refuse = |status: StatusCode| {
        json(
            status,
            &json!({"error": {"message": format!("model {model} refuses; you sent {sent}")}}),
        )
    };
    if let Some(status) = model.strip_prefix("refuse-") {
        return Some(refuse(status.parse().unwrap_or(StatusCode::IM_A_TEAPOT)));
    }
    if let Some(most) = model.strip_prefix("flaky-") {
        let mut failed = state.failed.lock().ok()?;
        let count = failed.entry(model.to_owned()).or_default();
        if *count < most.parse().unwrap_or(0) {
            *count += 1;
            return Some(refuse(StatusCode::INTERNAL_SERVER_ERROR));
        }
    }
    match model {
        "silent" => std::future::pending().await,
        "redirect" => {
            let mut response = text(StatusCode::TEMPORARY_REDIRECT, "text/plain", "elsewhere");
            response
                .headers_mut()
                .insert(LOCATION, HeaderValue::from_static("http://127.0.0.1:9/"));
            Some(response)
        }
        "garbage" if seen.json()["stream"] != true => {
            Some(text(StatusCode::OK, "application/json", "<html>"))
        }
        "odd" => Some(json(
            StatusCode::OK,
            &json!({"data": [{"embedding": ["x"]}], "choices": []}),
        )),
        _ => None,
    }
}

fn completion(message: &Value) -> Response<ResponseBody> {
    json(
        StatusCode::OK,
        &json!({"id": "1", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage()}),
    )
}

pub(crate) fn usage() -> Value {
    json!({"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8})
}

fn last(body: &Value) -> String {
    let messages = body["messages"].as_array().and_then(|messages| messages.last());
    messages
        .map_or(&body["prompt"], |message| &message["content"])
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn said(body: &Value) -> String {
    format!("you said: {}", last(body))
}

/// Four numbers that depend on the text.
fn embedding(text: &Value) -> [f64; 4] {
    let bytes = text.as_str().unwrap_or_default().as_bytes();
    let sum = |of: &dyn Fn(usize) -> bool| {
        bytes
            .iter()
            .enumerate()
            .filter(|(at, _)| of(*at))
            .map(|(_, byte)| f64::from(*byte))
            .sum::<f64>()
            / 256.0
    };
    [
        bytes.len() as f64,
        sum(&|_| true),
        sum(&|at| at % 2 == 0),
        sum(&|at| at % 3 == 0),
    ]
}

/// The part of Cloudflare's API that runs models: results in its envelope, streams as they are.
async fn cloudflare(seen: &Seen, model: &str) -> Response<ResponseBody> {
    if seen
        .headers
        .get(AUTHORIZATION)
        .is_none_or(|value| value != "Bearer cf-t0ken")
    {
        return json(
            StatusCode::UNAUTHORIZED,
            &json!({"success": false, "result": null, "errors": [{"code": 10000, "message": "Authentication error"}], "messages": []}),
        );
    }
    let inputs = seen.json();
    match model {
        "@cf/none" => json(
            StatusCode::BAD_REQUEST,
            &json!({"success": false, "errors": [{"code": 5007, "message": "No such model @cf/none or task"}]}),
        ),
        "@cf/image" => text(StatusCode::OK, "image/png", PIXEL),
        _ if inputs["stream"] == true => text(
            StatusCode::OK,
            "text/event-stream",
            format!(
                "data: {}\n\ndata: [DONE]\n\n",
                json!({"response": inputs["prompt"]})
            ),
        ),
        _ => {
            let kind = seen.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let result = json!({"response": inputs["prompt"], "bytes": seen.body.len(), "type": kind, "target": seen.target});
            json(
                StatusCode::OK,
                &json!({"success": true, "result": result, "errors": [], "messages": []}),
            )
        }
    }
}

/// Sends back every message, after one with the target and the credential it came with.
pub(crate) fn websocket(seen: &Seen, upgrade: hyper::upgrade::OnUpgrade) -> Response<ResponseBody> {
    let key = seen
        .headers
        .get(SEC_WEBSOCKET_KEY)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key)) else {
        return text(StatusCode::BAD_REQUEST, "text/plain", "bad key");
    };
    let authorized = seen
        .headers
        .get(AUTHORIZATION)
        .is_some_and(|value| value == "Bearer cf-t0ken");
    let hello = format!("{} authorized={authorized}", seen.target);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        if socket.send(hello.into()).await.is_err() {
            return;
        }
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                break;
            }
        }
    });
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "text/plain", "");
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}
