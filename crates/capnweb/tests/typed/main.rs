//! The typed layer, between two sessions and over a WebSocket.

mod calls;
mod data;
mod streams;
mod world;

use std::sync::Arc;

use capnweb::{NoMain, SessionOptions, Stub, Target};

/// A typed stub over a session in memory.
pub(crate) fn over_pair<S: From<Stub>>(main: Arc<dyn Target>) -> S {
    capnweb::pair(Arc::new(NoMain), main, SessionOptions::default()).into()
}
