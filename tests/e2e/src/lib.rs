//! What the end-to-end tests stand on: the real `bowline` program as child processes, unmodified peers from npm, and
//! real upstream servers in this process.
//!
//! Nothing here knows what a right answer is; the tests in `tests/it` do.
//!
//! ```text
//! miniflare 4 | 5 (driver/) ──┐
//! raw HTTP and WebSocket ─────┼─▶ bowline connect ──▶ bowline serve ──▶ echo servers
//!                             └──────────(straight)──────▲
//! ```

pub mod access;
pub mod authority;
pub mod client;
pub mod disk;
pub mod edge;
pub mod fault;
pub mod flow;
pub mod git;
pub mod machine;
pub mod peers;
pub mod person;
pub mod postgres;
pub mod program;
pub mod project;
pub mod recipes;
pub mod rust_client;
pub mod session;
pub mod upstream;
pub mod worker;
pub mod wrangler_access;
