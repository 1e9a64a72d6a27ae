//! A Worker that stays.

use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;

use crate::client::Call;
use crate::edge_preview;
use crate::escape::escape;
use crate::form::Form;
use crate::{ApiError, Client, retrying};

/// The host that `worker` has, or would have, on workers.dev.
pub async fn hostname(client: &Client, account: &str, worker: &str) -> Result<String, ApiError> {
    let subdomain = retrying(|| edge_preview::subdomain(client, account)).await?;
    edge_preview::hostname(worker, &subdomain)
}

/// Puts `worker` on the account, over what has its name, and makes it answer on workers.dev.
///
/// The two are separate calls: should the second fail, the Worker is there and answers nobody.
pub async fn deploy(client: &Client, account: &str, worker: &str, form: &Form) -> Result<(), ApiError> {
    let path = format!("/accounts/{}/workers/scripts/{}", escape(account), escape(worker));
    let (content_type, body) = form.encode(&Form::boundary(), None);
    retrying(|| async {
        let call = Call {
            operation: "deploy the proxy Worker",
            method: Method::PUT,
            path: path.clone(),
            headers: HeaderMap::new(),
            body: Some((content_type.clone(), body.clone())),
        };
        client.call(call).await
    })
    .await?;
    let enabled = json!({"enabled": true, "previews_enabled": false}).to_string();
    retrying(|| async {
        let call = Call {
            operation: "publish the proxy Worker on workers.dev",
            method: Method::POST,
            path: format!("{path}/subdomain"),
            headers: HeaderMap::new(),
            body: Some((
                HeaderValue::from_static("application/json"),
                enabled.clone().into(),
            )),
        };
        client.call(call).await
    })
    .await?;
    Ok(())
}
