//! The surfaces: D1's endpoints here, its rpc form in `rpc`.

use std::pin::Pin;
use std::sync::Arc;

use bowline_binding::{
    Binding, BindingError, Body, BodyError, CallContext, FetchReply, FetchRequest, Surfaces,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::bookmark::is_session_start;
use crate::error::D1Error;
use crate::rpc::Rpc;
use crate::store::{Answer, Call, ResultsFormat, Store};
use crate::wire;

/// Carries a constraint or bookmark in, a bookmark out.
const SESSION: &str = "x-cf-d1-session-commit-token";

/// A D1 binding.
pub(crate) struct D1 {
    store: Arc<dyn Store>,
}

impl D1 {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Answers `/query` and `/execute`.
    async fn run(&self, headers: &HeaderMap, query: &str, body: Body) -> Result<Answer, D1Error> {
        if let Some(start) = headers.get(SESSION)
            && !is_session_start(start.as_bytes())
        {
            return Err(D1Error::SessionStart);
        }
        let body = read(body).await.map_err(|error| match error {
            BodyError::TooLarge { limit } => {
                D1Error::Request(format!("request body is larger than {limit} bytes"))
            }
            BodyError::Read(_) => D1Error::Request("request body ended early".to_owned()),
        })?;
        let request = wire::parse(&body)?;
        let mut format = wire::results_format(query);
        // A lone statement without a format is `run()`, documented to return rows like `all()`; the list is `exec()`,
        // whose client drops them.
        if format == ResultsFormat::None && !request.list {
            format = ResultsFormat::ArrayOfObjects;
        }
        let statements = request.statements;
        self.store.run(Call { statements, format }).await
    }
}

#[async_trait::async_trait]
impl Binding for D1 {
    fn surfaces(&self) -> Surfaces {
        Surfaces {
            fetch: true,
            rpc: true,
            ..Surfaces::default()
        }
    }

    fn target(&self, _: &CallContext) -> Result<Arc<dyn capnweb::Target>, BindingError> {
        Ok(Arc::new(Rpc(Arc::clone(&self.store))))
    }

    async fn fetch(&self, cx: &CallContext, request: FetchRequest) -> Result<FetchReply, BindingError> {
        let path = request.path().to_owned();
        let reply = match path.as_str() {
            "/query" | "/execute" | "/dump" if request.method != Method::POST => {
                let error = D1Error::Request(format!("{path} takes POST, not {}", request.method));
                let mut reply = respond(StatusCode::METHOD_NOT_ALLOWED, wire::failure(&error));
                reply
                    .headers_mut()
                    .insert(header::ALLOW, HeaderValue::from_static("POST"));
                reply
            }
            "/query" | "/execute" => {
                let query = request.query().to_owned();
                match self.run(&request.headers, &query, request.body).await {
                    Ok(answer) => {
                        let mut reply = respond(StatusCode::OK, wire::success(&answer));
                        let bookmark = HeaderValue::try_from(answer.bookmark.to_string())
                            .expect("hex digits and hyphens make a header value");
                        reply.headers_mut().insert(SESSION, bookmark);
                        reply
                    }
                    Err(error) => {
                        tracing::debug!(binding.name = %cx.binding, binding.kind = "d1", %error, "call failed");
                        respond(StatusCode::OK, wire::failure(&error))
                    }
                }
            }
            "/dump" => match self.store.dump().await {
                Ok(body) => {
                    let mut reply = Response::new(body);
                    let octets = HeaderValue::from_static("application/octet-stream");
                    reply.headers_mut().insert(header::CONTENT_TYPE, octets);
                    reply
                }
                Err(error) => {
                    tracing::info!(binding.name = %cx.binding, binding.kind = "d1", %error, "dump failed");
                    respond(StatusCode::INTERNAL_SERVER_ERROR, wire::failure(&error))
                }
            },
            _ => {
                let error = D1Error::Request(format!("D1 has no endpoint {path}"));
                respond(StatusCode::NOT_FOUND, wire::failure(&error))
            }
        };
        Ok(reply.into())
    }
}

/// Boxed, for the compiler cannot see through the generic future inside an `async_trait` method.
fn read(body: Body) -> Pin<Box<dyn Future<Output = Result<Bytes, BodyError>> + Send>> {
    Box::pin(bowline_binding::collect(body, wire::MAX_BODY))
}

fn respond(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(bowline_binding::full(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
