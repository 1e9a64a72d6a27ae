//! The unix sockets at which workerd finds its bindings.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use bowline_binding::{Body, WireService};
use bowline_tunnel::LateError;
use bowline_wire::header::{MF_BINDING, MF_CONNECT_ADDRESS, MF_FORWARDED_RESPONSE, MF_URL};
use bowline_wire::{WireError, flow, request};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

/// Connections at once. workerd opens one for each request under way.
const MOST_CONNECTIONS: usize = 4096;
/// Headers of one request. Each is bounded together with the others by hyper's buffer of about 400 kB.
const MOST_HEADERS: usize = 512;

/// Headers of the outer connection that a native request keeps under their own names: its framing, and the fields of
/// a WebSocket handshake by which whoever answers computes `Sec-WebSocket-Accept`.
const OUTER: [HeaderName; 6] = [
    CONNECTION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    UPGRADE,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION,
];

type Services = Arc<HashMap<String, Arc<dyn WireService>>>;

/// What is spoken at a socket. There is one socket for each, because user code writes the headers of native requests
/// and could otherwise make one look like another binding's rpc or connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Requests as user code made them, in absolute form, with `MF-Binding` injected by workerd.
    Native,
    /// Wire form, from the shim.
    Wire,
}

/// A socket being served. Dropping it ends every connection.
#[derive(Debug)]
pub(crate) struct Listener(AbortHandle);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listener {
    /// Serves a new socket at `path`.
    pub(crate) fn bind(path: &Path, dialect: Dialect, services: Services) -> std::io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        Ok(Self(
            tokio::spawn(serve(listener, dialect, services)).abort_handle(),
        ))
    }
}

async fn serve(listener: UnixListener, dialect: Dialect, services: Services) {
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // Nobody closes the semaphore; without a place there is nothing to accept.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: accepting again at once would spin.
                tracing::warn!(%error, "accept a connection of workerd");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let services = services.clone();
        connections.spawn(async move {
            let _place = place;
            let service = service_fn(move |request| {
                let services = services.clone();
                async move { Ok::<_, Infallible>(answer(request, dialect, &services).await.map(LateError::new)) }
            });
            // workerd keeps idle connections for its next request, so no deadline is put on a head: the only peer is
            // our own child, and closing under it would fail a request on its way. No Date header: user code sees it.
            let connection = hyper::server::conn::http1::Builder::new()
                .auto_date_header(false)
                .header_read_timeout(None)
                .max_headers(MOST_HEADERS)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of workerd ended");
            }
        });
    }
}

async fn answer(mut request: Request<Incoming>, dialect: Dialect, services: &Services) -> Response<Body> {
    let prepared = match dialect {
        Dialect::Native => to_wire(&mut request),
        Dialect::Wire => Ok(()),
    };
    let call = match prepared.and_then(|()| flow::classify(request.uri(), request.headers())) {
        Ok(call) => call,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let Some(service) = services.get(&call.binding) else {
        return refusal(
            StatusCode::BAD_REQUEST,
            format!("Binding \"{}\" not found", call.binding),
        );
    };
    tracing::debug!(binding.name = %call.binding, flow = call.flow.name(), "call");
    let mut response = service.call(request).await;
    response.headers_mut().remove(MF_FORWARDED_RESPONSE);
    response
}

/// Turns a request as user code made it into wire form, in place: extensions, the upgrade among them, stay.
fn to_wire<B>(request: &mut Request<B>) -> Result<(), WireError> {
    let url = request::url_value(&request.uri().to_string())?;
    let inner = request.headers_mut();
    let outer: HeaderMap = OUTER
        .iter()
        .flat_map(|name| {
            inner
                .get_all(name)
                .iter()
                .map(move |value| (name.clone(), value.clone()))
        })
        .collect();
    let binding = inner.remove(MF_BINDING);
    let same_host = {
        let authority = request
            .uri()
            .authority()
            .map(|authority| authority.as_str().as_bytes());
        request.headers().get(HOST).map(HeaderValue::as_bytes) == authority
    };
    let inner = request.headers_mut();
    // Extensions are declined, so that frames pass as they are.
    inner.remove(SEC_WEBSOCKET_EXTENSIONS);
    for name in [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION] {
        inner.remove(name);
    }
    // The URL says it already.
    if same_host {
        inner.remove(HOST);
    }
    let mut headers = request::wrap(inner)?;
    headers.extend(outer);
    // workerd injects it; without it the request is refused when it is classified.
    headers.extend(binding.map(|binding| (MF_BINDING, binding)));
    headers.insert(MF_URL, url);
    debug_assert!(
        !headers.contains_key(MF_CONNECT_ADDRESS),
        "wrapped headers are prefixed"
    );
    *request.headers_mut() = headers;
    *request.uri_mut() = Uri::from_static("/");
    Ok(())
}

fn refusal(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(bowline_binding::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wired(request: http::request::Builder) -> Request<()> {
        let mut request = request.body(()).unwrap();
        to_wire(&mut request).unwrap();
        request
    }

    #[test]
    fn user_code_writes_only_wrapped_headers() {
        let request = wired(
            Request::post("https://inner.example/a%2Fb?MF-Binding=OTHER")
                .header("mf-binding", "DB")
                .header("host", "inner.example")
                .header("mf-connect-address", "h:1")
                .header("mf-url", "http://forged/")
                .header("content-length", "3")
                .header("upgrade", "websocket")
                .header("connection", "upgrade")
                .header("sec-websocket-key", "k")
                .header("sec-websocket-extensions", "permessage-deflate")
                .header("sec-websocket-protocol", "p")
                .header("x-bytes", HeaderValue::from_bytes(b"\xc3\xa9").unwrap()),
        );
        let call = flow::classify(request.uri(), request.headers()).unwrap();
        assert_eq!((call.flow, call.binding.as_str()), (flow::Flow::Fetch, "DB"));
        assert_eq!(
            request::url(request.headers()).unwrap(),
            "https://inner.example/a%2Fb?MF-Binding=OTHER"
        );
        let mut names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "connection",
                "content-length",
                "mf-binding",
                "mf-header-mf-connect-address",
                "mf-header-mf-url",
                "mf-header-sec-websocket-protocol",
                "mf-header-x-bytes",
                "mf-url",
                "sec-websocket-key",
                "upgrade",
            ]
        );
        assert_eq!(request.headers()["mf-header-x-bytes"].as_bytes(), b"\xc3\xa9");
    }

    #[test]
    fn a_host_of_its_own_is_kept_and_a_missing_binding_is_not_made_up() {
        let request = wired(
            Request::get("http://a.example/")
                .header("mf-binding", "X")
                .header("host", "b.example"),
        );
        assert_eq!(request.headers()["mf-header-host"], "b.example");
        let request = wired(Request::get("http://a.example/"));
        assert!(flow::classify(request.uri(), request.headers()).is_err());
    }
}
