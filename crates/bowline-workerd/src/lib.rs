//! Runs a project's Worker on workerd and carries what its bindings ask for to Rust.
//!
//! ```text
//! Worker ── fetch ──▶ external service ── native.sock ─▶ listener: plain HTTP → wire form ─┐
//!        ── rpc ────▶ shim Worker ─────── wire.sock ───▶ listener: wire form already ──────┼─▶ WireService by name
//!        ── connect ▶ shim Worker ─────── wire.sock ───▶ listener ─────────────────────────┘
//! ```
//!
//! [`Runner::start`] runs one Worker for a developer; a [`Host`] runs those that other Workers call. No port is opened for bindings: both sockets lie in a private folder that is
//! deleted when the [`Runner`] is dropped. What this crate does not do: bundling, watching, placing bindings.

mod config;
mod error;
mod host;
mod listener;
mod modules;
mod output;
mod process;
mod runner;
mod toolchain;

pub use error::RunnerError;

pub use host::{Host, HostOptions, Load, Loaded};
pub use output::{Output, OutputSink};
pub use runner::{Callee, Outbound, Runner, RunnerOptions};
pub use toolchain::{Toolchain, ToolchainError, ToolchainOptions, WORKERD_VERSION};
