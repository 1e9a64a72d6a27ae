#![doc = include_str!("docs.md")]

mod binding;
mod config;
mod upstream;

use std::sync::Arc;

use bowline_binding::{Binding, Descriptor, WorkerForm};

/// The kind `service`.
pub static DESCRIPTOR: Descriptor = Descriptor {
    kind: "service",
    wrangler_key: "services",
    name_key: "binding",
    summary: "another Worker, an HTTP upstream or a Cap'n Web upstream",
    worker: WorkerForm::Rpc,
    build: |entry, resources| {
        let config = config::Config::parse(entry, resources)?;
        Ok(Arc::new(binding::Service::new(config)) as Arc<dyn Binding>)
    },
};

#[cfg(test)]
mod tests;
