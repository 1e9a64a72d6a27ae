//! The proxy: the local endpoint that holds credentials and carries requests to the remote.
//!
//! ```text
//! miniflare, wrangler … ──▶ server (capability, Host, Origin) ─┐
//! bowline dev ─────────────────────────────────────────────────┴─▶ Proxy ──▶ remote
//!                                                                    │ adds credentials to requests and upgrades
//!                                                                    └ explains refusals on every flow
//! ```
//!
//! It relays rpc and connect as opaque bytes after the upgrade and never parses Cap'n Web. Credentials go to the one
//! remote it was made for: redirects are passed back, never followed, and there is no cookie jar.
//!
//! Not here: finding credentials and telling what a refusal means (`bowline-credentials`), reading the environment and
//! printing (`bowline-cli`), and anything a binding does.

mod capability;
mod preview;
mod proxy;
mod repeat;
mod respond;
mod server;
mod warm;

pub use bowline_upstream::TlsError;
pub use capability::Capability;
pub use proxy::{Body, Deadlines, OnRefusal, Proxy, ProxyError, ProxyOptions};
pub use respond::{Failure, Hop};
pub use server::serve;
