//! End to end, with the real program and real peers.
#![expect(clippy::unwrap_used, reason = "a test may fail where a value is missing")]

mod bad_input;
mod capnweb;
mod d1;
mod demo;
mod elimination;
mod failures;
mod miniflare;
mod secrets;
mod service;
mod wire;
