//! End to end, with the real program and real peers.

mod elimination;
mod miniflare;
mod wire;
