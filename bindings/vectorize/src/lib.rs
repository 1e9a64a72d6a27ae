#![doc = include_str!("docs.md")]

mod binding;
mod builder;
mod column;
mod config;
mod database;
mod embedded;
mod error;
mod filter;
mod index;
mod qdrant;
mod rows;
mod state;
mod store;
mod values;
mod wire;

use std::sync::Arc;

use bowline_binding::{Binding, Descriptor, InnerBinding, WorkerForm};

/// The kind `vectorize`.
pub static DESCRIPTOR: Descriptor = Descriptor {
    kind: "vectorize",
    wrangler_key: "vectorize",
    name_key: "binding",
    summary: "Vectorize with exact search, and an approximate index for large ones",
    // Module and inner bindings: workerd 1.20261117.1 and miniflare 5.20261117.0.
    worker: WorkerForm::Wrapped {
        module: "cloudflare-internal:vectorize-api",
        fetcher: "fetcher",
        inner: &[
            ("indexId", InnerBinding::Entry("index_name")),
            ("indexVersion", InnerBinding::Text("v2")),
            ("useNdJson", InnerBinding::Json("true")),
        ],
    },
    build: |entry, resources| {
        let config = config::Config::parse(entry)?;
        let store = match qdrant::configured(entry, &config, resources)? {
            Some(store) => store,
            None => Arc::new(embedded::Embedded::open(&config, &resources.state)?),
        };
        Ok(Arc::new(binding::Vectorize::new(store)) as Arc<dyn Binding>)
    },
};

#[cfg(test)]
mod tests;
