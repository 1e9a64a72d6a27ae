#![doc = include_str!("docs.md")]

mod binding;
mod config;

use std::sync::Arc;

use bowline_binding::{Binding, Descriptor, WorkerForm};

/// The kind `vpc_network`.
pub static DESCRIPTOR: Descriptor = Descriptor {
    kind: "vpc_network",
    wrangler_key: "vpc_networks",
    name_key: "binding",
    summary: "TCP and HTTP to an explicit list of host:port",
    worker: WorkerForm::Network,
    build: |entry, _resources| {
        let config = config::Config::parse(entry)?;
        Ok(Arc::new(binding::VpcNetwork::new(config)) as Arc<dyn Binding>)
    },
};
