//! The router's bindings behind a gate, and their endpoints beside it.

use std::sync::Arc;

use bowline_access::strip_access;
use bowline_binding::Body;
use bowline_gateway::{Connection, Gate, Service};
use http::{Request, Response, StatusCode};

use crate::{Router, respond};

/// Gate and router as one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Remote {
    /// `None`: nobody passes, and only endpoints are served.
    gate: Option<Gate<Router>>,
    router: Arc<Router>,
}

impl Remote {
    /// `router` behind `gateway`.
    pub fn new(gateway: bowline_gateway::Gateway, router: Arc<Router>) -> Self {
        Self {
            gate: Some(Gate::new(gateway, Arc::clone(&router))),
            router,
        }
    }

    /// The endpoints of `router` and nothing else: what stands beside bindings that are placed in this process.
    pub fn endpoints_only(router: Arc<Router>) -> Self {
        Self { gate: None, router }
    }
}

impl Service for Remote {
    /// Access first, unless the path is an endpoint's, which has credentials of its own.
    async fn call(&self, connection: &Connection, mut request: Request<Body>) -> Response<Body> {
        if let Some(endpoint) = self.router.endpoint(request.uri().path()) {
            // What is Access's goes; `Authorization` is where an endpoint's own clients put their token.
            strip_access(request.headers_mut(), None);
            return endpoint.call(request).await;
        }
        match &self.gate {
            Some(gate) => gate.call(connection, request).await,
            None => respond::text(StatusCode::NOT_FOUND, "there is nothing here"),
        }
    }
}
