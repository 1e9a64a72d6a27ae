#![doc = include_str!("docs.md")]

mod adjust;
mod binding;
mod chain;
mod config;
mod decode;
mod draw;
mod encode;
mod error;
mod exif;
mod form;
mod geometry;
mod hosted;
mod kind;
mod options;
mod output;
mod picture;
mod resize;
mod saliency;
mod svg;
mod work;

use std::sync::Arc;

use bowline_binding::{Binding, Descriptor, WorkerForm};

/// The kind `images`.
pub static DESCRIPTOR: Descriptor = Descriptor {
    kind: "images",
    wrangler_key: "images",
    name_key: "binding",
    summary: "Images: transforms, overlays and formats by image codecs in Rust; hosted images on disk",
    // Module and inner binding: workerd 1.20261117.1 and miniflare 5.20261117.0.
    worker: WorkerForm::WrappedRpc {
        module: "cloudflare-internal:images-api",
        fetcher: "fetcher",
    },
    build: |entry, resources| {
        let config = config::Config::parse(entry)?;
        Ok(Arc::new(binding::Images::open(config, &resources.state)?) as Arc<dyn Binding>)
    },
};

#[cfg(test)]
mod tests;
