//! Remote bindings from a Rust program, with no Worker at all.
//!
//! ```text
//! your program ─▶ Client ─▶ Binding ──(fetch, rpc)──▶ remote
//!                   │          └ AI, Artifacts, D1, Images, services, Vectorize: typed, one file each
//!                   └ credentials, connections, deadlines
//! ```
//!
//! The wire is the one a Worker's binding speaks, so whatever serves Workers serves this: a `bowline serve`, or a
//! `bowline connect` by its connection string. Connections are those of [`bowline_proxy`], credentials and the
//! recognition of refusals those of [`bowline_credentials`]; they go to the one remote the client was made for.
//!
//! ```no_run
//! use bowline_client::{Client, Secret};
//! use bowline_client::vectorize::{QueryOptions, Vector};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("https://remote.example.com/")
//!     .service_token("0123.access", Secret::new("the secret"))
//!     .build()?;
//! let index = client.vectorize("VEC");
//! let written = index.upsert(&[Vector::new("a", [0.1, 0.2, 0.3])]).await?;
//! index.processed(&written).await?;
//! let found = index.query(&[0.1, 0.2, 0.3], &QueryOptions::default()).await?;
//! assert_eq!(found.matches[0].id, "a");
//! # Ok(())
//! # }
//! ```
//!
//! A typed client is a file that wraps a [`Binding`]; what it needs of the line is [`Binding::fetch`], [`Binding::rpc`]
//! and [`Error`].
//!
//! Every wait ends by one of the [`Deadlines`]. Every method is cancel safe: dropping its future drops the call, which
//! the remote may have carried out by then.

pub mod ai;
pub mod ai_gateway;
pub mod artifacts;
pub mod d1;
pub mod dispatch;
pub mod images;
pub mod service;
pub mod vectorize;

mod binding;
mod body;
mod client;
mod error;
mod rpc;
mod upgrade;

pub use binding::Binding;
pub use body::{Body, BoxError, collect, empty, full, stream};
pub use bowline_credentials::{CredentialState, Origin, Refusal};
pub use bowline_proxy::{Failure, Hop};
pub use bowline_secret::Secret;
/// The values of rpc calls, and what travels inside them.
pub use capnweb;
pub use client::{BuildError, Builder, Client, Deadlines};
pub use error::{Error, ErrorKind};
pub use rpc::Rpc;
/// The messages of a [`WebSocket`].
pub use tokio_tungstenite::tungstenite;

/// A WebSocket inside fetch: a stream and a sink of [`tungstenite::Message`]s.
pub type WebSocket = tokio_tungstenite::WebSocketStream<hyper_util::rt::TokioIo<hyper::upgrade::Upgraded>>;
