//! Cap'n Web RPC over tokio: stubs, targets and WebSocket sessions.

/// An object that answers Cap'n Web calls.
pub trait Target: Send + Sync + 'static {}
