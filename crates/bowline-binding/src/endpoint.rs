//! HTTP that a binding answers beside the three flows.

use http::{Request, Response};

use crate::{Body, BoxFuture};

/// An endpoint for clients that are no Workers and bring credentials of the binding's own: git, or a browser with a
/// signed URL.
///
/// Access does not stand in front of it, for such clients cannot send a service token. Whoever serves it takes Access
/// credentials out of the request first; the endpoint judges everything else itself.
pub trait Endpoint: Send + Sync + 'static {
    /// The paths it claims all start with this; it has a slash at both ends.
    fn prefix(&self) -> &str;

    /// Tells where it is served from now on: scheme and authority without a slash at the end, such as
    /// `http://127.0.0.1:8787`. The binding shows URLs below it.
    fn mounted(&self, origin: &str);

    /// Answers one request; refusals and failures are answers, too. The future may be dropped when the client goes
    /// away.
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>>;
}
