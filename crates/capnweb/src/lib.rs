//! Cap'n Web RPC over tokio.
//!
//! A [`Target`] answers calls; [`serve_upgraded`] gives one to the peer at the far end of an upgraded connection; a
//! [`Stub`] calls the peer's. Values are [`Value`]s; stubs, targets and streams travel inside them as [`Capability`].
//!
//! ```
//! use std::sync::Arc;
//! use capnweb::{Call, Error, SessionOptions, Target, Value, connect_upgraded, serve_upgraded};
//!
//! struct Greeter;
//! impl Target for Greeter {
//!     fn call(&self, call: Call) -> capnweb::CallFuture {
//!         Box::pin(async move {
//!             match (call.method(), call.args.first().and_then(Value::as_str)) {
//!                 (Some("greet"), Some(name)) => Ok(format!("Hello, {name}!").into()),
//!                 _ => Err(call.not_a_function()),
//!             }
//!         })
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let (near, far) = tokio::io::duplex(1024);
//! tokio::spawn(serve_upgraded(far, Arc::new(Greeter), SessionOptions::default()));
//! let greeter = connect_upgraded(near, SessionOptions::default()).await;
//! let greeting = greeter.call("greet", vec!["Ada".into()]).await.unwrap();
//! assert_eq!(greeting.as_str(), Some("Hello, Ada!"));
//! assert!(greeter.call("part", vec![]).await.is_err());
//! # });
//! ```
//!
//! Not here: the HTTP upgrade itself. Whoever owns the listener makes it and hands over the byte stream. The protocol's
//! logic is in [`capnweb_proto`].

mod driver;
mod stream;
mod stub;
mod target;
mod websocket;

pub use capnweb_proto::{BytesKind, ErrorValue, Limits, PathKey};
pub use stream::{ReadableStream, StreamError};
pub use stub::{CallError, Rejection, Stub};
pub use target::{Call, CallFuture, Capability, Error, Target, Value};
pub use websocket::{SessionError, SessionOptions, connect_upgraded, serve_upgraded};
