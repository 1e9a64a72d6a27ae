//! One binding, untyped: fetch and rpc.

use std::sync::Arc;

use bowline_binding::BodyError;
use bowline_wire::header::{MF_BINDING, MF_DISPATCH_NAMESPACE_OPTIONS, MF_FORWARDED_RESPONSE};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde::de::DeserializeOwned;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::upgrade::{Outcome, upgrade};
use crate::{Body, Client, Error, ErrorKind, Rpc, WebSocket, body, full};

/// Bytes that are read of an answer that nobody asked for.
const SAID: usize = 4 * 1024;

/// A binding of whatever kind. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Binding {
    client: Client,
    name: Arc<str>,
    /// What goes with every call besides the name: which Worker of a dispatch namespace, as JSON.
    options: Option<Arc<str>>,
}

impl Binding {
    pub(crate) fn new(client: Client, name: Arc<str>) -> Self {
        Self {
            client,
            name,
            options: None,
        }
    }

    pub(crate) fn with_options(&self, options: impl Into<Arc<str>>) -> Self {
        Self {
            options: Some(options.into()),
            ..self.clone()
        }
    }

    /// The name it has at the remote.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn options(&self) -> Option<&str> {
        self.options.as_deref()
    }

    /// `env.NAME.fetch()`: one HTTP request to the binding, its URL whole, both bodies streamed. Redirects are answers.
    ///
    /// An answer of the binding is a response, whatever its status. What the remote or a proxy on the way answers in the
    /// binding's place is an error.
    pub async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        self.request("fetch", request).await
    }

    /// A WebSocket inside fetch. The head of the answer has the protocol that was chosen of those that the request's
    /// `Sec-WebSocket-Protocol` offers. An answer that is no WebSocket is an error with its status and first words.
    pub async fn websocket(&self, request: Request<()>) -> Result<(WebSocket, Response<()>), Error> {
        const OPERATION: &str = "websocket";
        let request = self.wrapped(OPERATION, request.map(|()| bowline_binding::empty()))?;
        let response = match upgrade(self, OPERATION, request).await? {
            Outcome::Switched(upgraded, head) => {
                let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
                return Ok((socket, head));
            }
            Outcome::Answered(response) => response,
        };
        let response = response.map(|body| body::timed(body, self.client.deadlines().idle));
        let marked = response.headers().contains_key(MF_FORWARDED_RESPONSE);
        let status = response.status();
        let text = first_words(response.into_body()).await;
        if marked || status.is_success() || status.is_redirection() {
            return Err(self.refused(OPERATION, status, None, text));
        }
        Err(self.fails(OPERATION, ErrorKind::OnTheWay { status, text }))
    }

    /// `env.NAME` as an object with methods: one session of Cap'n Web.
    pub async fn rpc(&self) -> Result<Rpc, Error> {
        Rpc::open(self).await
    }

    pub(crate) fn fails(&self, operation: &'static str, kind: ErrorKind) -> Error {
        Error {
            binding: Arc::clone(&self.name),
            operation,
            kind: Box::new(kind),
        }
    }

    pub(crate) fn name_value(&self, operation: &'static str) -> Result<HeaderValue, Error> {
        HeaderValue::from_bytes(self.name.as_bytes()).map_err(|_| {
            let text = "a binding's name must not have control characters";
            self.fails(operation, ErrorKind::Invalid(text.to_owned()))
        })
    }

    /// As [`Binding::fetch`], in the name of a typed client's method.
    pub(crate) async fn request(
        &self,
        operation: &'static str,
        request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        let outer = self.wrapped(operation, request)?;
        let response = self.client.proxy().exchange("/", outer).await;
        let response = response.map_err(|failure| self.fails(operation, ErrorKind::Line(failure)))?;
        let mut response = response.map(|body| body::timed(body, self.client.deadlines().idle));
        let marked = response.headers_mut().remove(MF_FORWARDED_RESPONSE).is_some();
        let status = response.status();
        let text = response
            .headers()
            .get(CONTENT_TYPE)
            .is_none_or(|kind| kind.as_bytes().starts_with(b"text/"));
        // Remotes that mark nothing still answer for a binding, so only an error in words is taken for their own.
        if marked || status.is_success() || status.is_redirection() || !text {
            return Ok(response);
        }
        let text = first_words(response.into_body()).await;
        Err(self.fails(operation, ErrorKind::OnTheWay { status, text }))
    }

    /// The request as it travels: what it asks for inside, whom it asks outside.
    fn wrapped(&self, operation: &'static str, request: Request<Body>) -> Result<Request<Body>, Error> {
        let invalid =
            |error: bowline_wire::WireError| self.fails(operation, ErrorKind::Invalid(error.to_string()));
        let (inner, body) = request.into_parts();
        let url = bowline_wire::request::url_value(&inner.uri.to_string()).map_err(invalid)?;
        let mut outer = Request::new(body);
        *outer.method_mut() = inner.method;
        *outer.uri_mut() = Uri::from_static("/");
        let headers = outer.headers_mut();
        *headers = bowline_wire::request::wrap(&inner.headers).map_err(invalid)?;
        headers.insert(MF_BINDING, self.name_value(operation)?);
        headers.insert(bowline_wire::header::MF_URL, url);
        if let Some(options) = &self.options {
            let value = HeaderValue::from_bytes(options.as_bytes()).map_err(|_| {
                let text = "options must not have control characters";
                self.fails(operation, ErrorKind::Invalid(text.to_owned()))
            })?;
            headers.insert(MF_DISPATCH_NAMESPACE_OPTIONS, value);
        }
        Ok(outer)
    }

    /// A call with a JSON body, or none for a GET. The status of the answer and its whole body.
    pub(crate) async fn call(
        &self,
        operation: &'static str,
        url: &str,
        content: Option<(&'static str, Bytes)>,
        headers: &[(&'static str, HeaderValue)],
    ) -> Result<(Response<()>, Bytes), Error> {
        let mut request = Request::new(bowline_binding::empty());
        *request.uri_mut() = url
            .parse()
            .map_err(|_| self.fails(operation, ErrorKind::Invalid(format!("{url} is no URL"))))?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.clone());
        }
        if let Some((kind, content)) = content {
            *request.method_mut() = Method::POST;
            *request.body_mut() = full(content);
            let kind = HeaderValue::from_static(kind);
            request.headers_mut().insert(CONTENT_TYPE, kind);
        }
        let (parts, body) = self.request(operation, request).await?.into_parts();
        let body = bowline_binding::collect(body, self.client.largest_answer())
            .await
            .map_err(|error| self.unread(operation, error))?;
        Ok((Response::from_parts(parts, ()), body))
    }

    /// Reads JSON of a known form.
    pub(crate) fn read<T: DeserializeOwned>(&self, operation: &'static str, body: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(body)
            .map_err(|error| self.fails(operation, ErrorKind::Answer(error.to_string())))
    }

    /// The failure that a status tells.
    pub(crate) fn refused(
        &self,
        operation: &'static str,
        status: StatusCode,
        code: Option<i64>,
        message: impl Into<String>,
    ) -> Error {
        let message = message.into();
        self.fails(
            operation,
            ErrorKind::Binding {
                status,
                code,
                message,
            },
        )
    }

    fn unread(&self, operation: &'static str, error: BodyError) -> Error {
        self.fails(operation, ErrorKind::Body(error))
    }
}

/// The beginning of an answer that nobody asked for.
async fn first_words(body: Body) -> String {
    match bowline_binding::collect(body, SAID).await {
        Ok(said) => String::from_utf8_lossy(&said).trim().to_owned(),
        Err(_) => "(not read to its end)".to_owned(),
    }
}
