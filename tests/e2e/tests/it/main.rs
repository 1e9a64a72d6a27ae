//! End to end, with the real program and real peers.

mod bad_input;
mod elimination;
mod failures;
mod miniflare;
mod secrets;
mod wire;
