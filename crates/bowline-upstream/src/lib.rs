//! HTTP/1.1 to the next hop: pooled connections over TCP or TLS that send what they are given.
//!
//! Nothing is added, followed, unpacked or retried: header case and bytes stay, redirects are answers. HTTP/1.1 alone,
//! because upgrades need it and HTTP/2 has no reason phrases.

mod client;
mod events;
mod http;
mod tls;

pub use client::{Client, Connector, IDLE, Upstream, client};
pub use events::{EventTooLong, Events, event};
pub use http::{Body, BoxError, Http, HttpError, Waits};
pub use tls::{TlsError, certificates, client_config};
