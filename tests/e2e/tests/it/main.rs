//! End to end, with the real program and real peers.
#![expect(clippy::unwrap_used, reason = "a test may fail where a value is missing")]

mod access;
mod ai;
mod artifacts;
mod bad_input;
mod capnweb;
mod capnweb_json;
mod capnweb_workerd;
mod d1;
mod demo;
mod elimination;
mod failures;
mod images;
mod miniflare;
mod rust_client;
mod secrets;
mod service;
mod vectorize;
mod wire;
