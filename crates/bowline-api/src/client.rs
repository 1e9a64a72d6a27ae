//! One call: a request with credentials and a deadline, and the envelope of its answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bowline_upstream::{Http, HttpError, Waits};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::body::read;
use crate::credentials::Credentials;
use crate::error::{ApiError, ApiMessage, Cause};
use crate::retry::retry_after;

/// Cloudflare's API.
pub const DEFAULT_BASE: &str = "https://api.cloudflare.com/client/v4";
/// One attempt, from its start to the last byte of its answer.
const WITHIN: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const LARGEST: usize = 4 * 1024 * 1024;
const CF_RAY: HeaderName = HeaderName::from_static("cf-ray");
/// What every request of ours calls itself.
pub(crate) const USER_AGENT_VALUE: &str = concat!("bowline/", env!("CARGO_PKG_VERSION"));

/// What a client is made of.
#[derive(Debug)]
pub struct ClientOptions {
    /// The API, without a trailing `/`; usually [`DEFAULT_BASE`].
    pub base: String,
    /// Who is calling.
    pub credentials: Credentials,
    /// The connections to use.
    pub http: Arc<Http>,
}

/// A client of the API. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client(Arc<ClientOptions>);

/// A request to be made.
pub(crate) struct Call<'a> {
    /// What it does, for messages.
    pub(crate) operation: &'a str,
    pub(crate) method: Method,
    /// Below the base, starting with `/`.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<(HeaderValue, Bytes)>,
}

impl<'a> Call<'a> {
    pub(crate) fn get(operation: &'a str, path: String) -> Self {
        Self {
            operation,
            method: Method::GET,
            path,
            headers: HeaderMap::new(),
            body: None,
        }
    }
}

impl Client {
    /// A client. Nothing is opened yet.
    pub fn new(options: ClientOptions) -> Self {
        Self(Arc::new(ClientOptions {
            base: options.base.trim_end_matches('/').to_owned(),
            ..options
        }))
    }

    /// Connections for the API and what lies beside it, trusting the certificate authorities in `authorities` too.
    pub fn connections(authorities: Vec<PathBuf>) -> Arc<Http> {
        let waits = Waits {
            first_byte: WITHIN,
            idle: WITHIN,
            ..Waits::default()
        };
        Arc::new(Http::new(authorities, waits))
    }

    /// The connections.
    pub fn http(&self) -> &Arc<Http> {
        &self.0.http
    }

    /// Makes one attempt at a call and gives its `result`.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Value, ApiError> {
        let operation = call.operation.to_owned();
        tokio::time::timeout(WITHIN, self.attempt(call))
            .await
            .unwrap_or_else(|_| Err(ApiError::new(operation, Cause::TimedOut(WITHIN))))
    }

    async fn attempt(&self, call: Call<'_>) -> Result<Value, ApiError> {
        let failed = |cause| ApiError::new(call.operation, cause);
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.0.base, call.path))
            .body(Bytes::new())
            .map_err(|_| failed(Cause::Unreachable(format!("{} is not a URL", self.0.base))))?;
        *request.headers_mut() = call.headers;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE));
        self.0.credentials.add_to(headers).await.map_err(failed)?;
        let (content_type, body) = call.body.unzip();
        let body = body.unwrap_or_default();
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let request = request.map(|_| Full::from(body).map_err(|never| match never {}).boxed_unsync());
        let response = self
            .0
            .http
            .send(request, None)
            .await
            .map_err(|error| match error {
                HttpError::Timeout { after, .. } => failed(Cause::TimedOut(after)),
                error => failed(Cause::Unreachable(error.told())),
            })?;
        let (parts, body) = response.into_parts();
        let body = read(body, LARGEST)
            .await
            .map_err(|why| failed(Cause::Unreachable(why)))?;
        self.open(parts.status, &body).map_err(|cause| {
            let text = |name: HeaderName| parts.headers.get(name).map(HeaderValue::as_bytes);
            ApiError {
                ray: text(CF_RAY)
                    .and_then(|ray| std::str::from_utf8(ray).ok())
                    .map(|ray| ray.chars().filter(char::is_ascii_graphic).take(64).collect()),
                retry_after: text(RETRY_AFTER).and_then(|value| retry_after(value, jiff::Timestamp::now())),
                ..failed(cause)
            }
        })
    }

    /// Takes the result out of its envelope. `success` decides, not the status.
    fn open(&self, status: StatusCode, body: &[u8]) -> Result<Value, Cause> {
        let scrub = |text: &str| self.0.credentials.scrub(text);
        let empty = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT].contains(&status);
        if body.is_empty() && empty {
            return Ok(json!({}));
        }
        let mut envelope = match serde_json::from_slice::<Value>(body) {
            Ok(envelope) if envelope["success"].is_boolean() => envelope,
            _ => {
                let said = scrub(&ApiError::said(body));
                return Err(Cause::Malformed { status, said });
            }
        };
        if envelope["success"] == true {
            return Ok(envelope["result"].take());
        }
        let errors = envelope["errors"].as_array().map_or(&[][..], Vec::as_slice);
        let errors = errors.iter().take(8).map(|error| ApiMessage {
            code: error["code"].as_u64().unwrap_or(0),
            message: scrub(&ApiError::said(
                error["message"].as_str().unwrap_or_default().as_bytes(),
            )),
        });
        Err(Cause::Refused {
            status,
            errors: errors.collect(),
        })
    }
}
