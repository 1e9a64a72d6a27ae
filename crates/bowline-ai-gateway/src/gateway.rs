//! Steps in order, attempts of each, and what is remembered of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline_binding::{Body, ConfigError, Resources, collect_boxed, full};
use bowline_upstream::{Http, Waits};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::cache::{self, Kept};
use crate::config::{Config, Settings};
use crate::log::{self, HEAD, Record};
use crate::options::Backoff;
use crate::provider::HttpProvider;
use crate::recorded::{Ended, Passed, Recorded};
use crate::store::Store;
use crate::{GatewayError, Options, Patch, Provider, ProviderError, ProviderRequest, Step};

const LOG_ID: HeaderName = HeaderName::from_static("cf-aig-log-id");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cf-aig-cache-status");
const STEP: HeaderName = HeaderName::from_static("cf-aig-step");
const EVENT_ID: HeaderName = HeaderName::from_static("cf-aig-event-id");

/// All steps and attempts together, to the head of an answer: below what the router in front gives a binding.
const WHOLE_CALL: Duration = Duration::from_secs(110);
/// One attempt, unless told otherwise.
const ATTEMPT: Duration = Duration::from_secs(90);
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// A refusal is read up to here, for the log and for the caller.
const LARGEST_REFUSAL: usize = 1 << 20;
const REFUSAL: Duration = Duration::from_secs(10);

/// All gateways of one binding.
pub struct Gateways {
    gateways: BTreeMap<String, Arc<Settings>>,
    shared: Arc<Shared>,
}

struct Shared {
    providers: BTreeMap<String, Arc<dyn Provider>>,
    store: Store,
}

impl std::fmt::Debug for Gateways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.gateways.keys()).finish()
    }
}

impl Gateways {
    /// The gateways of a binding's entry (`gateways`, `providers`), with their store in `folder` under the state
    /// folder, and with `own` providers besides the configured ones.
    pub fn open(
        entry: &Value,
        folder: &str,
        own: Vec<(String, Arc<dyn Provider>)>,
        resources: &Resources,
    ) -> Result<Self, ConfigError> {
        let config = Config::parse(entry, resources)?;
        let http = Arc::new(Http::new(
            resources.authorities.clone(),
            Waits {
                first_byte: WHOLE_CALL,
                ..Waits::default()
            },
        ));
        let mut providers: BTreeMap<String, Arc<dyn Provider>> = BTreeMap::new();
        for (name, address) in config.providers {
            let provider = HttpProvider {
                http: Arc::clone(&http),
                url: address.url,
                credential: address.credential,
            };
            providers.insert(name, Arc::new(provider));
        }
        providers.extend(own);
        let folder = resources.state.join(folder);
        let failed = |source: bowline_binding::BoxError| {
            let mut error =
                ConfigError::new("gateways", "the store of logs and kept answers cannot be opened");
            error.source = Some(source);
            error
        };
        std::fs::create_dir_all(&folder).map_err(|error| failed(error.into()))?;
        let store = Store::open(&folder).map_err(|error| failed(error.into()))?;
        let gateways = config
            .gateways
            .into_iter()
            .map(|(id, settings)| (id, Arc::new(settings)))
            .collect();
        Ok(Self {
            gateways,
            shared: Arc::new(Shared { providers, store }),
        })
    }

    /// The ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.gateways.keys().map(String::as_str)
    }

    /// The gateway of that id.
    pub fn gateway(&self, id: &str) -> Result<Gateway, GatewayError> {
        let settings = self.gateways.get(id).ok_or_else(|| GatewayError::NoGateway {
            id: id.to_owned(),
            known: known("gateways", self.ids()),
        })?;
        Ok(Gateway {
            id: id.to_owned(),
            settings: Arc::clone(settings),
            shared: Arc::clone(&self.shared),
        })
    }
}

fn known<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        format!("no {what} are configured")
    } else {
        format!("{what}: {}", names.join(", "))
    }
}

/// One gateway. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    id: String,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
}

/// What one step came to.
enum Outcome {
    Answer(Response<Body>),
    Failed(GatewayError),
}

/// One step on its way into the log.
struct Entry {
    gateway: Gateway,
    options: Options,
    log_id: Option<String>,
    created_ms: i64,
    began: Instant,
    provider: String,
    endpoint: String,
    model: String,
    index: usize,
    request: String,
}

impl Gateway {
    /// Asks each step's provider in order until one succeeds, and answers what that one said, as a stream.
    ///
    /// When none does, the last answer there was is the answer; an error means that there was none at all. Cancel safe:
    /// dropping the future or the body ends the request at the provider and logs what there is.
    pub async fn run(&self, steps: &[Step], call: &Options) -> Result<Response<Body>, GatewayError> {
        let deadline = Instant::now() + WHOLE_CALL;
        let mut last = Err(GatewayError::Invalid("no request was given".into()));
        for (index, step) in steps.iter().enumerate() {
            match self.step(index, step, call, deadline).await {
                Outcome::Answer(answer) if answer.status().is_success() => return Ok(answer),
                Outcome::Answer(answer) => last = Ok(answer),
                // An answer, be it a refusal, says more than none.
                Outcome::Failed(error) if last.is_err() => last = Err(error),
                Outcome::Failed(_) => {}
            }
        }
        last
    }

    /// The log of that id.
    pub async fn log(&self, id: &str) -> Result<Value, GatewayError> {
        let read = self.shared.store.read(&self.id, id).await;
        read.map_err(|_| GatewayError::Storage)?
            .ok_or(GatewayError::NoLog)
    }

    /// Changes the log of that id.
    pub async fn patch_log(&self, id: &str, patch: Patch) -> Result<(), GatewayError> {
        match self.shared.store.patch(&self.id, id, patch).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(GatewayError::NoLog),
            Err(_) => Err(GatewayError::Storage),
        }
    }

    /// Where the gateway is reached from outside: its configured address, and the provider's part of it.
    pub fn url(&self, provider: &str) -> Result<String, GatewayError> {
        let url = self
            .settings
            .url
            .as_ref()
            .ok_or_else(|| GatewayError::NoUrl(self.id.clone()))?;
        Ok(if provider.is_empty() || provider == "universal" {
            format!("{url}/")
        } else {
            format!("{url}/{provider}")
        })
    }

    async fn step(&self, index: usize, step: &Step, call: &Options, deadline: Instant) -> Outcome {
        let options = step.options.clone().over(call).over(&self.settings.defaults);
        let entry = Entry {
            gateway: self.clone(),
            log_id: (options.collect_log != Some(false)).then(|| uuid::Uuid::new_v4().simple().to_string()),
            created_ms: jiff::Timestamp::now().as_millisecond(),
            began: Instant::now(),
            provider: step.provider.clone(),
            endpoint: step.endpoint.clone(),
            model: model(step),
            index,
            request: step.query.to_string(),
            options,
        };
        let Some(provider) = self.shared.providers.get(&step.provider) else {
            let error = GatewayError::NoProvider {
                name: step.provider.clone(),
                known: known("providers", self.shared.providers.keys().map(String::as_str)),
            };
            return entry.failed(error);
        };
        let ttl = entry.options.cache_ttl.filter(|ttl| !ttl.is_zero());
        let cached = ttl.filter(|_| entry.options.skip_cache != Some(true)).map(|ttl| {
            (
                cache::key(step, entry.options.cache_key.as_deref(), &provider.audience()),
                ttl,
            )
        });
        if let Some((key, _)) = cached
            && let Some(kept) = self.shared.store.kept(&self.id, key, entry.created_ms).await
        {
            return Outcome::Answer(entry.hit(kept));
        }
        match attempts(provider.as_ref(), step, &entry.options, deadline).await {
            Err(error) => entry.failed(error),
            Ok(answer) if answer.status().is_success() => Outcome::Answer(entry.answer(answer, cached)),
            Ok(answer) => {
                // Read here, so that it is logged even when the next step answers instead.
                let (parts, body) = answer.into_parts();
                let read = tokio::time::timeout(REFUSAL, collect_boxed(body, LARGEST_REFUSAL)).await;
                let body = read.ok().and_then(Result::ok).unwrap_or_default();
                Outcome::Answer(entry.answer(Response::from_parts(parts, full(body)), None))
            }
        }
    }
}

/// One provider, as often as allowed.
async fn attempts(
    provider: &dyn Provider,
    step: &Step,
    options: &Options,
    deadline: Instant,
) -> Result<Response<Body>, GatewayError> {
    let most = options.max_attempts.unwrap_or(1);
    let mut attempt = 1;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let text = format!("no answer within {} s", WHOLE_CALL.as_secs());
            return Err(GatewayError::Timeout(text));
        }
        let first_byte = options.request_timeout.unwrap_or(ATTEMPT).min(left);
        let request = ProviderRequest {
            endpoint: &step.endpoint,
            headers: &step.headers,
            query: &step.query,
            first_byte,
        };
        let asked = tokio::time::timeout(first_byte, provider.ask(request)).await;
        let failure = match asked {
            Ok(Ok(answer)) if !repeatable(answer.status()) || attempt == most => return Ok(answer),
            Ok(Ok(answer)) => GatewayError::Unreachable(format!("the provider answered {}", answer.status())),
            Ok(Err(ProviderError::Invalid(text))) => return Err(GatewayError::Invalid(text)),
            Ok(Err(ProviderError::Unreachable(text))) => GatewayError::Unreachable(text),
            Ok(Err(ProviderError::Timeout(text))) => GatewayError::Timeout(text),
            Err(_) => GatewayError::Timeout(format!(
                "provider {} gave no answer within {} ms",
                step.provider,
                first_byte.as_millis()
            )),
        };
        if attempt == most {
            return Err(failure);
        }
        attempt += 1;
        let backoff = options.backoff.unwrap_or(Backoff::Constant);
        let wait = backoff.wait(options.retry_delay.unwrap_or(RETRY_DELAY), attempt);
        tracing::debug!(provider = %step.provider, attempt, error = %failure, "asking again");
        tokio::time::sleep(wait.min(deadline.saturating_duration_since(Instant::now()))).await;
    }
}

/// Whether asking again may help.
fn repeatable(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
        )
}

/// The model a step asks for: told in the body, or the endpoint of a provider whose endpoints are models.
fn model(step: &Step) -> String {
    match step.query.get("model").and_then(Value::as_str) {
        Some(model) => model.to_owned(),
        None => step.endpoint.clone(),
    }
}

impl Entry {
    fn failed(self, error: GatewayError) -> Outcome {
        let passed = Passed {
            ended: Ended::Broken,
            size: 0,
            start: error.to_string().into_bytes(),
        };
        self.log(error.status().as_u16(), None, false, &passed);
        Outcome::Failed(error)
    }

    fn hit(self, kept: Kept) -> Response<Body> {
        let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
        let mut response = Response::new(full(kept.body.clone()));
        *response.status_mut() = status;
        let content_type = kept
            .content_type
            .and_then(|bytes| HeaderValue::from_bytes(&bytes).ok());
        if let Some(value) = &content_type {
            response.headers_mut().insert(CONTENT_TYPE, value.clone());
        }
        self.mark(&mut response, Some("HIT"));
        let passed = Passed {
            ended: Ended::Whole,
            size: kept.body.len(),
            start: kept.body,
        };
        self.log(kept.status, content_type.as_ref(), true, &passed);
        response
    }

    /// An answer with the gateway's headers, logged (and kept) once it has passed.
    fn answer(self, mut response: Response<Body>, keep: Option<(cache::Key, Duration)>) -> Response<Body> {
        let headers = response.headers_mut();
        for name in [
            CONNECTION,
            TRANSFER_ENCODING,
            CONTENT_LENGTH,
            HeaderName::from_static("keep-alive"),
        ] {
            headers.remove(name);
        }
        self.mark(&mut response, keep.map(|_| "MISS"));
        let (status, content_type) = (
            response.status().as_u16(),
            response.headers().get(CONTENT_TYPE).cloned(),
        );
        response.map(|body| {
            let then = move |passed: Passed| {
                if let Some((key, ttl)) = keep
                    && passed.ended == Ended::Whole
                    && passed.size <= cache::LARGEST
                {
                    let kept = Kept {
                        status,
                        content_type: content_type.as_ref().map(|value| value.as_bytes().to_vec()),
                        body: passed.start.clone(),
                    };
                    let now = jiff::Timestamp::now().as_millisecond();
                    let expires = now.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
                    self.gateway
                        .shared
                        .store
                        .keep(&self.gateway.id, key, expires, kept);
                }
                self.log(status, content_type.as_ref(), false, &passed);
            };
            Recorded::new(body, cache::LARGEST, then).boxed_unsync()
        })
    }

    fn mark(&self, response: &mut Response<Body>, cache: Option<&'static str>) {
        let headers = response.headers_mut();
        if let Some(id) = &self.log_id
            && let Ok(value) = HeaderValue::from_str(id)
        {
            headers.insert(LOG_ID, value);
        }
        if let Some(cache) = cache {
            headers.insert(CACHE_STATUS, HeaderValue::from_static(cache));
        }
        headers.insert(STEP, HeaderValue::from(self.index));
        if let Some(event) = &self.options.event_id
            && let Ok(value) = HeaderValue::from_str(event)
        {
            headers.insert(EVENT_ID, value);
        }
    }

    fn log(self, status: u16, content_type: Option<&HeaderValue>, cached: bool, passed: &Passed) {
        let Some(id) = self.log_id else { return };
        let (tokens_in, tokens_out) = log::usage(content_type, &passed.start);
        let record = Record {
            id,
            created_ms: self.created_ms,
            provider: self.provider,
            model: self.model,
            path: self.endpoint,
            duration_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            request_content_type: "application/json",
            status,
            response_content_type: content_type
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            success: (200..300).contains(&status) && passed.ended == Ended::Whole,
            cached,
            tokens_in,
            tokens_out,
            metadata: self.options.metadata,
            event_id: self.options.event_id,
            step: self.index,
            request_size: self.request.len(),
            request_head: log::head(self.request.as_bytes()),
            response_size: passed.size,
            response_head: log::head(&passed.start[..passed.start.len().min(HEAD + 4)]),
        };
        self.gateway.shared.store.log(&self.gateway.id, record);
    }
}
