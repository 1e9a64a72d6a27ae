#![doc = include_str!("docs.md")]

mod binding;
mod catalog;
mod config;
mod endpoint;
mod error;
mod exchange;
mod git;
mod import;
mod namespace;
mod objects;
mod repo;
mod request;
mod token;

use std::sync::Arc;

use bowline_binding::{Binding, Descriptor, WorkerForm};

/// The kind `artifacts`.
pub static DESCRIPTOR: Descriptor = Descriptor {
    kind: "artifacts",
    wrangler_key: "artifacts",
    name_key: "binding",
    summary: "Artifacts: git repositories on disk, served to git clients, too",
    worker: WorkerForm::Rpc,
    build: |entry, resources| {
        let config = config::Config::parse(entry)?;
        let namespace = namespace::Namespace::open(config, &resources.state)?;
        Ok(Arc::new(binding::Artifacts::new(namespace)) as Arc<dyn Binding>)
    },
};
