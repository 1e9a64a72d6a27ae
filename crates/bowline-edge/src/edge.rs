//! The edge: Access, then the preview token, then the preview's bindings.

use std::sync::Arc;

use bowline_access::Permit;
use bowline_binding::Body;
use bowline_gateway::{Connection, Guarded, Service};
use bowline_wire::flow::classify;
use http::header::{HOST, UPGRADE};
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri};
use serde_json::json;

use crate::answers;
use crate::api::failed;
use crate::faults::{Action, Step};
use crate::stand::{Answers, HANG, State};

/// The header that carries the preview token.
const PREVIEW_TOKEN: &str = "cf-workers-preview-token";
/// The parameter that carries it where a header cannot: the probe for Access.
const PREVIEW_PARAMETER: &str = "cf_workers_preview_token";

/// The edge. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Edge {
    state: Arc<State>,
    previews: Arc<Previews>,
}

/// What stands behind Access.
#[derive(Debug)]
struct Previews(Arc<State>);

impl Edge {
    pub(crate) fn new(state: Arc<State>) -> Self {
        let previews = Arc::new(Previews(Arc::clone(&state)));
        Self { state, previews }
    }
}

impl Service for Edge {
    async fn call(&self, connection: &Connection, request: Request<Body>) -> Response<Body> {
        let state = &self.state;
        let host = host(&request);
        let upgrade = request.headers().contains_key(UPGRADE);
        let binding = classify(request.uri(), request.headers())
            .ok()
            .map(|call| call.binding);
        let step = if host == state.exchange_host() {
            Step::Exchange
        } else {
            Step::Edge
        };
        let response = match state.strike(step).await {
            Some(action) => self.fault(action, connection).await,
            // Nothing but the address of a tail protects it.
            None if host == state.tail_host() => state.tails.accept(request),
            None => {
                let gateway = state.access.gateway();
                // A preview is asked for by its token, at the host of a Worker that stays, too.
                let deployed = state.script(&host).filter(|_| !has_token(&request));
                match deployed.and_then(|script| state.deployed.find(script)) {
                    Some(worker) => gateway.call(&*worker, connection, request).await,
                    None => gateway.call(&*self.previews, connection, request).await,
                }
            }
        };
        state.note(json!({
            "at": if step == Step::Exchange { "exchange" } else { "edge" }, "host": host, "upgrade": upgrade,
            "binding": binding, "status": response.status().as_u16(),
        }));
        response
    }
}

impl Edge {
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
            Action::Gone => answers::product_gone(),
            Action::Unknown => answers::unknown_preview(),
            Action::Code(code, status) => answers::coded_as(code, status),
            Action::Delay(_) => answers::bare(500, None),
        }
    }
}

impl Guarded for Previews {
    const SESSIONS: bool = false;

    async fn call(&self, permit: Permit, mut request: Request<Body>) -> Response<Body> {
        let state = &self.0;
        let host = host(&request);
        if host == state.exchange_host() {
            return self.exchange(request.uri().path());
        }
        let token = take_token(&mut request);
        let Some(preview) = token.as_deref().and_then(|token| state.previews.find(token)) else {
            return answers::unknown_preview();
        };
        // A client that was given a subdomain of no use calls the address itself.
        if host != state.host(&preview.script) && host != "127.0.0.1" && host != "localhost" {
            return answers::unknown_preview();
        }
        let told = preview.tail.as_deref().map(|tail| (tail, call_line(&request)));
        let response = match &preview.answers {
            Answers::Bindings(router) => router.call(permit, request).await,
            Answers::Worker(worker) => worker.call(permit, request).await,
        };
        if let Some((tail, line)) = told {
            let text = format!("{line} {}", response.status().as_u16());
            let event = json!({"logs": [{"level": "log", "message": [text]}], "exceptions": []});
            state.tails.tell(tail, &event);
        }
        response
    }
}

impl Previews {
    /// A ticket for a session token. The answer has no envelope.
    fn exchange(&self, path: &str) -> Response<Body> {
        let state = &self.0;
        if state.tickets.find(path.trim_start_matches('/')).is_none() {
            return answers::text(StatusCode::NOT_FOUND, "no such exchange\n");
        }
        match state.sessions.issue((), state.options.session_lifetime) {
            Ok(token) => answers::json(StatusCode::OK, &json!({ "token": token })),
            Err(error) => failed(&error),
        }
    }
}

/// What a request is, for a line of the tail.
fn call_line(request: &Request<Body>) -> String {
    let binding = classify(request.uri(), request.headers()).ok();
    let upgrade = if request.headers().contains_key(UPGRADE) {
        " upgrade"
    } else {
        ""
    };
    format!(
        "{}{upgrade} {}",
        request.method(),
        binding.map_or_else(|| "(no binding)".to_owned(), |call| call.binding)
    )
}

/// The host asked for, lower case, without its port.
fn host(request: &Request<Body>) -> String {
    let given = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let given = given.or_else(|| request.uri().host()).unwrap_or_default();
    let host = given.rsplit_once(':').map_or(given, |(host, _)| host);
    host.to_ascii_lowercase()
}

/// Whether a request names a preview.
fn has_token(request: &Request<Body>) -> bool {
    let mut pairs = request.uri().query().unwrap_or_default().split('&');
    request.headers().contains_key(PREVIEW_TOKEN)
        || pairs.any(|pair| {
            pair.split_once('=')
                .is_some_and(|(name, _)| name == PREVIEW_PARAMETER)
        })
}

/// Takes the preview token out of a request: whoever answers must not see it.
fn take_token(request: &mut Request<Body>) -> Option<String> {
    let header = request.headers_mut().remove(PREVIEW_TOKEN);
    let header = header.and_then(|value| value.to_str().ok().map(str::to_owned));
    let query = request.uri().query().unwrap_or_default();
    let (mut parameter, mut kept) = (None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((PREVIEW_PARAMETER, value)) => parameter = Some(value.to_owned()),
            _ => kept.push(pair),
        }
    }
    if parameter.is_some() {
        let path = request.uri().path();
        let text = if kept.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", kept.join("&"))
        };
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.path_and_query = PathAndQuery::try_from(text).ok();
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
    header.or(parameter)
}

#[cfg(test)]
mod tests {
    use bowline_binding::empty;
    use http::Request;

    use super::{PREVIEW_TOKEN, take_token};

    #[test]
    fn tokens_are_taken_out() {
        for (uri, header, token, left) in [
            ("/", Some("h"), Some("h"), "/"),
            ("/a?b=1&cf_workers_preview_token=q&c", None, Some("q"), "/a?b=1&c"),
            ("/?cf_workers_preview_token=q", None, Some("q"), "/"),
            ("/?cf_workers_preview_token=q", Some("h"), Some("h"), "/"),
            ("/?MF-Binding=DB", None, None, "/?MF-Binding=DB"),
        ] {
            let mut request = Request::builder().uri(uri);
            if let Some(header) = header {
                request = request.header(PREVIEW_TOKEN, header);
            }
            let mut request = request.body(empty()).unwrap();
            assert_eq!(take_token(&mut request).as_deref(), token, "{uri}");
            assert_eq!(request.uri().to_string(), left);
            assert!(!request.headers().contains_key(PREVIEW_TOKEN));
        }
    }
}
