//! The remote: what stands at the far end of the line, and the same router for bindings placed `local`.
//!
//! ```text
//! connection ─▶ Remote ─▶ gateway ─ Permit ─▶ router ─▶ Binding::{fetch, target, connect} ─▶ store
//!                            └ Refused ─▶ 403
//! ```
//!
//! Not here: reading configuration files (`bowline-config`), printing (`bowline-cli`), and what any kind of binding
//! does (its own crate; only [`REGISTRY`] names them).

mod gateway;
mod registry;
mod respond;
mod router;
mod server;
mod token_store;
mod upgrade;

pub use gateway::{Gateway, Refused};
pub use registry::REGISTRY;
pub use router::Router;
pub use server::{Remote, ServeError, serve};
pub use token_store::{TokenStore, TokenStoreError, prepare_folder};
