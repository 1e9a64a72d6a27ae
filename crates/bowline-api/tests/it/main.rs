//! The client against an HTTP server that answers what each test tells it to.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod calls;
mod login;
mod server;
