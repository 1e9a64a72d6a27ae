#![doc = include_str!("docs.md")]

mod backend;
mod binding;
mod cloudflare;
mod config;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod gateway;
mod inference;
mod markdown;
mod models;
mod openai;
mod rpc;

use std::sync::Arc;

use bowline_binding::{Binding, Descriptor, WorkerForm};

/// The kind `ai`.
pub static DESCRIPTOR: Descriptor = Descriptor {
    kind: "ai",
    wrangler_key: "ai",
    name_key: "binding",
    summary: "Workers AI and AI Gateway on OpenAI-compatible servers or Cloudflare's API",
    // Module and inner binding: workerd 1.20261117.1 and miniflare 5.20261117.0.
    worker: WorkerForm::WrappedRpc {
        module: "cloudflare-internal:ai-api",
        fetcher: "fetcher",
    },
    build: |entry, resources| {
        let table = Arc::new(config::table(entry, resources)?);
        let own = gateway::Own::new(Arc::clone(&table));
        let gateways = bowline_ai_gateway::Gateways::open(
            entry,
            DESCRIPTOR.kind,
            vec![(gateway::WORKERS_AI.to_owned(), Arc::new(own))],
            resources,
        )?;
        Ok(Arc::new(binding::Ai::new(table, gateways)) as Arc<dyn Binding>)
    },
};

#[cfg(test)]
mod tests;
