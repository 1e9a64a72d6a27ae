//! Cap'n Web RPC over tokio.
//!
//! A [`Target`] answers calls; a [`Stub`] makes them; a [`Promise`] is a result that may not be there yet, and can be
//! called and passed on all the same. Values are [`Value`]s; stubs, promises and streams travel inside them.
//!
//! ```
//! use std::sync::Arc;
//! use capnweb::{Answer, Call, Error, SessionOptions, Stub, Target, Value, connect_upgraded, serve_upgraded};
//!
//! struct Greeter;
//!
//! impl Target for Greeter {
//!     fn call(&self, call: Call) -> Answer {
//!         match (call.method.as_str(), call.args.first()) {
//!             ("greet", Some(Value::String(name))) => Value::from(format!("Hello, {name}!")).into(),
//!             _ => Answer::error(call.not_a_function()),
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let (near, far) = tokio::io::duplex(1024);
//! tokio::spawn(serve_upgraded(far, Arc::new(Greeter), SessionOptions::default()));
//!
//! let greeter = connect_upgraded(near, SessionOptions::default()).await;
//! let greeting = greeter.call("greet", ["Ada".into()]).await?;
//! assert_eq!(greeting.as_str(), Some("Hello, Ada!"));
//! assert!(greeter.call("part", []).await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! The pages of the [`guide`] explain one concept each. The HTTP upgrade of a server is not here: whoever owns the
//! listener makes it and hands over the byte stream. The protocol's logic, without any I/O, is in [`capnweb_proto`].

pub mod guide;
pub mod server;

mod batch;
mod core;
mod driver;
mod map;
mod pair;
mod promise;
mod reconnect;
mod session;
mod stream;
mod stub;
mod target;
mod typed;
mod value;
mod websocket;

pub use self::core::Registration;
pub use batch::{BatchError, batch, batch_over_http, serve_batch};
pub use capnweb_macros::interface;
pub use capnweb_proto::{
    Blob, BytesKind, ErrorValue, Limits, PathKey, PlainError, ProtocolError, Request, Response, Stats,
    normal_headers,
};
pub use pair::pair;
pub use promise::{Promise, Wait};
pub use reconnect::{Break, NotConnected, ReconnectOptions, Reconnecting};
pub use session::{OnSendError, Session, SessionError, SessionOptions};
pub use stream::{Chunks, ReadableStream, Sink, WritableStream, Writing};
pub use stub::Stub;
pub use target::{Answer, Call, NoMain, Target};
#[doc(hidden)]
pub use typed::__private;
pub use typed::{
    Argument, AsyncFunction, Callable, Callback, Function, Mapped, Pending, Readable, Returned, Waiting,
    Writable, from_value, kinds, to_value,
};
pub use value::{Capability, Error, Value};
pub use websocket::{
    ConnectError, connect, connect_over, connect_upgraded, connect_upgraded_with, serve_upgraded,
    serve_upgraded_with,
};
