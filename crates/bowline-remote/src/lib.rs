//! The remote: what stands at the far end of the line, and the same router for bindings placed `local`.
//!
//! ```text
//! connection ─▶ gateway (bowline-gateway) ─ Permit ─▶ router ─▶ Binding::{fetch, target, connect} ─▶ store
//! ```
//!
//! Not here: Access (`bowline-gateway`), reading configuration files (`bowline-config`), printing (`bowline-cli`), and what any kind of binding
//! does (its own crate; only [`REGISTRY`] names them).

mod registry;
mod remote;
mod respond;
mod router;
mod upgrade;

/// Workers uploaded into dispatch namespaces: the binding finds what whoever answers the API has put there.
pub use bowline_dispatch::Uploads as DispatchUploads;
pub use registry::REGISTRY;
pub use remote::Remote;
pub use router::Router;
pub use upgrade::{Malformed, accept as accept_upgrade};
