//! The REST API of Access, as far as it is about service tokens, applications, policies, groups, keys and the organisation:
//! the paths, members and envelope of Cloudflare's, so that its SDKs and Terraform provider work with another base URL.
//!
//! Error codes of these endpoints are not documented; ours are the HTTP status after a nine (`9404`).

mod applications;
mod envelope;
mod objects;
mod organization;
mod tokens;

use std::time::Duration;

use bowline_access_store::AuditEntry;
use bowline_binding::Body;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::Value;

pub use objects::{application_object, policy_object, timestamp, token_object};

use crate::admin::envelope::{Failure, Query, Success};
use crate::{Connection, Gateway, Service, now, respond, whole};

/// The largest object that is taken.
const OBJECT: usize = 1024 * 1024;
/// How long sending it may take.
const SENDING: Duration = Duration::from_secs(30);
/// What API tokens count as in the throttle.
const THROTTLED: &str = "api token";

/// The REST API over a gateway's store, for a listener of its own.
#[derive(Debug, Clone)]
pub struct Admin(Gateway);

/// One call that was let in.
struct Call {
    method: Method,
    /// Path segments after `access/`.
    path: Vec<String>,
    query: Query,
    body: Value,
}

impl Admin {
    /// The API of `gateway`.
    pub fn new(gateway: Gateway) -> Self {
        Self(gateway)
    }

    async fn answer(&self, connection: &Connection, request: Request<Body>) -> Result<Success, Failure> {
        let who = self.authenticate(connection, request.headers()).await?;
        let (parts, body) = request.into_parts();
        let not_found = || {
            Failure::new(
                StatusCode::NOT_FOUND,
                format!("there is no endpoint {}", parts.uri.path()),
            )
        };
        let segments: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        let path = match segments.as_slice() {
            [
                "client",
                "v4",
                scope @ ("accounts" | "zones"),
                id,
                "access",
                path @ ..,
            ] if !id.is_empty() => {
                // Only these two are documented as the account's alone.
                let account_only = matches!(path, ["service_tokens", _, "rotate" | "refresh"] | ["keys", ..]);
                if *scope == "zones" && account_only {
                    return Err(not_found());
                }
                path.iter().map(|segment| (*segment).to_owned()).collect()
            }
            _ => return Err(not_found()),
        };
        let body = tokio::time::timeout(SENDING, whole(body, OBJECT))
            .await
            .map_err(|_| Failure::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))?
            .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, respond::chain(&error)))?;
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).map_err(|error| {
                Failure::new(StatusCode::BAD_REQUEST, format!("the body is no JSON: {error}"))
            })?
        };
        let call = Call {
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            method: parts.method,
            path,
            body,
        };
        let done = self.route(&call).await;
        if call.method != Method::GET {
            self.0.0.journal.note(AuditEntry {
                at_ms: jiff::Timestamp::now().as_millisecond(),
                event: "api".into(),
                decision: if matches!(done, Some(Ok(_))) {
                    "done"
                } else {
                    "failed"
                }
                .into(),
                identity: Some(who),
                address: connection.address.map(|address| address.to_string()),
                request: Some(format!(
                    "{} {}",
                    call.method,
                    call.path.join("/").chars().take(256).collect::<String>()
                )),
                ..AuditEntry::default()
            });
        }
        done.unwrap_or_else(|| Err(not_found()))
    }

    /// The name of the API token that a request carries.
    async fn authenticate(&self, connection: &Connection, headers: &HeaderMap) -> Result<String, Failure> {
        let refused = || Failure::new(StatusCode::FORBIDDEN, "Authentication error");
        let at = now();
        let throttle = &self.0.0.throttle;
        if throttle.refuses(connection.address, THROTTLED, at).is_some() {
            return Err(Failure::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many failed attempts; try again later",
            ));
        }
        let snapshot = self.0.0.watched.current().await?;
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().split_at_checked(7))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
            .map(|(_, token)| token.trim_ascii());
        let Some(token) = token else {
            return Err(refused());
        };
        // Every token is compared, whichever it is: time tells nothing.
        let matching = snapshot
            .api_tokens
            .iter()
            .filter(|known| known.hash.matches(token))
            .filter(|known| known.expires_at.is_none_or(|end| at < end))
            .fold(None, |_, known| Some(known.name.clone()));
        match matching {
            Some(name) => {
                throttle.succeeded(connection.address, THROTTLED, at);
                Ok(name)
            }
            None => {
                throttle.failed(connection.address, THROTTLED, at);
                Err(refused())
            }
        }
    }

    async fn route(&self, call: &Call) -> Option<Result<Success, Failure>> {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["service_tokens", rest @ ..] => self.tokens(call, rest).await,
            ["apps", rest @ ..] => self.applications(call, rest).await,
            ["policies", rest @ ..] => self.policies(call, None, rest).await,
            ["groups", rest @ ..] => self.groups(call, rest).await,
            ["keys", rest @ ..] => self.keys(call, rest).await,
            ["organizations"] => self.organization(call).await,
            _ => None,
        }
    }
}

impl Service for Admin {
    async fn call(&self, connection: &Connection, request: Request<Body>) -> Response<Body> {
        match self.answer(connection, request).await {
            Ok(success) => success.into_response(),
            Err(failure) => failure.into_response(),
        }
    }
}
