#![doc = include_str!("docs.md")]

mod cache;
mod config;
mod credential;
mod error;
mod gateway;
mod log;
mod options;
mod provider;
mod recorded;
mod step;
mod store;

pub use config::url;
pub use credential::Credential;
pub use error::GatewayError;
pub use gateway::{Gateway, Gateways};
pub use log::Patch;
pub use options::Options;
pub use provider::{Provider, ProviderError, ProviderRequest};
pub use step::Step;

#[cfg(test)]
mod tests;
