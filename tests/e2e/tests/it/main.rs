//! End to end, with the real program and real peers.
#![expect(clippy::unwrap_used, reason = "a test may fail where a value is missing")]

mod access;
mod access_client;
mod ai;
mod artifacts;
mod bad_input;
mod capnweb;
mod capnweb_json;
mod capnweb_workerd;
mod chromium;
mod d1;
mod demo;
mod deployed;
mod edge;
mod elimination;
mod failures;
mod images;
mod kills;
mod miniflare;
mod proxy_worker;
mod recipes;
mod refresh;
mod rust_client;
mod secrets;
mod service;
mod session;
mod vectorize;
mod vectorize_qdrant;
mod wire;
mod wrangler_access;
