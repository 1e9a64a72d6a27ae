//! Reads wrangler configurations: `wrangler.jsonc`, `wrangler.json` or `wrangler.toml`, and the optional
//! `bowline.jsonc` beside it.
//!
//! `bowline.jsonc` holds what wrangler has no member for (docs/adr/0003):
//!
//! ```jsonc
//! { "bindings": { "VEC": { "dimensions": 3, "metric": "cosine" } } }
//! ```
//!
//! The members under a name are merged over the wrangler entry of that binding, which stays opaque JSON here: only the
//! binding itself knows its options. Which keys list bindings is told by the caller.

mod error;
mod file;
mod project;

pub use error::ConfigError;
pub use file::document;
pub use project::{BindingEntry, BindingKey, Project};
