//! Ways to a session, and out of one: axum, TLS, batches, reconnecting, orderly ends.

#[allow(dead_code, unused_attributes, reason = "the example's main is not used here")]
#[path = "../../examples/axum.rs"]
mod axum_example;

mod ending;
mod reconnecting;
mod transports;
