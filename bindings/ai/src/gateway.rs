//! AI Gateway's endpoints, and our own models as one of its providers.

use std::sync::Arc;

use async_trait::async_trait;
use bowline_ai_gateway::{
    Gateway, GatewayError, Gateways, Options, Patch, Provider, ProviderError, ProviderRequest, Step,
};
use bowline_binding::{Body, BodyError, FetchRequest};
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::binding::with_request_id;
use crate::error;
use crate::inference::Inference;
use crate::models::Table;

/// What Cloudflare's gateway calls its own models.
pub(crate) const WORKERS_AI: &str = "workers-ai";
/// The largest body of the universal endpoint, in bytes.
const LARGEST: usize = 32 << 20;

/// The binding's models as a provider: the endpoint is the model, the body its inputs.
pub(crate) struct Own {
    table: Arc<Table>,
}

impl Own {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self { table }
    }
}

#[async_trait]
impl Provider for Own {
    async fn ask(&self, request: ProviderRequest<'_>) -> Result<Response<Body>, ProviderError> {
        let answer = match Inference::new(request.endpoint, request.query.clone()) {
            Ok(inference) => self.table.run(&inference).await,
            Err(error) => Err(error),
        };
        let response = match answer {
            Ok(output) => output.response(),
            Err(error) => error.response(),
        };
        Ok(with_request_id(response))
    }
}

/// `POST /ai-gateway/run`: `AI.run` with a gateway in its options.
pub(crate) async fn run(gateways: &Gateways, inference: Inference) -> Result<Response<Body>, GatewayError> {
    let Some((id, options)) = inference.gateway() else {
        return Err(GatewayError::Invalid(
            "options.gateway must be an object with an id".into(),
        ));
    };
    let (gateway, options) = (gateways.gateway(id)?, Options::from_json(options)?);
    let step = Step::new(WORKERS_AI, &inference.model, Value::Object(inference.inputs));
    gateway.run(&[step], &options).await
}

/// Everything below `/ai-gateway/` but `run`: `rest` is the path after it.
pub(crate) async fn answer(gateways: &Gateways, rest: &str, request: FetchRequest) -> Response<Body> {
    let answered = match route(gateways, rest, request).await {
        Ok(Answer::Raw(response)) => return response,
        Ok(Answer::Result(result)) => Ok(result),
        Err(error) => Err(error),
    };
    match answered {
        Ok(result) => error::json(
            StatusCode::OK,
            &json!({"success": true, "result": result, "errors": [], "messages": []}),
        ),
        Err(error) => refused(&error),
    }
}

/// A failure of the gateway's own.
pub(crate) fn refused(error: &GatewayError) -> Response<Body> {
    tracing::debug!(%error, "gateway refused");
    error::json(error.status(), &error.body())
}

enum Answer {
    Raw(Response<Body>),
    Result(Value),
}

/// What is asked, by method and path.
enum Endpoint {
    Run(String),
    Url(String, String),
    ReadLog(String, String),
    PatchLog(String, String),
}

impl Endpoint {
    fn parse(method: &Method, rest: &str) -> Result<Self, GatewayError> {
        let parts: Vec<&str> = rest.split('/').collect();
        Ok(match (method.as_str(), parts.as_slice()) {
            ("POST", ["universal", "run", id]) => Self::Run((*id).into()),
            ("GET", ["gateways", id, "url", provider]) => Self::Url((*id).into(), (*provider).into()),
            ("GET", ["gateways", id, "logs", log]) => Self::ReadLog((*id).into(), (*log).into()),
            ("PATCH", ["gateways", id, "logs", log]) => Self::PatchLog((*id).into(), (*log).into()),
            _ => {
                return Err(GatewayError::Invalid(format!(
                    "the gateway has no endpoint {method} {rest}"
                )));
            }
        })
    }
}

async fn route(gateways: &Gateways, rest: &str, request: FetchRequest) -> Result<Answer, GatewayError> {
    match Endpoint::parse(&request.method, rest)? {
        Endpoint::Run(id) => {
            let gateway = gateways.gateway(&id)?;
            let options = Options::from_headers(&request.headers)?;
            let body = body(request.body).await?;
            universal(&gateway, &body, &options).await.map(Answer::Raw)
        }
        Endpoint::Url(id, provider) => {
            let url = gateways.gateway(&id)?.url(&provider)?;
            Ok(Answer::Result(json!({"url": url})))
        }
        Endpoint::ReadLog(id, log) => gateways.gateway(&id)?.log(&log).await.map(Answer::Result),
        Endpoint::PatchLog(id, log) => {
            let gateway = gateways.gateway(&id)?;
            let patch = Patch::read(&body(request.body).await?)?;
            gateway.patch_log(&log, patch).await?;
            gateway.log(&log).await.map(Answer::Result)
        }
    }
}

/// The universal endpoint.
pub(crate) async fn universal(
    gateway: &Gateway,
    body: &Value,
    options: &Options,
) -> Result<Response<Body>, GatewayError> {
    gateway.run(&Step::list(body)?, options).await
}

async fn body(body: Body) -> Result<Value, GatewayError> {
    let bytes = bowline_binding::collect_boxed(body, LARGEST)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge { limit } => GatewayError::TooLarge(limit),
            BodyError::Read(_) => GatewayError::Invalid("the body ended early".into()),
        })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| GatewayError::Invalid(format!("the body is not JSON: {error}")))
}
