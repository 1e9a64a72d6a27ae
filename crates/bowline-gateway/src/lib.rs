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
//! Not here: judging (`bowline-access`, pure), storing (`bowline-access-store`), and logins of people: a session that a
//! login made is judged, but nothing here makes one yet.

mod admin;
mod challenge;
mod connection;
mod endpoints;
mod gateway;
mod identify;
mod journal;
mod keys;
mod live;
mod maintenance;
mod origin;
mod respond;
mod server;
mod throttle;

pub use admin::{Admin, application_object, policy_object, timestamp, token_object};
pub use connection::Connection;
pub use gateway::{Gateway, GatewayError, GatewayOptions, Guarded, Mode};
pub use keys::KeyError;
pub use maintenance::rotate as rotate_key;
pub use origin::{Origin, OriginError};
pub use server::{Gate, ServeError, Service, serve};

/// Seconds since 1970, now.
pub fn now() -> bowline_access::UnixSeconds {
    jiff::Timestamp::now().as_second()
}
