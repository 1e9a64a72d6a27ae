//! What Vectorize computes: closeness of vectors, and the graph that finds near ones.
//!
//! A crate of its own because it is unbearable without optimisation, and slow to compile with it: so it is compiled once, and
//! the binding and its tests are not optimised in a development build.

mod block;
mod graph;
mod lane;
mod metric;

pub use block::Block;
pub use graph::{Coarse, Graph};
pub use lane::{Lane, WIDTH, dot, inverse_norm, pack, pack_into, square, squared_distance};
pub use metric::Metric;
