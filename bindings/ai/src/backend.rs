//! What a backend must do.

use bowline_binding::{Body, FetchReply, UpgradeRequest, full};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use serde_json::{Map, Value};

use crate::error::{AiError, json};
use crate::inference::Media;

/// What a model is for. It decides which endpoint of a backend is asked and what the answer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    TextGeneration,
    TextEmbeddings,
    TextToImage,
    SpeechRecognition,
    /// The backend knows.
    Any,
}

impl Task {
    /// As it is written in the configuration.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "text-generation" => Some(Self::TextGeneration),
            "text-embeddings" => Some(Self::TextEmbeddings),
            "text-to-image" => Some(Self::TextToImage),
            "automatic-speech-recognition" => Some(Self::SpeechRecognition),
            _ => None,
        }
    }

    /// As the list of models shows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TextGeneration => "Text Generation",
            Self::TextEmbeddings => "Text Embeddings",
            Self::TextToImage => "Text-to-Image",
            Self::SpeechRecognition => "Automatic Speech Recognition",
            Self::Any => "Any",
        }
    }
}

/// How text answers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `{"response"}`.
    WorkersAi,
    /// `{"choices"}`, as newer models have it.
    OpenAi,
}

/// One call, its model already translated to the backend's name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) model: &'a str,
    pub(crate) task: Task,
    pub(crate) shape: Shape,
    pub(crate) inputs: &'a Map<String, Value>,
    pub(crate) media: Option<&'a Media>,
    pub(crate) stream: bool,
}

/// What a model answers.
pub(crate) enum Output {
    /// The result itself.
    Json(Value),
    /// Bytes of a kind, as they come.
    Bytes { content_type: HeaderValue, body: Body },
}

impl Output {
    pub(crate) fn bytes(content_type: &'static str, bytes: Vec<u8>) -> Self {
        Self::Bytes {
            content_type: HeaderValue::from_static(content_type),
            body: full(bytes),
        }
    }

    pub(crate) fn response(self) -> Response<Body> {
        match self {
            Self::Json(value) => json(http::StatusCode::OK, &value),
            Self::Bytes { content_type, body } => {
                let mut response = Response::new(body);
                response.headers_mut().insert(CONTENT_TYPE, content_type);
                response
            }
        }
    }
}

/// Who runs models. Cancel safe: dropping a future, or the body of an answer, stops the generation.
#[async_trait::async_trait]
pub(crate) trait Backend: Send + Sync + 'static {
    /// What it is, for the table shown at start: kind and place, no secrets.
    fn describe(&self) -> String;

    /// Whether it knows by itself what a model is for.
    fn knows_tasks(&self) -> bool {
        false
    }

    /// Whether it can do this at all, as far as that can be told before the first call.
    fn check(&self, model: &str, task: Task) -> Result<(), String> {
        let _ = (model, task);
        Ok(())
    }

    async fn run(&self, ask: Ask<'_>) -> Result<Output, AiError>;

    /// The websocket form: the far side's handshake is answered by the backend itself.
    async fn upgrade(&self, ask: Ask<'_>, upgrade: &UpgradeRequest) -> Result<FetchReply, AiError> {
        let _ = upgrade;
        Err(AiError::Input(format!(
            "model {} has no websocket form at its backend, {}",
            ask.model,
            self.describe()
        )))
    }
}
