#![doc = include_str!("docs.md")]

mod authorizer;
mod binding;
mod bookmark;
mod config;
mod cost;
mod dump;
mod error;
mod execute;
mod rpc;
mod sqlite;
mod store;
mod wire;

use std::sync::Arc;

use bowline_binding::{Binding, Descriptor, WorkerForm};

/// The kind `d1`.
pub static DESCRIPTOR: Descriptor = Descriptor {
    kind: "d1",
    wrangler_key: "d1_databases",
    name_key: "binding",
    summary: "D1 on embedded SQLite, one file per database",
    // Module and inner bindings: workerd 1.20261117.1 and miniflare 5.20261117.0.
    worker: WorkerForm::Wrapped {
        module: "cloudflare-internal:d1-api",
        fetcher: "fetcher",
        inner: &[],
    },
    build: |entry, resources| {
        let config = config::Config::parse(entry)?;
        let store = sqlite::Sqlite::open(&config, &resources.state, config::Limits::default())?;
        Ok(Arc::new(binding::D1::new(Arc::new(store))) as Arc<dyn Binding>)
    },
};

#[cfg(test)]
mod tests;
