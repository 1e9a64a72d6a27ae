//! What a session takes from its peer.

/// Bounds, each with a default that honest peers never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Levels of an expression; the pushed expression is level 0. JavaScript's default.
    pub max_depth: usize,
    /// UTF-16 units of one message, judged before it is parsed. JavaScript's default, 32 Mi.
    pub max_message_size: usize,
    /// Characters of a bigint, minus sign included. JavaScript's default.
    pub max_bigint_digits: usize,
    /// Entries of the export table: results the peer has not released, and targets it holds.
    pub max_exports: usize,
    /// Entries of the import table: our calls under way, and stubs of the peer that we hold.
    pub max_imports: usize,
    /// Calls and reads that run or wait at one time.
    pub max_operations: usize,
    /// Bytes of stream data that came and were not read, over all streams. A peer that keeps to the protocol's window
    /// stays far below.
    pub max_queued_bytes: usize,
    /// Bytes of one blob, which is held in memory.
    pub max_blob_size: usize,
    /// Calls and reads that the maps of one message may make: nested maps multiply.
    pub max_map_steps: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_depth: 256,
            max_message_size: 32 * 1024 * 1024,
            max_bigint_digits: 16_384,
            max_exports: 100_000,
            max_imports: 100_000,
            max_operations: 100_000,
            max_queued_bytes: 64 * 1024 * 1024,
            max_blob_size: 64 * 1024 * 1024,
            max_map_steps: 1_000_000,
        }
    }
}
