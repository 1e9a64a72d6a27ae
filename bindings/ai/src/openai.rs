//! Any server that speaks OpenAI's API: chat, completions, embeddings, images, transcriptions.
//!
//! Source: OpenAI's API reference, and what Ollama, vLLM and llama.cpp document as compatible with it.

mod media;
mod stream;
mod text;

use std::sync::Arc;

use bowline_binding::{Body, BodyError, Credential, collect_boxed, full};
use bowline_upstream::{Http, HttpError};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};

use crate::backend::{Ask, Backend, Output, Shape, Task};
use crate::error::AiError;

/// The largest answer that is not a stream, in bytes: an image in base64 fits.
const LARGEST: usize = 32 << 20;
/// Texts of a call to embed. Cloudflare's models take 100.
const MOST_TEXTS: usize = 100;
/// How much of a server's refusal is passed on.
const REFUSAL: usize = 400;

/// A server.
pub(crate) struct OpenAi {
    http: Arc<Http>,
    /// Ends without a slash.
    url: String,
    credential: Option<Credential>,
}

impl OpenAi {
    pub(crate) fn new(http: Arc<Http>, url: String, credential: Option<Credential>) -> Self {
        Self {
            http,
            url,
            credential,
        }
    }

    /// Posts and gives the answer, if it is a success.
    async fn post(
        &self,
        path: &str,
        content_type: HeaderValue,
        body: Bytes,
    ) -> Result<Response<Body>, AiError> {
        let mut request = Request::new(full(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("{}/{path}", self.url)
            .parse()
            .map_err(|_| AiError::Upstream("the backend's URL cannot be used".into()))?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        if let Some(credential) = &self.credential {
            credential.write(headers);
        }
        let response = self
            .http
            .send(request, None)
            .await
            .map_err(|error| unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = read(response, 64 << 10).await.unwrap_or_default();
        let told = refusal(&body);
        let told = self
            .credential
            .as_ref()
            .map_or(told.clone(), |credential| credential.scrub(&told));
        Err(refused(status, &told))
    }

    async fn post_json(&self, path: &str, body: &Map<String, Value>) -> Result<Response<Body>, AiError> {
        let bytes = serde_json::to_vec(body).map_err(|error| AiError::Input(error.to_string()))?;
        let json = HeaderValue::from_static("application/json");
        self.post(path, json, bytes.into()).await
    }

    async fn text(&self, ask: Ask<'_>) -> Result<Output, AiError> {
        let (path, body) = text::request(ask)?;
        let response = self.post_json(path, &body).await?;
        if !ask.stream {
            let answer = document(response).await?;
            return match ask.shape {
                Shape::OpenAi => Ok(Output::Json(answer)),
                Shape::WorkersAi => text::answer(&answer, ask.inputs).map(Output::Json),
            };
        }
        let kind = response
            .headers()
            .get(CONTENT_TYPE)
            .map_or(&b""[..], HeaderValue::as_bytes);
        if !kind.starts_with(b"text/event-stream") {
            return Err(garbage("a stream of events"));
        }
        let body = match ask.shape {
            Shape::OpenAi => response.into_body(),
            Shape::WorkersAi => stream::Translated::new(response.into_body()).boxed_unsync(),
        };
        Ok(Output::Bytes {
            content_type: HeaderValue::from_static("text/event-stream"),
            body,
        })
    }

    async fn embeddings(&self, ask: Ask<'_>) -> Result<Output, AiError> {
        let input = embeddings_input(ask.inputs)?;
        let count = input.len();
        let mut body = Map::new();
        body.insert("model".into(), ask.model.into());
        body.insert("input".into(), input.into());
        let mut answer = document(self.post_json("embeddings", &body).await?).await?;
        let rows = match answer.get_mut("data").map(Value::take) {
            Some(Value::Array(rows)) if rows.len() == count => rows,
            _ => return Err(garbage("one embedding for each text")),
        };
        let mut data = vec![Value::Null; count];
        for (position, mut row) in rows.into_iter().enumerate() {
            // Servers may answer in any order and say which is which.
            let index = row
                .get("index")
                .and_then(Value::as_u64)
                .and_then(|index| usize::try_from(index).ok())
                .unwrap_or(position);
            match (data.get_mut(index), row.get_mut("embedding").map(Value::take)) {
                (Some(place), Some(Value::Array(values))) if values.iter().all(Value::is_number) => {
                    *place = values.into();
                }
                _ => return Err(garbage("embeddings of numbers")),
            }
        }
        let dimensions = data.first().and_then(Value::as_array).map_or(0, Vec::len);
        if data
            .iter()
            .any(|row| row.as_array().map(Vec::len) != Some(dimensions))
        {
            return Err(garbage("embeddings of one length"));
        }
        Ok(Output::Json(json!({"shape": [count, dimensions], "data": data})))
    }

    async fn image(&self, ask: Ask<'_>) -> Result<Output, AiError> {
        let body = media::image_request(ask)?;
        let answer = document(self.post_json("images/generations", &body).await?).await?;
        media::image(&answer)
    }

    async fn transcription(&self, ask: Ask<'_>) -> Result<Output, AiError> {
        let (content_type, body) = media::transcription_request(ask)?;
        let answer = document(self.post("audio/transcriptions", content_type, body).await?).await?;
        let text = answer.get("text").and_then(Value::as_str);
        let text = text.ok_or_else(|| garbage("a transcription"))?;
        Ok(Output::Json(json!({"text": text})))
    }
}

#[async_trait::async_trait]
impl Backend for OpenAi {
    fn describe(&self) -> String {
        format!("OpenAI-compatible, {}", self.url)
    }

    async fn run(&self, ask: Ask<'_>) -> Result<Output, AiError> {
        match ask.task {
            Task::TextGeneration => self.text(ask).await,
            Task::TextEmbeddings => self.embeddings(ask).await,
            Task::TextToImage => self.image(ask).await,
            Task::SpeechRecognition => self.transcription(ask).await,
            Task::Any => Err(AiError::Input(format!(
                "model {} has no task in bowline.jsonc",
                ask.model
            ))),
        }
    }
}

/// The texts to embed.
pub(crate) fn embeddings_input(inputs: &Map<String, Value>) -> Result<Vec<Value>, AiError> {
    let shape = || {
        AiError::Input(format!(
            "text must be a text or a list of 1 to {MOST_TEXTS} texts"
        ))
    };
    match inputs.get("text") {
        Some(Value::String(text)) => Ok(vec![text.as_str().into()]),
        Some(Value::Array(texts))
            if (1..=MOST_TEXTS).contains(&texts.len()) && texts.iter().all(Value::is_string) =>
        {
            Ok(texts.clone())
        }
        _ => Err(shape()),
    }
}

/// The server answered something else than its API promises.
fn garbage(wanted: &str) -> AiError {
    AiError::Upstream(format!("the backend answered something that is not {wanted}"))
}

/// A body that is one JSON document.
async fn document(response: Response<Body>) -> Result<Value, AiError> {
    let body = read(response, LARGEST).await?;
    serde_json::from_slice(&body).map_err(|_| garbage("JSON"))
}

/// A body of at most `limit` bytes.
pub(crate) async fn read(response: Response<Body>, limit: usize) -> Result<Bytes, AiError> {
    collect_boxed(response.into_body(), limit)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge { limit } => {
                AiError::Upstream(format!("the backend's answer is larger than {limit} bytes"))
            }
            BodyError::Read(_) => AiError::Upstream("the backend broke its answer off".into()),
        })
}

pub(crate) fn unreachable(error: &HttpError) -> AiError {
    match error {
        HttpError::Timeout { .. } => AiError::Timeout(format!("the backend at {error}")),
        _ => AiError::Upstream(format!("the backend at {}", error.told())),
    }
}

/// The server's own words: OpenAI's `error.message`, or the start of the body.
fn refusal(body: &[u8]) -> String {
    let document: Option<Value> = serde_json::from_slice(body).ok();
    let told = document.as_ref().and_then(|document| {
        let error = document.get("error")?;
        error.get("message").and_then(Value::as_str).or(error.as_str())
    });
    let text = told.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    text.chars().take(REFUSAL).collect()
}

fn refused(status: StatusCode, told: &str) -> AiError {
    let text = format!("the backend answered {}: {told}", status.as_u16());
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => {
            AiError::Input(text)
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => AiError::NotAllowed(text),
        StatusCode::NOT_FOUND => AiError::InvalidModel(text),
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => AiError::Timeout(text),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => AiError::Capacity(text),
        _ => AiError::Upstream(text),
    }
}
