#![doc = include_str!("docs.md")]

mod binding;
mod config;
mod options;
mod uploads;

use std::sync::Arc;

use bowline_binding::{Binding, Descriptor, WorkerForm};

pub use uploads::Uploads;

/// The longest name of a Worker: a DNS label, as Cloudflare has it.
const LONGEST_NAME: usize = 63;

/// The kind `dispatch_namespace`.
pub static DESCRIPTOR: Descriptor = Descriptor {
    kind: "dispatch_namespace",
    wrangler_key: "dispatch_namespaces",
    name_key: "binding",
    summary: "the Workers of a folder and those uploaded, by name",
    worker: WorkerForm::Dispatcher,
    build: |entry, resources| {
        let config = config::Config::parse(entry, resources)?;
        Ok(Arc::new(binding::Dispatch::new(config)) as Arc<dyn Binding>)
    },
};

/// Whether a text may name a Worker or a namespace. Such a text is safe as a file name.
fn is_name(text: &str) -> bool {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(safe)
}

#[cfg(test)]
mod tests;
