//! What both ends do to connections: the byte pumps of the connect flow (a TCP stream carried in the binary frames of a
//! WebSocket), rpc sessions that only refuse, answers that come early, and bodies that break off.
//!
//! ```text
//! WebSocket (binary frames)  ⇄  relay  ⇄  byte stream
//! ```
//!
//! Wire (reference: the remote-bindings proxy of workers-sdk): one frame per chunk, no framing inside; a text frame
//! stands for its UTF-8 bytes; there is no half-close. End of stream closes the WebSocket with 1000, an error of the
//! stream with 1011 and the reason cut to 123 bytes. When the WebSocket closes, the stream's write side is shut down;
//! after 1011 or an abrupt end it is dropped at once.

mod close;
mod late;
mod linger;
mod reject;
mod relay;
mod splice;

pub use close::close_reason;
pub use late::LateError;
pub use linger::Lingering;
pub use reject::reject_rpc;
pub use relay::{Ended, Relayed, refuse, relay, server_socket};
pub use splice::splice;
