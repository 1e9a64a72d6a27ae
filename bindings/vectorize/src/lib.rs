#![doc = include_str!("docs.md")]

mod binding;
mod config;
mod error;
mod filter;
mod rows;
mod sqlite;
mod store;
mod wire;

use std::sync::Arc;

use bowline_binding::{Binding, Descriptor};

/// The kind `vectorize`.
pub static DESCRIPTOR: Descriptor = Descriptor {
    kind: "vectorize",
    wrangler_key: "vectorize",
    name_key: "binding",
    summary: "Vectorize with exact search, kept in SQLite",
    build: |entry, resources| {
        let config = config::Config::parse(entry)?;
        let store = sqlite::Sqlite::open(&config, &resources.state)?;
        Ok(Arc::new(binding::Vectorize::new(Arc::new(store))) as Arc<dyn Binding>)
    },
};

#[cfg(test)]
mod tests;
