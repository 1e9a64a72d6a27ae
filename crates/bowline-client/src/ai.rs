//! Workers AI, as `env.AI` is in a Worker.
//!
//! Source of the wire: the AI client inside workerd (`cf-consn-sdk-version` 2.0.0), and Cloudflare's Workers AI
//! documentation for what inputs and results mean.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bowline_binding::BodyError;
use bowline_upstream::Events;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::ai_gateway::AiGateway;
use crate::{Binding, Body, BoxError, Error, ErrorKind, full};

pub(crate) const HOST: &str = "https://workers-binding.ai";

/// Workers AI behind one binding. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ai {
    binding: Binding,
}

/// What a model answered, when it may be of any kind.
pub struct Answer {
    /// The answer as it came, a success.
    pub response: Response<Body>,
}

impl Answer {
    /// Tells this call from others, in the remote's log.
    pub fn request_id(&self) -> Option<&str> {
        text(self.response.headers(), "cf-ai-req-id")
    }

    /// The log of a call that went through a gateway.
    pub fn log_id(&self) -> Option<&str> {
        text(self.response.headers(), "cf-aig-log-id")
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("request_id", &self.request_id())
            .finish_non_exhaustive()
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// What a user says.
    pub fn user(content: impl Into<String>) -> Self {
        Self {
            role: "user".to_owned(),
            content: content.into(),
        }
    }

    /// How the model shall behave.
    pub fn system(content: impl Into<String>) -> Self {
        Self {
            role: "system".to_owned(),
            content: content.into(),
        }
    }
}

/// A model in the list.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Model {
    /// The name to [run](Ai::run) it by.
    pub name: String,
    /// What it is, in words.
    #[serde(default)]
    pub description: String,
    /// What it is for.
    #[serde(default)]
    pub task: Task,
}

/// What a model is for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Task {
    /// `Text Generation`, `Text Embeddings`, …
    pub name: String,
}

/// A document to [convert](Ai::to_markdown).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its file name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its content.
    pub content: Bytes,
}

/// A document that was converted, or was not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Converted {
    /// Its file name.
    pub name: String,
    /// `markdown`, `text`, or `error`.
    pub format: String,
    /// The text, unless it is an error.
    #[serde(default)]
    pub data: Option<String>,
    /// Why it was not converted.
    #[serde(default)]
    pub error: Option<String>,
    /// About how many tokens the text has.
    #[serde(default)]
    pub tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default, rename = "internalCode")]
    internal_code: Option<i64>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    errors: Vec<RefusalError>,
}

#[derive(Deserialize)]
struct RefusalError {
    code: Option<i64>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    result: T,
}

impl Ai {
    pub(crate) fn new(binding: Binding) -> Self {
        Self { binding }
    }

    /// A gateway by its id.
    pub fn gateway(&self, id: impl Into<String>) -> AiGateway {
        AiGateway::new(self.binding.clone(), id.into())
    }

    /// Runs a model whose result is JSON: text, embeddings, classifications.
    pub async fn run(&self, model: &str, inputs: &impl Serialize) -> Result<Value, Error> {
        let answer = self.ask("run", model, inputs, &Map::new()).await?;
        let body = self.whole("run", answer.response).await?;
        self.binding.read("run", &body)
    }

    /// Runs a model and gives the answer as it is: a stream, an image, a sound. `options` are those of `env.AI.run`,
    /// such as `{"gateway": {"id": "…"}}`.
    pub async fn run_with(
        &self,
        model: &str,
        inputs: &impl Serialize,
        options: &Map<String, Value>,
    ) -> Result<Answer, Error> {
        self.ask("run", model, inputs, options).await
    }

    /// What the model says to a conversation.
    pub async fn chat(&self, model: &str, messages: &[Message]) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Said {
            response: String,
        }
        let answer = self
            .ask("chat", model, &json!({"messages": messages}), &Map::new())
            .await?;
        let body = self.whole("chat", answer.response).await?;
        self.binding.read::<Said>("chat", &body).map(|said| said.response)
    }

    /// The same, as it is said. Dropping the stream stops the model.
    pub async fn chat_stream(&self, model: &str, messages: &[Message]) -> Result<TextStream, Error> {
        let inputs = json!({"messages": messages, "stream": true});
        let answer = self.ask("chat_stream", model, &inputs, &Map::new()).await?;
        let (parts, body) = answer.response.into_parts();
        let kind = text(&parts.headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            let text = format!("not a stream of events, but {kind}");
            return Err(self.binding.fails("chat_stream", ErrorKind::Answer(text)));
        }
        Ok(TextStream {
            binding: self.binding.clone(),
            body,
            events: Events::default(),
            ready: VecDeque::new(),
            done: false,
        })
    }

    /// One vector for each text, in order.
    pub async fn embed(&self, model: &str, texts: &[impl AsRef<str>]) -> Result<Vec<Vec<f32>>, Error> {
        #[derive(Deserialize)]
        struct Embedded {
            data: Vec<Vec<f32>>,
        }
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let answer = self
            .ask("embed", model, &json!({"text": texts}), &Map::new())
            .await?;
        let body = self.whole("embed", answer.response).await?;
        let embedded: Embedded = self.binding.read("embed", &body)?;
        if embedded.data.len() != texts.len() {
            let text = format!("{} vectors for {} texts", embedded.data.len(), texts.len());
            return Err(self.binding.fails("embed", ErrorKind::Answer(text)));
        }
        Ok(embedded.data)
    }

    /// Runs a model on a stream, such as speech: `inputs` are those beside it.
    pub async fn run_stream(
        &self,
        model: &str,
        content_type: &str,
        stream: Body,
        inputs: &impl Serialize,
    ) -> Result<Answer, Error> {
        const OPERATION: &str = "run_stream";
        let invalid = |text: String| self.binding.fails(OPERATION, ErrorKind::Invalid(text));
        let inputs = serde_json::to_string(inputs).map_err(|error| invalid(error.to_string()))?;
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("version", "3")
            .append_pair("userInputs", &inputs)
            .finish();
        let kind = HeaderValue::from_str(content_type).map_err(|error| invalid(error.to_string()))?;
        self.send(OPERATION, model, &format!("{HOST}/run?{query}"), kind, stream)
            .await
    }

    /// The models whose name contains `search`.
    pub async fn models(&self, search: &str) -> Result<Vec<Model>, Error> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("search", search)
            .finish();
        let url = format!("{HOST}/ai-api/models/search?{query}");
        self.result("models", &url, None).await
    }

    /// Documents as text a model can read, in order. A document that cannot be converted says why.
    pub async fn to_markdown(&self, documents: &[Document]) -> Result<Vec<Converted>, Error> {
        let files: Vec<Value> = documents
            .iter()
            .map(|document| {
                let data = STANDARD.encode(&document.content);
                json!({"name": document.name, "mimeType": document.media_type, "data": data})
            })
            .collect();
        let body = json!({"files": files, "options": {}}).to_string();
        let url = format!("{HOST}/to-everything/markdown/transformer");
        self.result("to_markdown", &url, Some(body.into())).await
    }

    async fn result<T: serde::de::DeserializeOwned>(
        &self,
        operation: &'static str,
        url: &str,
        body: Option<Bytes>,
    ) -> Result<T, Error> {
        let content = body.map(|body| ("application/json", body));
        let (response, body) = self.binding.call(operation, url, content, &[]).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(&self.binding, operation, response.status(), &body));
        }
        self.binding
            .read::<Envelope<T>>(operation, &body)
            .map(|envelope| envelope.result)
    }

    async fn ask(
        &self,
        operation: &'static str,
        model: &str,
        inputs: &impl Serialize,
        options: &Map<String, Value>,
    ) -> Result<Answer, Error> {
        let body = serde_json::to_vec(&json!({"inputs": inputs, "options": options})).map_err(|error| {
            self.binding
                .fails(operation, ErrorKind::Invalid(error.to_string()))
        })?;
        let by_gateway = options
            .get("gateway")
            .is_some_and(|gateway| gateway["id"].is_string());
        let path = if by_gateway { "/ai-gateway/run" } else { "/run" };
        let kind = HeaderValue::from_static("application/json");
        self.send(
            operation,
            model,
            &format!("{HOST}{path}?version=3"),
            kind,
            full(body),
        )
        .await
    }

    async fn send(
        &self,
        operation: &'static str,
        model: &str,
        url: &str,
        kind: HeaderValue,
        body: Body,
    ) -> Result<Answer, Error> {
        let invalid = |text: String| self.binding.fails(operation, ErrorKind::Invalid(text));
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.parse().map_err(|_| invalid(format!("{url} is no URL")))?;
        let model =
            HeaderValue::from_str(model).map_err(|_| invalid(format!("{model} is no model's name")))?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, kind);
        headers.insert("cf-consn-sdk-version", HeaderValue::from_static("2.0.0"));
        headers.insert("cf-consn-model-id", model);
        let response = self.binding.request(operation, request).await?;
        if response.status().is_success() {
            return Ok(Answer { response });
        }
        let status = response.status();
        let body = self.whole(operation, response).await?;
        Err(refused(&self.binding, operation, status, &body))
    }

    async fn whole(&self, operation: &'static str, response: Response<Body>) -> Result<Bytes, Error> {
        let limit = self.binding.client().largest_answer();
        bowline_binding::collect(response.into_body(), limit)
            .await
            .map_err(|error| self.binding.fails(operation, ErrorKind::Body(error)))
    }
}

/// The failure an answer tells, in either of the two forms the product has.
pub(crate) fn refused(binding: &Binding, operation: &'static str, status: StatusCode, body: &[u8]) -> Error {
    let words = || {
        String::from_utf8_lossy(body)
            .chars()
            .take(500)
            .collect::<String>()
    };
    let Ok(refusal) = serde_json::from_slice::<Refusal>(body) else {
        return binding.refused(operation, status, None, words());
    };
    let first = refusal.errors.into_iter().next();
    let (code, message) = match first {
        _ if refusal.internal_code.is_some() => (refusal.internal_code, refusal.description),
        Some(error) => (error.code, error.message),
        None => (None, None),
    };
    binding.refused(operation, status, code, message.unwrap_or_else(words))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Text on its way. Dropping it stops the model.
pub struct TextStream {
    binding: Binding,
    body: Body,
    events: Events,
    ready: VecDeque<String>,
    done: bool,
}

impl std::fmt::Debug for TextStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextStream")
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl TextStream {
    /// The next piece, `None` once the model has ended. A stream that breaks off is an error. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<String>, Error> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if self.done {
                return Ok(None);
            }
            let broken = |error: BoxError| {
                self.binding
                    .fails("chat_stream", ErrorKind::Body(BodyError::Read(error)))
            };
            match self.body.frame().await {
                None => {
                    self.done = true;
                    return Err(broken("the stream ended without its mark".into()));
                }
                Some(Err(error)) => {
                    self.done = true;
                    return Err(broken(error));
                }
                Some(Ok(frame)) => {
                    let Some(data) = frame.data_ref() else { continue };
                    let events = self.events.push(data).map_err(|error| broken(error.into()))?;
                    for event in events {
                        self.take(&event)?;
                    }
                }
            }
        }
    }

    fn take(&mut self, event: &[u8]) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Piece {
            #[serde(default)]
            response: Option<String>,
        }
        if event == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        let piece: Piece = self.binding.read("chat_stream", event)?;
        self.ready.extend(piece.response.filter(|text| !text.is_empty()));
        Ok(())
    }
}
