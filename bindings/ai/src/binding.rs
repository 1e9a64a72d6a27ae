//! The fetch surface: paths to whom they concern.

use std::sync::Arc;

use bowline_ai_gateway::Gateways;
use bowline_binding::{Binding, BindingError, Body, CallContext, FetchReply, FetchRequest, Surfaces};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::error::{self, AiError};
use crate::inference::Inference;
use crate::markdown::Converter;
use crate::models::Table;
use crate::{gateway, rpc};

const REQUEST_ID: HeaderName = HeaderName::from_static("cf-ai-req-id");

/// A Workers AI binding.
pub(crate) struct Ai {
    table: Arc<Table>,
    gateways: Arc<Gateways>,
    converter: Converter,
}

impl Ai {
    pub(crate) fn new(table: Arc<Table>, gateways: Gateways) -> Self {
        Self {
            table,
            gateways: Arc::new(gateways),
            converter: Converter::new(),
        }
    }

    async fn run(&self, request: FetchRequest) -> Result<FetchReply, AiError> {
        if let Some(upgrade) = request.upgrade.clone() {
            let inference = Inference::from_upgrade(&request)?;
            let mapped = self.table.find(&inference.model)?;
            return mapped.backend.upgrade(mapped.ask(&inference), &upgrade).await;
        }
        let inference = Inference::read(request).await?;
        let output = self.table.run(&inference).await?;
        Ok(output.response().into())
    }

    async fn run_by_gateway(&self, request: FetchRequest) -> Response<Body> {
        match Inference::read(request).await {
            Ok(inference) => match gateway::run(&self.gateways, inference).await {
                Ok(response) => response,
                Err(error) => gateway::refused(&error),
            },
            Err(error) => with_request_id(error.response()),
        }
    }

    async fn answer(&self, cx: &CallContext, request: FetchRequest) -> FetchReply {
        let path = request.path().to_owned();
        match path.as_str() {
            "/run" => match self.run(request).await {
                Ok(FetchReply::Response(response)) => with_request_id(response).into(),
                Ok(upgrade) => upgrade,
                Err(error) => {
                    log(cx, &error);
                    with_request_id(error.response()).into()
                }
            },
            "/ai-gateway/run" => self.run_by_gateway(request).await.into(),
            "/ai-api/models/search" => {
                error::json(StatusCode::OK, &self.table.search(request.query())).into()
            }
            path => {
                if let Some(rest) = path.strip_prefix("/to-everything/markdown/") {
                    self.converter.answer(rest, request).await.into()
                } else if let Some(rest) = path.strip_prefix("/ai-gateway/") {
                    gateway::answer(&self.gateways, rest, request).await.into()
                } else if let Some(rest) = path.strip_prefix("/autorag/") {
                    autorag(rest).into()
                } else {
                    let text = format!("Workers AI has no endpoint {path} here");
                    error::json(StatusCode::NOT_FOUND, &errors(40400, &text)).into()
                }
            }
        }
    }
}

#[async_trait::async_trait]
impl Binding for Ai {
    fn surfaces(&self) -> Surfaces {
        Surfaces {
            fetch: true,
            rpc: true,
            connect: false,
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.table.lines();
        let ids: Vec<&str> = self.gateways.ids().collect();
        if !ids.is_empty() {
            notes.push(format!("gateways: {}", ids.join(", ")));
        }
        notes
    }

    async fn fetch(&self, cx: &CallContext, request: FetchRequest) -> Result<FetchReply, BindingError> {
        Ok(self.answer(cx, request).await)
    }

    fn target(&self, _cx: &CallContext) -> Result<Arc<dyn capnweb::Target>, BindingError> {
        Ok(Arc::new(rpc::Main(Arc::clone(&self.gateways))))
    }
}

fn log(cx: &CallContext, error: &AiError) {
    match error {
        // A person may have to act: a token is wrong, a server is down.
        AiError::Upstream(_) | AiError::NotAllowed(_) | AiError::Timeout(_) => {
            tracing::warn!(binding.name = %cx.binding, binding.kind = "ai", %error, "call failed");
        }
        _ => tracing::debug!(binding.name = %cx.binding, binding.kind = "ai", %error, "call refused"),
    }
}

/// Every answer of `run` has an id of its own.
pub(crate) fn with_request_id(mut response: Response<Body>) -> Response<Body> {
    let id = uuid::Uuid::new_v4().to_string();
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn errors(code: u32, text: &str) -> Value {
    json!({"success": false, "result": null, "messages": [], "errors": [{"code": code, "message": text}]})
}

/// There are no AutoRAG instances here: the list is empty and every name unknown.
fn autorag(rest: &str) -> Response<Body> {
    if rest == "rags" {
        return error::json(
            StatusCode::OK,
            &json!({"success": true, "result": [], "errors": [], "messages": []}),
        );
    }
    error::json(
        StatusCode::NOT_FOUND,
        &errors(40401, "there is no AutoRAG instance here"),
    )
}
