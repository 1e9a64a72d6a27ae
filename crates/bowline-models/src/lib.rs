#![doc = include_str!("docs.md")]

mod catalog;
#[cfg(feature = "candle")]
mod embedder;
#[cfg(feature = "candle")]
mod generator;
mod pull;
mod store;

pub use catalog::{CATALOG, File, Kind, Model};
#[cfg(feature = "candle")]
pub use embedder::Embedder;
#[cfg(feature = "candle")]
pub use generator::{Generation, Generator, Message, Sampling, Usage};
pub use pull::{Progress, PullError, ensure, pull};
pub use store::{ModelStore, State, StoreError};

/// A model could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The model has not been pulled.
    #[error("model {0} is not here; `bowline models pull {0}` fetches it")]
    Missing(&'static str),
    /// The files are not usable.
    #[error("load model {name}: {problem}")]
    Load {
        /// The model.
        name: &'static str,
        /// Why.
        problem: String,
    },
    /// The input is longer than the model can take.
    #[error("the input has {tokens} tokens, and the model takes {limit}")]
    TooLong {
        /// Tokens of the input.
        tokens: usize,
        /// The most there may be.
        limit: usize,
    },
    /// The model failed.
    #[error("run the model: {0}")]
    Run(String),
}

/// Whether this build can run models.
pub const CAN_RUN: bool = cfg!(feature = "candle");
