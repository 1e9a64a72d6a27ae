//! From a permit and a request to a binding, by name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bowline_access::{Permit, strip_credentials};
use bowline_binding::{
    Binding, BindingError, Body, BoxDuplex, BoxFuture, CallContext, ConnectAddress, Endpoint, ErrorKind,
    FetchReply, FetchRequest, UpgradeRequest,
};
use bowline_gateway::Guarded;
use bowline_wire::flow::{Flow, classify};
use http::header::{SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION};
use http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;

use crate::{respond, upgrade};

/// The longest a binding may take to the head of its answer; bindings have shorter deadlines of their own.
const ANSWER: Duration = Duration::from_secs(120);
/// How long a client may take to complete an upgrade that was answered.
const UPGRADE: Duration = Duration::from_secs(30);
/// What is read of a session that somebody else serves before they are asked for.
const FIRST_BYTES: usize = 4096;

/// Binding names and what answers to them.
#[derive(Default)]
pub struct Router {
    bindings: HashMap<String, Arc<dyn Binding>>,
    endpoints: Vec<Arc<dyn Endpoint>>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.bindings.keys()).finish()
    }
}

impl Router {
    /// Adds a binding; a second one of the same name replaces the first.
    pub fn add(&mut self, name: &str, binding: Arc<dyn Binding>) {
        self.endpoints.extend(binding.endpoint());
        self.bindings.insert(name.to_owned(), binding);
    }

    /// Whether there is no binding at all.
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    /// Whether a binding serves anything beside the flows.
    pub fn has_endpoints(&self) -> bool {
        !self.endpoints.is_empty()
    }

    /// Tells the bindings' endpoints where they are reached: `http://127.0.0.1:8787`.
    pub fn mounted(&self, origin: &str) {
        for endpoint in &self.endpoints {
            endpoint.mounted(origin);
        }
    }

    /// The endpoint that claims a path.
    pub fn endpoint(&self, path: &str) -> Option<&Arc<dyn Endpoint>> {
        self.endpoints
            .iter()
            .find(|endpoint| path.starts_with(endpoint.prefix()))
    }

    /// Serves one request that Access let in.
    pub async fn route(&self, permit: Permit, request: Request<Body>) -> Response<Body> {
        let call = match classify(request.uri(), request.headers()) {
            Ok(call) => call,
            Err(error) => return respond::text(StatusCode::BAD_REQUEST, error.to_string()),
        };
        let Some(binding) = self.bindings.get(&call.binding) else {
            return respond::text(
                StatusCode::BAD_REQUEST,
                format!("Binding \"{}\" not found", call.binding),
            );
        };
        let cx = CallContext::new(call.binding.as_str(), permit.identity()).with_options(call.options);
        tracing::debug!(
            flow = call.flow.name(),
            binding.name = %cx.binding,
            access.identity = permit.identity(),
            access.policy = permit.policy(),
            "call"
        );
        match (call.flow, call.address) {
            (Flow::Rpc, _) => rpc(binding.as_ref(), &cx, request),
            (Flow::Connect, Some(address)) => connect(Arc::clone(binding), cx, &address, request),
            _ => fetch(binding.as_ref(), &cx, request).await,
        }
    }
}

impl Guarded for Router {
    // Bindings know nothing of Access.
    const SESSIONS: bool = false;

    async fn call(&self, permit: Permit, mut request: Request<Body>) -> Response<Body> {
        strip_credentials(request.headers_mut());
        self.route(permit, request).await
    }
}

async fn fetch(binding: &dyn Binding, cx: &CallContext, mut request: Request<Body>) -> Response<Body> {
    let unwrapped = bowline_wire::request::url(request.headers())
        .and_then(|url| Ok((url, bowline_wire::request::unwrap(request.headers())?)));
    let (url, headers) = match unwrapped {
        Ok(unwrapped) => unwrapped,
        Err(error) => return respond::text(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let wants_upgrade = request.headers().contains_key(http::header::UPGRADE);
    if wants_upgrade && let Err(malformed) = upgrade::accept(&request) {
        return malformed.into_response();
    }
    let upgrade = match (
        request.headers().get(SEC_WEBSOCKET_KEY),
        request.headers().get(SEC_WEBSOCKET_VERSION),
    ) {
        (Some(key), Some(version)) if wants_upgrade => Some(UpgradeRequest {
            key: key.clone(),
            version: version.clone(),
        }),
        _ => None,
    };
    let on_upgrade = wants_upgrade.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let inner = FetchRequest {
        method: parts.method,
        url,
        headers,
        body,
        upgrade,
    };
    let reply = match tokio::time::timeout(ANSWER, binding.fetch(cx, inner)).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => {
            tracing::info!(binding.name = %cx.binding, error.kind = ?error.kind, error = %error, "fetch failed");
            return respond::binding_error(&error);
        }
        Err(_) => {
            let text = format!(
                "binding \"{}\" gave no answer within {} s",
                cx.binding,
                ANSWER.as_secs()
            );
            return respond::text(StatusCode::GATEWAY_TIMEOUT, text);
        }
    };
    match (reply, on_upgrade) {
        (FetchReply::Response(mut response), _) => {
            respond::mark_forwarded(&mut response);
            response
        }
        (FetchReply::Upgrade { headers, duplex }, Some(on_upgrade)) => {
            tokio::spawn(async move {
                let Ok(Ok(upgraded)) = tokio::time::timeout(UPGRADE, on_upgrade).await else {
                    return;
                };
                // Either side's end is the other's; how it ended is theirs to tell in their own frames.
                bowline_tunnel::splice(TokioIo::new(upgraded), duplex).await;
            });
            upgrade::switching(headers)
        }
        (FetchReply::Upgrade { .. }, None) => respond::text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the binding switched protocols without being asked",
        ),
    }
}

fn rpc(binding: &dyn Binding, cx: &CallContext, mut request: Request<Body>) -> Response<Body> {
    let response = match upgrade::accept(&request) {
        Ok(response) => response,
        Err(malformed) => return malformed.into_response(),
    };
    let (on_upgrade, name) = (hyper::upgrade::on(&mut request), Arc::clone(&cx.binding));
    if let Some(open) = binding.session(cx) {
        tokio::spawn(async move {
            let Ok(Ok(upgraded)) = tokio::time::timeout(UPGRADE, on_upgrade).await else {
                return;
            };
            carried_session(TokioIo::new(upgraded), open, &name).await;
        });
        return response;
    }
    // Clients open an rpc upgrade for every binding, also for those that only ever fetch, so it is accepted and only a
    // call on it fails.
    let target = binding
        .target(cx)
        .unwrap_or_else(|error| Arc::new(NoMethods(error.message)));
    tokio::spawn(async move {
        let Ok(Ok(upgraded)) = tokio::time::timeout(UPGRADE, on_upgrade).await else {
            return;
        };
        let session =
            capnweb::serve_upgraded(TokioIo::new(upgraded), target, capnweb::SessionOptions::default());
        if let Err(error) = session.await {
            tracing::debug!(binding.name = %name, error = %error, "rpc session ended");
        }
    });
    response
}

/// A session that somebody else serves. Nobody is bothered before its first byte; when nobody can be reached then, every
/// call is rejected with the reason.
async fn carried_session(
    client: TokioIo<hyper::upgrade::Upgraded>,
    open: BoxFuture<'static, Result<BoxDuplex, BindingError>>,
    name: &str,
) {
    let (mut from_client, to_client) = tokio::io::split(client);
    let mut first = vec![0; FIRST_BYTES];
    match from_client.read(&mut first).await {
        Ok(count @ 1..) => first.truncate(count),
        _ => return,
    }
    let opened = tokio::time::timeout(ANSWER, open).await.unwrap_or_else(|_| {
        let text = format!("binding \"{name}\" gave no session within {} s", ANSWER.as_secs());
        Err(BindingError::new(ErrorKind::Unavailable, "rpc", text))
    });
    let client = tokio::io::join(std::io::Cursor::new(first).chain(from_client), to_client);
    match opened {
        Ok(duplex) => bowline_tunnel::splice(client, duplex).await,
        Err(error) => {
            tracing::info!(binding.name = %name, error.kind = ?error.kind, error = %error, "rpc failed");
            let socket = bowline_tunnel::server_socket(client).await;
            bowline_tunnel::reject_rpc(socket, &error.message, "the binding's target cannot be reached")
                .await;
        }
    }
}

fn connect(
    binding: Arc<dyn Binding>,
    cx: CallContext,
    address: &str,
    mut request: Request<Body>,
) -> Response<Body> {
    let Some(to) = ConnectAddress::parse(address) else {
        return respond::text(
            StatusCode::BAD_REQUEST,
            bowline_wire::WireError::Address.to_string(),
        );
    };
    let response = match upgrade::accept(&request) {
        Ok(response) => response,
        Err(malformed) => return malformed.into_response(),
    };
    let on_upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(Ok(upgraded)) = tokio::time::timeout(UPGRADE, on_upgrade).await else {
            return;
        };
        let socket = bowline_tunnel::server_socket(TokioIo::new(upgraded)).await;
        let opened = tokio::time::timeout(ANSWER, binding.connect(&cx, to)).await;
        match opened {
            Ok(Ok(stream)) => {
                let relayed = bowline_tunnel::relay(socket, stream).await;
                tracing::debug!(
                    binding.name = %cx.binding,
                    bytes.in = relayed.to_stream,
                    bytes.out = relayed.from_stream,
                    ended = ?relayed.ended,
                    "tunnel ended"
                );
            }
            Ok(Err(error)) => {
                tracing::info!(binding.name = %cx.binding, error = %error, "connect failed");
                bowline_tunnel::refuse(socket, &error.message).await;
            }
            Err(_) => bowline_tunnel::refuse(socket, "the binding gave no connection in time").await,
        }
    });
    response
}

/// The main object of a session with a binding that has no methods.
struct NoMethods(String);

impl capnweb::Target for NoMethods {
    fn call(&self, _: capnweb::Call) -> capnweb::Answer {
        capnweb::Answer::error(capnweb::Error::new("TypeError", self.0.clone()))
    }
}
