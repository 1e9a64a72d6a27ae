//! The fetch surface: Vectorize's endpoints.

use std::pin::Pin;
use std::sync::Arc;

use bowline_binding::{
    Binding, BindingError, Body, BodyError, CallContext, FetchReply, FetchRequest, Surfaces,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::error::VectorizeError;
use crate::store::{Existing, Store};
use crate::wire;

/// A Vectorize binding.
pub(crate) struct Vectorize {
    store: Arc<dyn Store>,
}

impl Vectorize {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    async fn answer(&self, request: FetchRequest) -> Result<Vec<u8>, VectorizeError> {
        let dimensions = self.store.dimensions();
        let post = |path| match request.method {
            Method::POST => Ok(()),
            _ => Err(VectorizeError::Method { path, allow: "POST" }),
        };
        match request.path() {
            "/info" if request.method != Method::GET => Err(VectorizeError::Method {
                path: "/info",
                allow: "GET",
            }),
            "/info" => Ok(wire::info_body(&self.store.info().await?)),
            "/query" => {
                post("/query")?;
                let query = wire::query(&read(request.body, wire::MAX_BODY).await?, dimensions)?;
                Ok(wire::matches_body(&self.store.query(query).await?))
            }
            "/insert" => {
                post("/insert")?;
                self.write(request.body, Existing::Keep).await
            }
            "/upsert" => {
                post("/upsert")?;
                self.write(request.body, Existing::Replace).await
            }
            "/getByIds" => {
                post("/getByIds")?;
                let ids = wire::ids(&read(request.body, wire::MAX_BODY).await?)?;
                Ok(wire::vectors_body(&self.store.get(ids).await?))
            }
            "/deleteByIds" => {
                post("/deleteByIds")?;
                let ids = wire::ids(&read(request.body, wire::MAX_BODY).await?)?;
                Ok(wire::mutation_body(&self.store.delete(ids).await?))
            }
            path => Err(VectorizeError::NoEndpoint(path.to_owned())),
        }
    }

    async fn write(&self, body: Body, existing: Existing) -> Result<Vec<u8>, VectorizeError> {
        let vectors = wire::vectors(&read(body, wire::MAX_UPLOAD).await?, self.store.dimensions())?;
        Ok(wire::mutation_body(&self.store.write(vectors, existing).await?))
    }
}

#[async_trait::async_trait]
impl Binding for Vectorize {
    fn surfaces(&self) -> Surfaces {
        Surfaces {
            fetch: true,
            ..Surfaces::default()
        }
    }

    async fn fetch(&self, cx: &CallContext, request: FetchRequest) -> Result<FetchReply, BindingError> {
        let mut response = Response::new(bowline_binding::empty());
        let body = match self.answer(request).await {
            Ok(body) => body,
            Err(error) => {
                match error.status() {
                    StatusCode::INTERNAL_SERVER_ERROR => {
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::error!(binding.name = %cx.binding, binding.kind = "vectorize", %error, cause, "call failed");
                    }
                    _ => {
                        tracing::debug!(binding.name = %cx.binding, binding.kind = "vectorize", %error, "call refused");
                    }
                }
                if let VectorizeError::Method { allow, .. } = &error {
                    response
                        .headers_mut()
                        .insert(header::ALLOW, HeaderValue::from_static(allow));
                }
                *response.status_mut() = error.status();
                wire::error_body(&error)
            }
        };
        *response.body_mut() = bowline_binding::full(body);
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        Ok(response.into())
    }
}

/// Boxed, for the compiler cannot see through the generic future inside an `async_trait` method.
fn read(body: Body, limit: usize) -> Pin<Box<dyn Future<Output = Result<Bytes, VectorizeError>> + Send>> {
    Box::pin(async move {
        let collect: Pin<Box<dyn Future<Output = Result<Bytes, BodyError>> + Send>> =
            Box::pin(bowline_binding::collect(body, limit));
        collect.await.map_err(|error| match error {
            BodyError::TooLarge { limit } => VectorizeError::BodyTooLarge(limit),
            BodyError::Read(_) => VectorizeError::Body("request body ended early".to_owned()),
        })
    })
}
