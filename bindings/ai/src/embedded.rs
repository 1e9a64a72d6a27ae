//! Models in this process, loaded when they are first asked.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};

use bowline_binding::{Body, BoxError};
use bowline_models::{
    CATALOG, Embedder, Generation, Generator, Kind, Message, ModelError, ModelStore, Sampling, Usage,
};
use bowline_upstream::event;
use bytes::Bytes;
use futures_util::StreamExt;
use http::HeaderValue;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, mpsc};

use crate::backend::{Ask, Backend, Output, Task};
use crate::error::AiError;
use crate::openai::embeddings_input;

/// Generations that wait for their turn: a model says one thing at a time.
const WAITING: usize = 8;
/// Pieces that wait for a slow reader before the model does.
const PIECES: usize = 64;

/// The embedded models.
pub(crate) struct Embedded {
    store: ModelStore,
    embedder: Arc<OnceLock<Embedder>>,
    /// One text model computes at a time; more at once would only share the same cores.
    embedding: Semaphore,
    jobs: Mutex<Option<SyncSender<Job>>>,
}

struct Job {
    from: Generation,
    sampling: Sampling,
    to: mpsc::Sender<Said>,
}

enum Said {
    Piece(String),
    End(Usage),
    Failed(ModelError),
}

impl Embedded {
    pub(crate) fn new(store: ModelStore) -> Self {
        Self {
            store,
            embedder: Arc::default(),
            embedding: Semaphore::new(1),
            jobs: Mutex::new(None),
        }
    }

    async fn embed(&self, ask: Ask<'_>) -> Result<Output, AiError> {
        let texts: Vec<String> = embeddings_input(ask.inputs)?
            .into_iter()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect();
        let _turn = self.embedding.acquire().await;
        let (store, embedder) = (self.store.clone(), Arc::clone(&self.embedder));
        let embedded = tokio::task::spawn_blocking(move || {
            let embedder = match embedder.get() {
                Some(embedder) => embedder,
                // Nobody else is here: there is one turn.
                None => {
                    let loaded = Embedder::load(&store)?;
                    embedder.get_or_init(|| loaded)
                }
            };
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            embedder.embed(&texts)
        })
        .await
        .map_err(|_| AiError::Upstream("the model failed".into()))?;
        let data = embedded.map_err(|error| failed(&error))?;
        Ok(Output::Json(
            json!({"shape": [data.len(), Embedder::DIMENSIONS], "data": data}),
        ))
    }

    async fn generate(&self, ask: Ask<'_>) -> Result<Output, AiError> {
        let (from, sampling) = (conversation(ask.inputs)?, sampling(ask.inputs)?);
        let (to, mut said) = mpsc::channel(PIECES);
        self.submit(Job { from, sampling, to })?;
        if ask.stream {
            // A conversation that is too long is still a plain refusal.
            let first = said.recv().await.unwrap_or_else(|| Said::Failed(stopped()));
            if let Said::Failed(error) = first {
                return Err(failed(&error));
            }
            return Ok(Output::Bytes {
                content_type: HeaderValue::from_static("text/event-stream"),
                body: streamed(first, said),
            });
        }
        let mut text = String::new();
        loop {
            match said.recv().await.unwrap_or_else(|| Said::Failed(stopped())) {
                Said::Piece(piece) => text.push_str(&piece),
                Said::End(usage) => {
                    return Ok(Output::Json(
                        json!({"response": text, "usage": usage_json(usage)}),
                    ));
                }
                Said::Failed(error) => return Err(failed(&error)),
            }
        }
    }

    /// Queues a job for the model's thread, which is started by the first one.
    fn submit(&self, job: Job) -> Result<(), AiError> {
        let mut jobs = self
            .jobs
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let sender = match &*jobs {
            Some(sender) => sender,
            None => {
                let (sender, queue) = sync_channel(WAITING);
                let store = self.store.clone();
                std::thread::Builder::new()
                    .name("ai-generator".into())
                    .spawn(move || serve(&store, &queue))
                    .map_err(|error| {
                        AiError::Upstream(format!("the model's thread cannot be started: {error}"))
                    })?;
                &*jobs.insert(sender)
            }
        };
        sender.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => {
                AiError::Capacity(format!("{WAITING} generations wait already; try again"))
            }
            TrySendError::Disconnected(_) => AiError::Upstream("the model has stopped".into()),
        })
    }
}

#[async_trait::async_trait]
impl Backend for Embedded {
    fn describe(&self) -> String {
        "in this process".to_owned()
    }

    fn check(&self, model: &str, task: Task) -> Result<(), String> {
        let Some(found) = CATALOG.iter().find(|known| known.name == model) else {
            let names: Vec<&str> = CATALOG.iter().map(|known| known.name).collect();
            return Err(format!(
                "must be one of the embedded models: {}",
                names.join(", ")
            ));
        };
        let fits = match found.kind {
            Kind::Embeddings => task == Task::TextEmbeddings,
            Kind::Generation => task == Task::TextGeneration,
        };
        if !fits {
            return Err(format!("{model} is not for the task {}", task.name()));
        }
        if !self.store.has(found) {
            return Err(ModelError::Missing(found.name).to_string());
        }
        Ok(())
    }

    async fn run(&self, ask: Ask<'_>) -> Result<Output, AiError> {
        if ask.media.is_some() {
            return Err(AiError::Input("embedded models take no stream".into()));
        }
        match ask.task {
            Task::TextEmbeddings => self.embed(ask).await,
            Task::TextGeneration => self.generate(ask).await,
            _ => Err(AiError::Input("embedded models do not do that".into())),
        }
    }
}

/// The model's thread. A reader that is gone ends its generation, the last handle ends the thread.
fn serve(store: &ModelStore, queue: &Receiver<Job>) {
    let mut generator = None;
    while let Ok(job) = queue.recv() {
        let loaded = match &mut generator {
            Some(generator) => generator,
            none => match Generator::load(store) {
                Ok(loaded) => none.insert(loaded),
                Err(error) => {
                    let _ = job.to.blocking_send(Said::Failed(error));
                    continue;
                }
            },
        };
        if job.to.is_closed() {
            continue;
        }
        let piece = |text: &str| job.to.blocking_send(Said::Piece(text.to_owned())).is_ok();
        let end = match loaded.generate(&job.from, job.sampling, piece) {
            Ok(usage) => Said::End(usage),
            Err(error) => Said::Failed(error),
        };
        let _ = job.to.blocking_send(end);
    }
}

fn stopped() -> ModelError {
    ModelError::Run("it stopped".to_owned())
}

fn failed(error: &ModelError) -> AiError {
    match error {
        ModelError::TooLong { .. } => AiError::Input(error.to_string()),
        _ => AiError::Upstream(error.to_string()),
    }
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt, "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    })
}

fn streamed(first: Said, said: mpsc::Receiver<Said>) -> Body {
    let frames = |said: Said| -> (Vec<Result<Frame<Bytes>, BoxError>>, bool) {
        let data = |bytes: Bytes| Ok(Frame::data(bytes));
        match said {
            Said::Piece(text) => (vec![data(event(&json!({"response": text}).to_string()))], false),
            Said::End(usage) => {
                let usage = event(&json!({"response": "", "usage": usage_json(usage)}).to_string());
                (vec![data(usage), data(event("[DONE]"))], true)
            }
            Said::Failed(error) => (vec![Err(error.into())], true),
        }
    };
    let start = (Some(first), Some(said));
    let chunks = futures_util::stream::unfold(start, move |(first, said)| async move {
        let mut said = said?;
        let next = match first {
            Some(first) => first,
            None => said.recv().await.unwrap_or_else(|| Said::Failed(stopped())),
        };
        let (frames, over) = frames(next);
        Some((frames, (None, (!over).then_some(said))))
    });
    StreamBody::new(chunks.flat_map(futures_util::stream::iter)).boxed_unsync()
}

fn conversation(inputs: &Map<String, Value>) -> Result<Generation, AiError> {
    for name in ["tools", "response_format", "lora"] {
        if inputs.get(name).is_some_and(|value| !value.is_null()) {
            return Err(AiError::Input(format!(
                "{name} is not offered by embedded models"
            )));
        }
    }
    let shape = || {
        AiError::Input("either prompt (a text) or messages (a list of {role, content}) is required".into())
    };
    let absent = |name: &str| inputs.get(name).is_none_or(Value::is_null);
    match (inputs.get("prompt"), inputs.get("messages")) {
        (Some(Value::String(prompt)), _) if absent("messages") => {
            Ok(if inputs.get("raw") == Some(&Value::Bool(true)) {
                Generation::Raw(prompt.clone())
            } else {
                Generation::Chat(vec![Message {
                    role: "user".to_owned(),
                    content: prompt.clone(),
                }])
            })
        }
        (_, Some(Value::Array(messages))) if absent("prompt") && !messages.is_empty() => {
            let message = |message: &Value| {
                let text = |key: &str| message.get(key).and_then(Value::as_str);
                let role = text("role").filter(|role| matches!(*role, "system" | "user" | "assistant"))?;
                Some(Message {
                    role: role.to_owned(),
                    content: text("content")?.to_owned(),
                })
            };
            messages
                .iter()
                .map(message)
                .collect::<Option<_>>()
                .map(Generation::Chat)
                .ok_or_else(shape)
        }
        _ => Err(shape()),
    }
}

fn sampling(inputs: &Map<String, Value>) -> Result<Sampling, AiError> {
    let number = |name: &str, low: f64, high: f64| match inputs.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_f64()
            .filter(|number| (low..=high).contains(number))
            .map(Some)
            .ok_or_else(|| AiError::Input(format!("{name} must be a number from {low} to {high}"))),
    };
    let usual = Sampling::default();
    Ok(Sampling {
        temperature: number("temperature", 0.0, 5.0)?.unwrap_or(usual.temperature),
        top_p: number("top_p", 0.001, 1.0)?.or(usual.top_p),
        top_k: number("top_k", 1.0, 50.0)?.map(|k| k as usize),
        repetition_penalty: number("repetition_penalty", 0.0, 2.0)?
            .map_or(usual.repetition_penalty, |penalty| penalty as f32),
        seed: number("seed", 0.0, 9_999_999_999.0)?.map_or_else(seed, |seed| seed as u64),
        max_tokens: number("max_tokens", 1.0, 100_000.0)?.map_or(usual.max_tokens, |most| most as usize),
    })
}

/// Another text each time.
fn seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

#[cfg(test)]
mod tests;
