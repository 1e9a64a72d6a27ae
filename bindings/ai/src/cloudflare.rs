//! Cloudflare's own models by its REST API.
//!
//! Source: Cloudflare's API reference, `POST /accounts/{account}/ai/run/{model}`: results in the usual envelope, streams
//! and bytes as they are.

use std::sync::Arc;

use bowline_binding::{Body, Credential, FetchReply, UpgradeRequest, full};
use bowline_upstream::Http;
use http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use url::form_urlencoded;

use crate::backend::{Ask, Backend, Output};
use crate::error::AiError;
use crate::openai::{read, unreachable};

const LARGEST: usize = 32 << 20;

/// One account.
pub(crate) struct Cloudflare {
    http: Arc<Http>,
    /// `…/accounts/ID/ai`
    url: String,
    account: String,
    token: Credential,
}

impl Cloudflare {
    pub(crate) fn new(http: Arc<Http>, url: &str, account: &str, token: Credential) -> Self {
        Self {
            http,
            url: format!("{url}/accounts/{account}/ai"),
            account: account.to_owned(),
            token,
        }
    }

    fn uri(&self, model: &str, query: &str) -> Result<Uri, AiError> {
        // A model's name goes into the path; nothing in it may lead elsewhere.
        let safe =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'@' | b'/' | b'-' | b'_' | b'.');
        let climbs = model
            .split('/')
            .any(|part| part.is_empty() || part.starts_with('.'));
        if climbs || !model.bytes().all(safe) {
            return Err(AiError::InvalidModel(format!("{model} is not a model's name")));
        }
        format!("{}/run/{model}{query}", self.url)
            .parse()
            .map_err(|_| AiError::InvalidModel(format!("{model} is not a model's name")))
    }

    async fn refused(&self, response: Response<Body>) -> AiError {
        let status = response.status();
        let body = read(response, 64 << 10).await.unwrap_or_default();
        let document: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let error = document.pointer("/errors/0");
        let code = error
            .and_then(|error| error.get("code")?.as_u64())
            .and_then(|code| u32::try_from(code).ok());
        let text = error
            .and_then(|error| error.get("message")?.as_str())
            .unwrap_or("no reason given");
        let text: String = self.token.scrub(text).chars().take(400).collect();
        match code {
            // The token is ours: what is wrong with it is nothing the Worker could mend.
            _ if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                AiError::NotAllowed(format!(
                    "Cloudflare refused the configured API token ({}): {text}",
                    status.as_u16()
                ))
            }
            Some(code) => AiError::Passed {
                code,
                status: status.as_u16(),
                text,
            },
            None => AiError::Upstream(format!("Cloudflare answered {}: {text}", status.as_u16())),
        }
    }
}

#[async_trait::async_trait]
impl Backend for Cloudflare {
    fn describe(&self) -> String {
        format!("Cloudflare's API, account {}", self.account)
    }

    fn knows_tasks(&self) -> bool {
        true
    }

    async fn run(&self, ask: Ask<'_>) -> Result<Output, AiError> {
        let (content_type, body, query) = match ask.media {
            None => {
                let bytes =
                    serde_json::to_vec(ask.inputs).map_err(|error| AiError::Input(error.to_string()))?;
                (
                    HeaderValue::from_static("application/json"),
                    bytes.into(),
                    String::new(),
                )
            }
            Some(media) => (media.content_type.clone(), media.bytes.clone(), query(ask.inputs)),
        };
        let mut request = Request::new(full(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri(ask.model, &query)?;
        request.headers_mut().insert(CONTENT_TYPE, content_type);
        self.token.write(request.headers_mut());
        let response = self
            .http
            .send(request, None)
            .await
            .map_err(|error| unreachable(&error))?;
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .cloned()
            .unwrap_or(HeaderValue::from_static("application/octet-stream"));
        if !content_type.as_bytes().starts_with(b"application/json") {
            return Ok(Output::Bytes {
                content_type,
                body: response.into_body(),
            });
        }
        let body = read(response, LARGEST).await?;
        match serde_json::from_slice(&body) {
            Ok(Value::Object(mut envelope)) if envelope.contains_key("result") => {
                Ok(Output::Json(envelope.remove("result").unwrap_or(Value::Null)))
            }
            Ok(document) => Ok(Output::Json(document)),
            Err(_) => Err(AiError::Upstream(
                "Cloudflare answered something that is not JSON".into(),
            )),
        }
    }

    async fn upgrade(&self, ask: Ask<'_>, upgrade: &UpgradeRequest) -> Result<FetchReply, AiError> {
        let mut request = Request::new(bowline_binding::empty());
        *request.uri_mut() = self.uri(ask.model, &query(ask.inputs))?;
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_KEY, upgrade.key.clone());
        headers.insert(SEC_WEBSOCKET_VERSION, upgrade.version.clone());
        self.token.write(headers);
        let response = self
            .http
            .upgrade(request)
            .await
            .map_err(|error| unreachable(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            use http_body_util::BodyExt;
            let response = response.map(|body| body.map_err(Into::into).boxed_unsync());
            return Err(self.refused(response).await);
        }
        let headers = response.headers().clone();
        let upgraded = hyper::upgrade::on(response)
            .await
            .map_err(|_| AiError::Upstream("Cloudflare broke the upgrade off".into()))?;
        Ok(FetchReply::Upgrade {
            headers,
            duplex: Box::new(TokioIo::new(upgraded)),
        })
    }
}

/// Inputs beside a stream, as the API takes them: parameters of the query.
fn query(inputs: &serde_json::Map<String, Value>) -> String {
    if inputs.is_empty() {
        return String::new();
    }
    let mut query = form_urlencoded::Serializer::new(String::from("?"));
    for (name, value) in inputs {
        match value {
            Value::String(text) => query.append_pair(name, text),
            other => query.append_pair(name, &other.to_string()),
        };
    }
    query.finish().replacen("?&", "?", 1)
}
