#![doc = include_str!("docs.md")]

mod binding;
mod config;
mod draft;
mod error;
mod raw;
mod render;
mod store;

use std::sync::Arc;

use bowline_binding::{Binding, Descriptor};

/// The kind `send_email`.
pub static DESCRIPTOR: Descriptor = Descriptor {
    kind: "send_email",
    wrangler_key: "send_email",
    name_key: "name",
    summary: "mail, kept as .eml files and optionally handed to SMTP",
    build: |entry, resources| {
        let config = config::Config::parse(entry)?;
        let outbox = store::Outbox::open(&resources.state, &config.name)?;
        Ok(Arc::new(binding::SendEmail::new(config, outbox)) as Arc<dyn Binding>)
    },
};
