//! Preview sessions at Cloudflare: made, kept alive, changed and renewed, without a pause for the requests that use them.
//!
//! ```text
//! wrangler configuration ──▶ bindings ──▶ form of the proxy Worker ─┐
//!                                                                   ▼
//! Lifecycle (when: pure) ──▶ PreviewSession (the task) ──▶ bowline-api ──▶ token ──▶ PreviewTokens ──▶ proxy
//!        ▲                                                                               │
//!        └────────────────────────── expired ◀────────────────────────────────────────────┘
//! ```
//!
//! [`lifecycle`] decides and has neither clock nor sockets; [`PreviewSession`] carries it out; the proxy only ever sees a
//! [`bowline_credentials::PreviewTokens`]. The text of the proxy Worker lies in `worker/` and is one Worker for both uses:
//! uploaded for a session, or deployed behind Access.
//!
//! What is known of Cloudflare's side is what unmodified wrangler 4.164 does against stand-ins. Not compared with Cloudflare
//! itself: how long tokens really live, where `exchange_url` and `tail_url` lead, whether a *deployed* Worker may have raw
//! bindings, and the limits on uploads. Which row of what is known is tested where, for ours and for wrangler's connector, stands in
//! `tests/e2e/tests/it/session.rs`.
//!
//! Not here: the calls themselves (`bowline-api`), carrying requests (`bowline-proxy`), reading configurations and printing
//! (`bowline-cli`).

mod bindings;
pub mod lifecycle;
pub mod proxy_worker;
mod session;
mod tail;

pub use bindings::{BindingError, ROWS, RemoteBinding, Row};
pub use lifecycle::Timing;
pub use proxy_worker::AccessGate;
pub use session::{News, OnNews, PreviewSession, SessionError, SessionOptions};
pub use tail::Log;
