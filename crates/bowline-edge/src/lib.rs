//! A stand-in for Cloudflare's API of preview sessions, and for the edge that the sessions run on.
//!
//! ```text
//! wrangler, Vite, Vitest ─▶ API   /client/v4    account, subdomain, session token, upload ─▶ preview token
//!  (unmodified)                                                                 │
//!       └── TLS, port 443 ─▶ edge  NAME.SUBDOMAIN.workers.dev                    ▼
//!                             Access (bowline-gateway) ─ Permit ─▶ which preview? ─▶ its bindings (bowline-remote)
//! ```
//!
//! The API answers what the tools ask of it and nothing else; the edge answers for the uploaded bindings with Bowline's own
//! and does not run the uploaded Worker, unless it is given something to run it with ([`RunUpload`]).
//! [`Faults`] make either misbehave on demand, from outside through [`Control`].
//!
//! Not here: Access (`bowline-gateway`), bindings, and reading configurations (`bowline-cli` hands them in).
//!
//! Source of outside facts: unmodified wrangler 4.164.0, @cloudflare/vite-plugin 1.64.0 and
//! @cloudflare/vitest-pool-workers 0.23.0 at work, and the text of what they ship. Nothing here was compared with
//! Cloudflare's own API; what nobody has seen there is a setting or this stand-in's own choice, and says so.

mod access;
mod answers;
mod api;
mod bindings;
mod certificates;
mod control;
mod credential;
mod edge;
mod faults;
mod isolation;
mod journal;
mod stand;
mod tail;
mod tokens;
mod upload;

pub use access::{AccessMode, AccessPair};
pub use api::Api;
pub use bindings::Bindings;
pub use certificates::{Authority, CertificateError};
pub use control::Control;
pub use edge::Edge;
pub use faults::{Fault, FaultError, Faults};
pub use isolation::{Isolation, IsolationError};
pub use stand::{Stand, StandError, StandOptions, hosts};
pub use upload::{Module, RunUpload, RunningUpload, Upload};
