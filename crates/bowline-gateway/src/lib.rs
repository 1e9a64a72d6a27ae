//! A gate that behaves like Cloudflare Access, in front of a router of bindings or of any HTTP origin.
//!
//! ```text
//! listener ─▶ Gateway ─▶ /cdn-cgi/access/*            answered here
//!                │
//!                ├─▶ which application? ─▶ who is it? ─▶ evaluate ─┬─ Permit ─▶ Guarded (router, Origin)
//!                │       (bowline-access, on a Snapshot)           └─ Denial ─▶ refusal: 302, 401, 403
//!                ├─▶ Keys: application tokens, signed and verified
//!                ├─▶ Throttle: failed attempts      Journal: audit log, last use
//!                └─▶ Live: upgraded connections, cut when what admitted them ends
//! ```
//!
//! People log in while developing ([`DevelopmentLogin`]) or at an identity provider ([`OidcLogin`]).
//!
//! Not here: judging (`bowline-access`, pure), storing (`bowline-access-store`).

mod addresses;
mod admin;
mod challenge;
mod connection;
mod endpoints;
mod gateway;
mod identify;
mod journal;
mod keys;
mod live;
mod login;
mod maintenance;
mod origin;
mod respond;
mod server;
mod throttle;
mod tls;

pub use admin::{Admin, application_object, policy_object, timestamp, token_object};
pub use connection::Connection;
pub use gateway::{Gateway, GatewayError, GatewayOptions, Guarded, Mode};
pub use keys::KeyError;
pub use login::{DevelopmentLogin, Login, OidcError, OidcLogin, OidcSettings};
pub use maintenance::rotate as rotate_key;
pub use origin::{Origin, OriginError};
pub use server::{CONNECTIONS_OF_ONE, Gate, Listening, ServeError, Service, serve};
pub use tls::{Tls, TlsError, TlsSettings};

use bowline_binding::{Body, BodyError, BoxFuture, collect};
use hyper::body::Bytes;

/// Seconds since 1970, now.
pub fn now() -> bowline_access::UnixSeconds {
    jiff::Timestamp::now().as_second()
}

/// A body, up to a limit. Boxed, because a future that is generic over the body's error is not recognised as `Send` by
/// callers.
fn whole(body: Body, limit: usize) -> BoxFuture<'static, Result<Bytes, BodyError>> {
    Box::pin(collect(body, limit))
}
