//! The wire between proxy and remote: `MF-*` headers and the three flows.
//!
//! Pure functions over `http` types. Proxy and remote both call [`flow::classify`], so they cannot disagree on what a
//! request is.
//!
//! Source: the remote-bindings proxy Worker of workers-sdk and captures of miniflare 4 and 5.

pub mod flow;
pub mod header;
pub mod request;

mod error;

pub use error::WireError;
