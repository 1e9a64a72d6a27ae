//! Access: service tokens, what a request presents, and the decision.
//!
//! Pure: no clock (the time is an argument), no store (the record is an argument), no randomness (the bytes are an
//! argument). [`evaluate`] is the only way to a [`Permit`] for a request from outside, and the router takes one by
//! value, so a path to a binding that nobody checked does not compile.
//!
//! ```text
//! headers ──▶ Presented::read ─┐
//! store ───▶ ServiceToken ─────┼─▶ evaluate ──▶ Decision::Allow(Permit) ──▶ router
//! clock ───▶ now ──────────────┘            └─▶ Decision::Deny(reason)  ──▶ refusal
//! ```
//!
//! Source of outside facts: Cloudflare's documentation of service tokens and of the headers they travel in.

mod decision;
mod duration;
mod presented;
mod service_token;

pub use decision::{Decision, DenyReason, Gate, Permit, evaluate};
pub use duration::{DurationError, parse_duration};
pub use presented::{CLIENT_ID, CLIENT_SECRET, Presented, strip_credentials};
pub use service_token::{ENTROPY, Minted, SecretHash, ServiceToken, UnixSeconds, mint};
