//! Whoever answers requests in wire form: the proxy to a remote, or the router in this process.

use std::pin::Pin;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::Body;

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Answers requests in wire form (`MF-Binding`, `MF-URL`, `MF-Header-*`; `?MF-Binding=` for rpc; `MF-Connect-Address`
/// for connect).
///
/// An upgrade rides on the request: the service takes it with `hyper::upgrade::on` before it answers 101, and moves
/// the upgraded bytes itself, in a task of its own.
pub trait WireService: Send + Sync + 'static {
    /// Answers one request. Failures are answers, too. The future is dropped when the caller goes away.
    fn call(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>>;
}
