//! The calls that make a preview session: a session token, the subdomain, the upload.
//!
//! Source: unmodified wrangler 4.164 with its remote-bindings 0.0.67, watched against a stand-in. The order of the calls,
//! what is retried with what, and the silence about a failed exchange are theirs.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bowline_secret::Secret;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Empty};
use serde_json::{Value, json};

use crate::body::read;
use crate::client::Call;
use crate::error::Cause;
use crate::escape::escape;
use crate::form::Form;
use crate::{ApiError, Client, retrying};

/// The header that carries the session token with an upload.
const UPLOAD_TOKEN: HeaderName = HeaderName::from_static("cf-preview-upload-config-token");
/// The exchange of a session token.
const EXCHANGE: Duration = Duration::from_secs(30);
/// Its largest answer.
const LARGEST: usize = 64 * 1024;

/// What to send to an exchange host besides the request itself: the headers that get through Access there.
pub type Exchange = Arc<dyn Fn(Uri) -> Pin<Box<dyn Future<Output = HeaderMap> + Send>> + Send + Sync>;

/// The session token of an account, which uploads need.
#[derive(Debug, Clone)]
pub struct UploadToken(Secret);

/// An uploaded preview.
#[derive(Debug, Clone)]
pub struct Preview {
    /// What requests to the edge carry.
    pub token: Secret,
    /// Where its logs can be read, a `ws` or `wss` URL. It may be a capability.
    pub tail: Option<Secret>,
}

/// The preview of one worker on one account.
#[derive(Clone)]
pub struct EdgePreview {
    client: Client,
    account: String,
    worker: String,
    exchange: Exchange,
}

impl EdgePreview {
    /// A preview of `worker`, a name that need not exist on the account.
    pub fn new(client: Client, account: &str, worker: &str, exchange: Exchange) -> Self {
        Self {
            client,
            account: account.to_owned(),
            worker: worker.to_owned(),
            exchange,
        }
    }

    /// Gets a session token and the host that previews are served at. Cancel safe.
    pub async fn open(&self) -> Result<(UploadToken, String), ApiError> {
        retrying(|| async {
            let token = self.session_token().await?;
            let subdomain = subdomain(&self.client, &self.account).await?;
            let host = hostname(&self.worker, &subdomain)?;
            Ok((token, host))
        })
        .await
    }

    /// Uploads `form` and gets a preview token. Cancel safe: an upload that nobody waits for runs out by itself.
    pub async fn upload(&self, token: &UploadToken, form: &Form) -> Result<Preview, ApiError> {
        const WHAT: &str = "upload the proxy Worker";
        let session = json!({"workers_dev": true, "minimal_mode": true});
        let (content_type, body) =
            form.encode(&Form::boundary(), Some(("wrangler-session-config", &session)));
        let mut sent = HeaderValue::from_str(token.0.expose())
            .map_err(|_| ApiError::new(WHAT, Cause::Incomplete("session token that a header can carry")))?;
        sent.set_sensitive(true);
        let result = retrying(|| async {
            let call = Call {
                operation: WHAT,
                method: Method::POST,
                path: format!(
                    "/accounts/{}/workers/scripts/{}/edge-preview",
                    escape(&self.account),
                    escape(&self.worker)
                ),
                headers: HeaderMap::from_iter([(UPLOAD_TOKEN, sent.clone())]),
                body: Some((content_type.clone(), body.clone())),
            };
            self.client.call(call).await
        })
        .await?;
        let text = |name: &str| {
            result[name]
                .as_str()
                .filter(|text| !text.is_empty())
                .map(Secret::new)
        };
        Ok(Preview {
            token: text("preview_token")
                .ok_or_else(|| ApiError::new(WHAT, Cause::Incomplete("preview_token")))?,
            tail: text("tail_url"),
        })
    }

    async fn session_token(&self) -> Result<UploadToken, ApiError> {
        const WHAT: &str = "open a preview session";
        let path = format!(
            "/accounts/{}/workers/subdomain/edge-preview",
            escape(&self.account)
        );
        let result = self.client.call(Call::get(WHAT, path)).await?;
        let token = result["token"]
            .as_str()
            .ok_or_else(|| ApiError::new(WHAT, Cause::Incomplete("session token")))?;
        let exchanged = match result["exchange_url"].as_str() {
            Some(url) => self.exchanged(url).await,
            None => None,
        };
        Ok(UploadToken(exchanged.unwrap_or_else(|| Secret::new(token))))
    }

    /// A session token that is worth more than the first, if there is one: without it the first serves, so nothing here is
    /// an error.
    async fn exchanged(&self, url: &str) -> Option<Secret> {
        let uri: Uri = url.parse().ok()?;
        let mut request = Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
        *request.headers_mut() = (self.exchange)(uri.clone()).await;
        *request.uri_mut() = uri;
        let asked = async {
            let response = self.client.http().send(request, Some(EXCHANGE)).await.ok()?;
            if !response.status().is_success() {
                return None;
            }
            let body = read(response.into_body(), LARGEST).await.ok()?;
            let answer: Value = serde_json::from_slice(&body).ok()?;
            answer["token"].as_str().map(Secret::new)
        };
        let token = tokio::time::timeout(EXCHANGE, asked).await.ok().flatten();
        if token.is_none() {
            tracing::debug!("the session token was not exchanged; the first one is used");
        }
        token
    }
}

/// The account's workers.dev subdomain; one is registered when it has none.
pub(crate) async fn subdomain(client: &Client, account: &str) -> Result<String, ApiError> {
    const WHAT: &str = "find the workers.dev subdomain";
    let path = format!("/accounts/{}/workers/subdomain", escape(account));
    let result = match client.call(Call::get(WHAT, path.clone())).await {
        Err(error) if error.is_without_subdomain() => {
            let wanted = json!({"subdomain": format!("{:08x}", rand::random::<u32>())});
            let call = Call {
                operation: "register a workers.dev subdomain",
                method: Method::PUT,
                path,
                headers: HeaderMap::new(),
                body: Some((
                    HeaderValue::from_static("application/json"),
                    Bytes::from(wanted.to_string()),
                )),
            };
            client.call(call).await?
        }
        other => other?,
    };
    let found = result["subdomain"].as_str().filter(|name| !name.is_empty());
    found
        .map(str::to_owned)
        .ok_or_else(|| ApiError::new(WHAT, Cause::Incomplete("subdomain")))
}

/// `WORKER.SUBDOMAIN.workers.dev`, if that is a host.
pub(crate) fn hostname(worker: &str, subdomain: &str) -> Result<String, ApiError> {
    let host = format!("{worker}.{subdomain}.workers.dev");
    let labels_are_good = host.split('.').all(|label| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    });
    if labels_are_good {
        Ok(host)
    } else {
        let question = format!("`{}` is not a host", host.escape_debug());
        let next = "give the Worker a `name` of letters, digits and dashes, at most 63 of them";
        Err(ApiError::new(
            "name the preview's host",
            Cause::Choice { question, next },
        ))
    }
}

impl std::fmt::Debug for EdgePreview {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EdgePreview({})", self.worker)
    }
}
