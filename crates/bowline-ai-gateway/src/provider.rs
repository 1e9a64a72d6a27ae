//! Who answers a step.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowline_binding::{Body, Credential, full};
use bowline_upstream::{Http, HttpError};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use serde_json::Value;

/// One request to a provider.
pub struct ProviderRequest<'a> {
    /// The path under the provider's address, or the model for a provider in this process.
    pub endpoint: &'a str,
    /// The caller's headers for the provider.
    pub headers: &'a HeaderMap,
    /// The body.
    pub query: &'a Value,
    /// How long the head of the answer may take.
    pub first_byte: Duration,
}

/// Why a provider gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It did not answer in time.
    #[error("{0}")]
    Timeout(String),
    /// It could not be reached.
    #[error("{0}")]
    Unreachable(String),
    /// The step cannot be sent to it.
    #[error("{0}")]
    Invalid(String),
}

/// A provider of models. Cancel safe: dropping the future, or the answer's body, ends the work.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Asks once. Answers of any status are answers.
    async fn ask(&self, request: ProviderRequest<'_>) -> Result<Response<Body>, ProviderError>;

    /// Who asks, as far as answers may depend on it: two callers share cached answers only if this is equal.
    fn audience(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// A provider reached by HTTP.
pub(crate) struct HttpProvider {
    pub(crate) http: Arc<Http>,
    /// Ends without a slash.
    pub(crate) url: String,
    pub(crate) credential: Option<Credential>,
}

#[async_trait]
impl Provider for HttpProvider {
    async fn ask(&self, request: ProviderRequest<'_>) -> Result<Response<Body>, ProviderError> {
        let path = request.endpoint.trim_start_matches('/');
        // The caller names a path below the provider's address and nothing else.
        if path.split(['/', '\\']).any(|part| matches!(part, "." | "..")) {
            return Err(ProviderError::Invalid(
                "the endpoint must not leave the provider".into(),
            ));
        }
        let uri: Uri = format!("{}/{path}", self.url)
            .parse()
            .map_err(|_| ProviderError::Invalid("the endpoint is not a path".into()))?;
        let mut outgoing = Request::new(full(request.query.to_string()));
        *outgoing.method_mut() = Method::POST;
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = request.headers.clone();
        let headers = outgoing.headers_mut();
        headers
            .entry(CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/json"));
        if let Some(credential) = &self.credential
            && !headers.contains_key(credential.header())
        {
            credential.write(headers);
        }
        self.http
            .send(outgoing, Some(request.first_byte))
            .await
            .map_err(|error| match &error {
                HttpError::Timeout { .. } => ProviderError::Timeout(error.to_string()),
                HttpError::Url(_) => ProviderError::Invalid(error.to_string()),
                _ => ProviderError::Unreachable(error.told()),
            })
    }
}
