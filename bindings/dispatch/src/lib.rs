#![doc = include_str!("docs.md")]

mod binding;
mod config;
mod options;

use std::sync::Arc;

use bowline_binding::{Binding, Descriptor, WorkerForm};

/// The kind `dispatch_namespace`.
pub static DESCRIPTOR: Descriptor = Descriptor {
    kind: "dispatch_namespace",
    wrangler_key: "dispatch_namespaces",
    name_key: "binding",
    summary: "the Workers of a folder, by name",
    worker: WorkerForm::Dispatcher,
    build: |entry, resources| {
        let config = config::Config::parse(entry, resources)?;
        Ok(Arc::new(binding::Dispatch::new(config)) as Arc<dyn Binding>)
    },
};

#[cfg(test)]
mod tests;
