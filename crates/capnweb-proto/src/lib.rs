//! The Cap'n Web protocol as a state machine: no sockets, no clock, no tasks.
//!
//! **Change the session once, then drain both polls.**
//!
//! ```text
//! bytes in ──▶ handle_message ─┐                    ┌─▶ poll_event   ──▶ the application: calls, answers, stream data
//!                              ├─▶ Session (tables) ┤
//! application ─▶ call, resolve ┘                    └─▶ poll_message ──▶ bytes out
//! ```
//!
//! The wire speaks from its sender's side: positive ids are chosen by the side that imports, negative ones by the side
//! that exports. The perspective is flipped in one place, where expressions are decoded.
//!
//! Source of facts: the protocol page of `cloudflare/capnweb`, and the behaviour of its npm package 0.12.0 and 0.5.0.

pub mod json;

mod bigint;
mod error;
mod expression;
mod fetch;
mod limits;
mod message;
mod session;
mod value;

pub use error::ProtocolError;
pub use expression::{Encode, Unwritable, encode};
pub use fetch::normal_headers;
pub use limits::Limits;
pub use session::{
    CallId, Capability, Event, ImportId, OnSendError, PipeId, PipeItem, PlainError, PromiseId, PromiseMap,
    Session, Stats, Subject,
};
pub use value::{
    Blob, BytesKind, ErrorValue, PathKey, Reached, Request, Response, Text, Value, is_prototype_name,
    show_path,
};
