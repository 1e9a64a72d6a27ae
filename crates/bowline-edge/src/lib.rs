#![doc = include_str!("docs.md")]
//!
//! # In the code
//!
//! [`Stand`] is the state; [`Api`], [`Edge`] and [`Control`] are services over it, to be served by `bowline-gateway`.
//! [`Isolation`] makes the private network. Not here: Access (`bowline-gateway`), bindings, and reading configurations
//! (`bowline-cli` hands them in).
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
mod deployed;
mod dispatch;
mod edge;
mod faults;
mod isolation;
mod journal;
mod line;
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
pub use line::Line;
pub use stand::{Stand, StandError, StandOptions, hosts};
pub use upload::{Module, RunUpload, RunningUpload, Upload};
