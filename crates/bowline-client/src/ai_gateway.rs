//! AI Gateway, as `env.AI.gateway(id)` is in a Worker.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::ai::{HOST, refused};
use crate::{Binding, Body, Error, ErrorKind, full};

/// One gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AiGateway {
    binding: Binding,
    id: String,
}

/// One request of a call: which provider to ask for what. `Debug` leaves the headers out: they may hold keys.
#[derive(Clone, PartialEq, Serialize)]
pub struct Step {
    /// The provider's name: `openai`, `workers-ai`, …
    pub provider: String,
    /// The path at the provider, or the model for `workers-ai`.
    pub endpoint: String,
    /// Headers for the provider; those that start with `cf-aig-` are for the gateway.
    pub headers: Map<String, Value>,
    /// The body.
    pub query: Value,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step")
            .field("provider", &self.provider)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Step {
    /// A request without headers of its own.
    pub fn new(provider: impl Into<String>, endpoint: impl Into<String>, query: Value) -> Self {
        Self {
            provider: provider.into(),
            endpoint: endpoint.into(),
            headers: Map::new(),
            query,
        }
    }
}

/// How the wait between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// Always the same.
    Constant,
    /// Once, twice, three times the delay.
    Linear,
    /// Once, twice, four times the delay.
    Exponential,
}

/// What a call asks of the gateway. What is absent, the gateway's configuration decides.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GatewayOptions {
    /// Asks the provider even if there is a kept answer.
    pub skip_cache: Option<bool>,
    /// Keeps the answer for so long, whole seconds from 60.
    pub cache_ttl: Option<Duration>,
    /// What the answer is kept under.
    pub cache_key: Option<String>,
    /// Up to five texts, numbers or booleans for the log.
    pub metadata: Option<Map<String, Value>>,
    /// Whether the call is logged.
    pub collect_log: Option<bool>,
    /// How long the head of an answer may take.
    pub request_timeout: Option<Duration>,
    /// How often each provider is asked, 1 to 5.
    pub max_attempts: Option<u8>,
    /// The wait between attempts.
    pub retry_delay: Option<Duration>,
    /// How it grows.
    pub backoff: Option<Backoff>,
}

impl GatewayOptions {
    fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: Option<String>| -> Result<(), String> {
            if let Some(value) = value {
                let value = HeaderValue::from_str(&value).map_err(|_| format!("{name} cannot be sent"))?;
                headers.insert(HeaderName::from_static(name), value);
            }
            Ok(())
        };
        let ms = |wait: Duration| wait.as_millis().to_string();
        set("cf-aig-skip-cache", self.skip_cache.map(|skip| skip.to_string()))?;
        set(
            "cf-aig-cache-ttl",
            self.cache_ttl.map(|ttl| ttl.as_secs().to_string()),
        )?;
        set("cf-aig-cache-key", self.cache_key.clone())?;
        set(
            "cf-aig-metadata",
            self.metadata.as_ref().map(|metadata| json!(metadata).to_string()),
        )?;
        set(
            "cf-aig-collect-log",
            self.collect_log.map(|collect| collect.to_string()),
        )?;
        set("cf-aig-request-timeout", self.request_timeout.map(ms))?;
        set(
            "cf-aig-max-attempts",
            self.max_attempts.map(|most| most.to_string()),
        )?;
        set("cf-aig-retry-delay", self.retry_delay.map(ms))?;
        let backoff = self.backoff.map(|backoff| match backoff {
            Backoff::Constant => "constant",
            Backoff::Linear => "linear",
            Backoff::Exponential => "exponential",
        });
        set("cf-aig-backoff", backoff.map(str::to_owned))?;
        Ok(headers)
    }
}

/// A change of a log. What is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Patch {
    /// 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// −1 or 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedback: Option<i8>,
    /// Up to five texts, numbers or booleans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    result: T,
}

impl AiGateway {
    pub(crate) fn new(binding: Binding, id: String) -> Self {
        Self { binding, id }
    }

    /// Asks the providers in order until one succeeds. The answer is as that provider gave it, whatever its status when
    /// none did, with the gateway's own headers `cf-aig-log-id`, `cf-aig-step` and `cf-aig-cache-status`.
    pub async fn run(&self, steps: &[Step], options: &GatewayOptions) -> Result<Response<Body>, Error> {
        let invalid = |text: String| self.binding.fails("run", ErrorKind::Invalid(text));
        let body = serde_json::to_vec(steps).map_err(|error| invalid(error.to_string()))?;
        let mut request = self.request(Method::POST, &format!("universal/run/{}", self.id), "run")?;
        *request.body_mut() = full(body);
        request.headers_mut().extend(options.headers().map_err(invalid)?);
        self.binding.request("run", request).await
    }

    /// What is known of one call, by the `cf-aig-log-id` of its answer.
    pub async fn log(&self, id: &str) -> Result<Map<String, Value>, Error> {
        let request = self.request(Method::GET, &format!("gateways/{}/logs/{id}", self.id), "log")?;
        self.result("log", request).await
    }

    /// Adds what somebody thinks of an answer to its log.
    pub async fn patch_log(&self, id: &str, patch: &Patch) -> Result<(), Error> {
        const OPERATION: &str = "patch_log";
        let mut request = self.request(
            Method::PATCH,
            &format!("gateways/{}/logs/{id}", self.id),
            OPERATION,
        )?;
        *request.body_mut() = full(json!(patch).to_string());
        self.result::<Value>(OPERATION, request).await.map(drop)
    }

    /// Where the gateway is reached from outside, for one provider or with `universal` for all.
    pub async fn url(&self, provider: &str) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Url {
            url: String,
        }
        let request = self.request(
            Method::GET,
            &format!("gateways/{}/url/{provider}", self.id),
            "url",
        )?;
        self.result::<Url>("url", request).await.map(|found| found.url)
    }

    fn request(&self, method: Method, path: &str, operation: &'static str) -> Result<Request<Body>, Error> {
        let mut request = Request::new(bowline_binding::empty());
        *request.method_mut() = method;
        *request.uri_mut() = format!("{HOST}/ai-gateway/{path}").parse().map_err(|_| {
            let text = format!("`{path}` cannot be part of a URL");
            self.binding.fails(operation, ErrorKind::Invalid(text))
        })?;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        Ok(request)
    }

    async fn result<T: serde::de::DeserializeOwned>(
        &self,
        operation: &'static str,
        request: Request<Body>,
    ) -> Result<T, Error> {
        let (parts, body) = self.binding.request(operation, request).await?.into_parts();
        let body = bowline_binding::collect(body, self.binding.client().largest_answer())
            .await
            .map_err(|error| self.binding.fails(operation, ErrorKind::Body(error)))?;
        if parts.status != StatusCode::OK {
            return Err(refused(&self.binding, operation, parts.status, &body));
        }
        self.binding
            .read::<Envelope<T>>(operation, &body)
            .map(|envelope| envelope.result)
    }
}
