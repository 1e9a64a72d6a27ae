#![doc = include_str!("docs.md")]

mod cache;
mod config;
mod error;
mod gateway;
mod log;
mod options;
mod provider;
mod recorded;
mod step;
mod store;

pub use error::GatewayError;
pub use gateway::{Gateway, Gateways};
pub use log::Patch;
pub use options::Options;
pub use provider::{Provider, ProviderError, ProviderRequest};
pub use step::Step;

#[cfg(test)]
mod tests;
