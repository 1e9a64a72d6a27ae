//! The API that tools create a preview session with.

use std::sync::Arc;

use bowline_binding::{Body, collect_boxed};
use bowline_gateway::{Connection, Service};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::control::{self, Control};
use crate::credential::{Shown, shown};
use crate::faults::{Action, Step};
use crate::stand::{HANG, StandError, State};
use crate::{answers, dispatch, upload};

/// Where the API is.
const BASE: &str = "/client/v4";
/// The header of an upload that carries the session token.
const UPLOAD_TOKEN: &str = "cf-preview-upload-config-token";
/// The largest body of a small call.
const SMALL: usize = 64 * 1024;
/// The longest name of a Worker: a DNS label.
const LONGEST_NAME: usize = 63;

/// The API, the control interface beside it, and what bindings serve beside their flows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Api(pub(crate) Arc<State>);

/// What a call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    Accounts,
    Memberships,
    Session,
    Subdomain,
    Register,
    Upload(String),
    /// Of a Worker of the account's own, of which none is kept.
    Secrets,
    Dispatch(dispatch::Call),
    Deploy(String),
    Publish(String),
}

/// Why a request is no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoRoute {
    /// It is for an account that is not there.
    Account,
    /// Nothing is there.
    Path,
}

impl NoRoute {
    fn answer(self) -> Response<Body> {
        let (code, message) = match self {
            Self::Account => (
                7003,
                "Could not route to this account, perhaps its identifier is invalid?",
            ),
            Self::Path => (7000, "No route for that URI"),
        };
        answers::error(StatusCode::NOT_FOUND, code, message)
    }
}

impl Call {
    fn parse(method: &Method, path: &str, account: &str) -> Result<Self, NoRoute> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let rest = match segments.as_slice() {
            ["accounts"] if method == Method::GET => return Ok(Self::Accounts),
            ["memberships"] if method == Method::GET => return Ok(Self::Memberships),
            ["accounts", given, rest @ ..] if *given == account => rest,
            ["accounts", _, ..] => return Err(NoRoute::Account),
            _ => return Err(NoRoute::Path),
        };
        match (method.as_str(), rest) {
            ("GET", ["workers", "subdomain", "edge-preview"]) => Ok(Self::Session),
            ("GET", ["workers", "subdomain"]) => Ok(Self::Subdomain),
            ("PUT", ["workers", "subdomain"]) => Ok(Self::Register),
            ("POST", ["workers", "scripts", name, "edge-preview"]) => Ok(Self::Upload((*name).to_owned())),
            ("GET", ["workers", "scripts", _, "secrets"]) => Ok(Self::Secrets),
            (_, ["workers", "dispatch", "namespaces", rest @ ..]) => dispatch::Call::parse(method, rest)
                .map(Self::Dispatch)
                .ok_or(NoRoute::Path),
            ("PUT", ["workers", "scripts", name]) => Ok(Self::Deploy((*name).to_owned())),
            ("POST", ["workers", "scripts", name, "subdomain"]) => Ok(Self::Publish((*name).to_owned())),
            _ => Err(NoRoute::Path),
        }
    }

    fn step(&self) -> Step {
        match self {
            Self::Accounts | Self::Memberships => Step::Api,
            Self::Session => Step::Session,
            Self::Subdomain | Self::Register | Self::Publish(_) => Step::Subdomain,
            Self::Upload(_) | Self::Deploy(_) => Step::Upload,
            Self::Dispatch(call) if call.uploads() => Step::Upload,
            Self::Dispatch(_) | Self::Secrets => Step::Api,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Memberships => "memberships",
            Self::Session => "session",
            Self::Subdomain => "subdomain",
            Self::Register => "register",
            Self::Upload(_) => "upload",
            Self::Dispatch(_) => "dispatch",
            Self::Secrets => "secrets",
            Self::Deploy(_) => "deploy",
            Self::Publish(_) => "publish",
        }
    }
}

impl Service for Api {
    async fn call(&self, connection: &Connection, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        if path.starts_with(control::BASE) {
            return Control(Arc::clone(&self.0)).call(connection, request).await;
        }
        if let Some(path) = path.strip_prefix(BASE) {
            return self.client(path, connection, request).await;
        }
        match self.0.latest().endpoint(&path) {
            Some(endpoint) => endpoint.call(request).await,
            None => answers::text(StatusCode::NOT_FOUND, format!("the API is below {BASE}\n")),
        }
    }
}

impl Api {
    /// One call of the API.
    async fn client(&self, path: &str, connection: &Connection, request: Request<Body>) -> Response<Body> {
        let state = &self.0;
        let agent = header(request.headers(), "user-agent").to_owned();
        let method = request.method().to_string();
        let (call, response) = match Call::parse(request.method(), path, &state.options.account_id) {
            Err(no_route) => (None, no_route.answer()),
            Ok(call) => {
                let action = state.strike(call.step()).await;
                let response = match action {
                    Some(action) => self.fault(action, connection).await,
                    None => self
                        .answer(&call, request)
                        .await
                        .unwrap_or_else(|error| failed(&error)),
                };
                (Some(call), response)
            }
        };
        let name = call.as_ref().map_or("unknown", Call::name);
        let mut entry = json!({
            "at": "api", "call": name, "method": method, "path": path, "user_agent": agent,
            "status": response.status().as_u16(),
        });
        if let Some(Call::Upload(script) | Call::Deploy(script) | Call::Publish(script)) = &call {
            entry["script"] = script.as_str().into();
        }
        state.note(entry);
        response
    }

    async fn fault(&self, action: Action, connection: &Connection) -> Response<Body> {
        match action {
            Action::Hang => {
                tokio::time::sleep(HANG).await;
                connection.cut();
                answers::bare(504, None)
            }
            Action::Reset => {
                connection.cut();
                answers::bare(502, None)
            }
            Action::Html => answers::html(),
            Action::Status(status, wait) => answers::bare(status, wait),
            Action::Code(code, status) => answers::coded_as(code, status),
            Action::Delay(_) | Action::Gone | Action::Unknown => answers::bare(500, None),
        }
    }

    async fn answer(&self, call: &Call, request: Request<Body>) -> Result<Response<Body>, StandError> {
        let (state, options) = (&self.0, &self.0.options);
        match shown(request.headers(), &options.api_token) {
            Shown::Right => {}
            Shown::Wrong => return Ok(answers::coded(10000)),
            Shown::Nothing => return Ok(answers::coded(9106)),
        }
        let account = json!({"id": options.account_id, "name": "Bowline's stand-in", "type": "standard"});
        Ok(match call {
            Call::Accounts => answers::page(vec![account]),
            Call::Memberships => answers::page(vec![
                json!({"id": options.account_id, "status": "accepted", "account": account}),
            ]),
            Call::Session => {
                let mut result = json!({ "token": state.sessions.issue((), options.session_lifetime)? });
                if options.exchange {
                    let ticket = state.tickets.issue((), options.session_lifetime)?;
                    result["exchange_url"] = format!("https://{}/{ticket}", state.exchange_host()).into();
                }
                answers::success(result)
            }
            Call::Subdomain if !state.is_registered() => answers::coded(10007),
            Call::Subdomain => answers::success(json!({ "subdomain": options.subdomain })),
            Call::Register => match small(request).await {
                Some(asked) if asked["subdomain"].is_string() => {
                    state.register();
                    answers::success(json!({ "subdomain": options.subdomain }))
                }
                _ => invalid("the body has no text `subdomain`"),
            },
            Call::Upload(script) => return self.upload(script, request).await,
            // wrangler asks before it uploads into a dispatch namespace, too, and takes this code for "none".
            Call::Secrets => answers::error(StatusCode::NOT_FOUND, 10007, "This Worker does not exist"),
            Call::Dispatch(call) => return call.answer(state, request).await,
            Call::Deploy(script) => self.deploy(script, request).await,
            Call::Publish(script) => self.publish(script, request).await,
        })
    }

    async fn upload(&self, script: &str, request: Request<Body>) -> Result<Response<Body>, StandError> {
        let state = &self.0;
        let (parts, body) = request.into_parts();
        if state
            .sessions
            .find(header(&parts.headers, UPLOAD_TOKEN))
            .is_none()
        {
            return Ok(answers::coded(10049));
        }
        if !state.is_registered() {
            return Ok(answers::coded(10063));
        }
        if !is_label(script) {
            return Ok(invalid(NO_LABEL));
        }
        let upload = match upload::read(script, &parts.headers, body).await {
            Ok(upload) => upload,
            Err(problem) => return Ok(invalid(&problem)),
        };
        Ok(match state.preview(upload).await? {
            Ok(preview) => {
                let mut result = json!({ "preview_token": preview.token });
                if let Some(url) = preview.tail_url {
                    result["tail_url"] = url.into();
                }
                answers::success(result)
            }
            Err(problem) => invalid(&problem),
        })
    }

    /// A Worker that stays. Nobody reaches it before it is published.
    async fn deploy(&self, script: &str, request: Request<Body>) -> Response<Body> {
        if !is_label(script) {
            return invalid(NO_LABEL);
        }
        let (parts, body) = request.into_parts();
        let deployed = match upload::read(script, &parts.headers, body).await {
            Ok(upload) => self.0.deploy(upload).await,
            Err(problem) => Err(problem),
        };
        match deployed {
            Ok(()) => answers::success(json!({ "id": script })),
            Err(problem) => invalid(&problem),
        }
    }

    /// Whether a Worker that stays answers at its host.
    async fn publish(&self, script: &str, request: Request<Body>) -> Response<Body> {
        if !self.0.is_registered() {
            return answers::coded(10063);
        }
        let asked = small(request).await;
        let Some(enabled) = asked.as_ref().and_then(|asked| asked["enabled"].as_bool()) else {
            return invalid("the body has no boolean `enabled`");
        };
        if self.0.deployed.publish(script, enabled) {
            answers::success(json!({ "enabled": enabled }))
        } else {
            invalid(&format!("there is no Worker `{script}` on this account"))
        }
    }
}

const NO_LABEL: &str = "the Worker's name cannot be part of a host name";

/// Whether a Worker may be called this: it is the first label of its host.
fn is_label(script: &str) -> bool {
    let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    (1..=LONGEST_NAME).contains(&script.len()) && script.bytes().all(label)
}

/// What is wrong with a call, for whoever made it.
fn invalid(problem: &str) -> Response<Body> {
    answers::error(StatusCode::BAD_REQUEST, 10021, problem)
}

/// The body of a small call.
pub(crate) async fn small(request: Request<Body>) -> Option<Value> {
    let body = collect_boxed(request.into_body(), SMALL).await.ok()?;
    serde_json::from_slice(&body).ok()
}

/// A failure of our own.
pub(crate) fn failed(error: &StandError) -> Response<Body> {
    tracing::error!(error = %error, "the stand-in failed");
    answers::text(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the stand-in failed; see its log\n",
    )
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
