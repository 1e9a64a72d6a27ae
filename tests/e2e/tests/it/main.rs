//! End to end, with the real program and real peers.
#![expect(clippy::unwrap_used, reason = "a test may fail where a value is missing")]

mod access_client;
mod bad_input;
mod capnweb;
mod demo;
mod elimination;
mod failures;
mod miniflare;
mod secrets;
mod wire;
mod wrangler_access;
