//! One binding, untyped: fetch and rpc.

use std::sync::Arc;

use bowline_binding::BodyError;
use bowline_wire::header::{MF_BINDING, MF_FORWARDED_RESPONSE};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde::de::DeserializeOwned;

use crate::{Body, Client, Error, ErrorKind, Rpc, body, full};

/// Bytes that are read of an answer that nobody asked for.
const SAID: usize = 4 * 1024;

/// A binding of whatever kind. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Binding {
    client: Client,
    name: Arc<str>,
}

impl Binding {
    pub(crate) fn new(client: Client, name: Arc<str>) -> Self {
        Self { client, name }
    }

    /// The name it has at the remote.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// `env.NAME.fetch()`: one HTTP request to the binding, its URL whole, both bodies streamed. Redirects are answers.
    ///
    /// An answer of the binding is a response, whatever its status. What the remote or a proxy on the way answers in the
    /// binding's place is an error.
    pub async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        self.request("fetch", request).await
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
        let text = match bowline_binding::collect(response.into_body(), SAID).await {
            Ok(said) => String::from_utf8_lossy(&said).trim().to_owned(),
            Err(_) => "(not read to its end)".to_owned(),
        };
        Err(self.fails(operation, ErrorKind::OnTheWay { status, text }))
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
