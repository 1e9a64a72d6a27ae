//! Another Worker, as `env.NAME` of a service binding is in a Worker: fetched from, or called.
//!
//! Its methods can be called by name ([`Service::call`]), or through an interface that says what they take and give
//! ([`Service::interface`]):
//!
//! ```no_run
//! # use bowline_client::{Client, Error};
//! #[bowline_client::capnweb::interface(crate = "bowline_client::capnweb")]
//! trait Harbour {
//!     fn add(&self, a: f64, b: f64) -> f64;
//! }
//!
//! # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
//! let service = client.service("SVC");
//! let sum: f64 = service.call("add", (1, 2)).await?;
//! let harbour: HarbourStub = service.interface().await?;
//! assert_eq!(harbour.add(1.0, 2.0).await?, sum);
//! # Ok(())
//! # }
//! ```

use capnweb::{Stub, Value};
use http::{Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Binding, Body, Error, ErrorKind, Rpc, WebSocket};

/// A Worker by the name of its binding. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Service(Binding);

impl Service {
    /// The Worker behind a binding.
    pub fn new(binding: Binding) -> Self {
        Self(binding)
    }

    /// Its `fetch()`: the URL whole, both bodies streamed. Redirects are answers.
    pub async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        self.0.fetch(request).await
    }

    /// Its `fetch()` with a WebSocket; see [`Binding::websocket`].
    pub async fn websocket(&self, request: Request<()>) -> Result<(WebSocket, Response<()>), Error> {
        self.0.websocket(request).await
    }

    /// Calls one method, in a session of its own. `args` is a tuple: `()`, `(1,)`, `(1, "two")`.
    ///
    /// What it throws is [`ErrorKind::Rejected`], with the name, the message and the properties it was thrown with.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        args: impl Serialize,
    ) -> Result<T, Error> {
        let args = match capnweb::to_value(&args) {
            Ok(Value::Array(args)) => args,
            // `()` is nothing.
            Ok(Value::Undefined | Value::Null) => Vec::new(),
            Ok(_) => {
                let text = "arguments are given as a tuple".to_owned();
                return Err(self.0.fails(method, ErrorKind::Invalid(text)));
            }
            Err(error) => return Err(self.0.fails(method, ErrorKind::Invalid(error.message()))),
        };
        let rpc = self.0.rpc().await?;
        rpc.read(method, rpc.stub().call(method, args)).await
    }

    /// A session with it as an interface: the stub of a trait that [`capnweb::interface`] was written over. Dropping the
    /// last clone of the stub ends the session, and with it whatever came from it. Awaiting its promises has no deadline.
    pub async fn interface<S: From<Stub>>(&self) -> Result<S, Error> {
        Ok(self.0.rpc().await?.stub().clone().into())
    }

    /// A session with it, untyped: for pipelining, callbacks and streams.
    pub async fn rpc(&self) -> Result<Rpc, Error> {
        self.0.rpc().await
    }
}
