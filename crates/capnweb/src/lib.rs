//! Cap'n Web RPC over tokio: objects of one process, called from another, in Rust or JavaScript.
//!
//! An [`interface`] is a trait. Whatever implements it can be served; its stub makes the calls, and what a call returns can
//! be used before it is there:
//!
//! ```
//! use std::sync::Arc;
//! use capnweb::{Error, NoMain, SessionOptions, interface};
//!
//! #[interface]
//! trait Library {
//!     async fn find(&self, title: String) -> Result<BookStub, Error>;
//! }
//!
//! #[interface]
//! trait Book {
//!     fn author(&self) -> String;
//! }
//!
//! // The server.
//! struct Shelf;
//!
//! impl Library for Shelf {
//!     async fn find(&self, title: String) -> Result<BookStub, Error> {
//!         match title.as_str() {
//!             "Notes" => Ok(BookStub::new(Notes)),
//!             _ => Err(Error::new("RangeError", format!("there is no {title}"))),
//!         }
//!     }
//! }
//!
//! struct Notes;
//!
//! impl Book for Notes {
//!     fn author(&self) -> String {
//!         "Ada".into()
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let url = format!("ws://{}/", listener.local_addr()?);
//! tokio::spawn(async move {
//!     while let Ok((stream, _)) = listener.accept().await {
//!         let service = hyper::service::service_fn(|request| async {
//!             let main = |_: &capnweb::Session| LibraryStub::target(Shelf);
//!             let answer = capnweb::server::answer(request, SessionOptions::default(), main).await;
//!             Ok::<_, std::convert::Infallible>(answer)
//!         });
//!         let connection = hyper::server::conn::http1::Builder::new()
//!             .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
//!             .with_upgrades();
//!         tokio::spawn(connection);
//!     }
//! });
//!
//! // The client.
//! let main = capnweb::connect(&url, &[], Arc::new(NoMain), SessionOptions::default()).await?;
//! let library = LibraryStub::from(main);
//! // One round trip: the book is asked where it is.
//! assert_eq!(library.find("Notes").author().await?, "Ada");
//! assert!(library.find("Poems").author().await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! Below the types is a layer without: a [`Target`] answers calls, a [`Stub`] makes them, a [`Promise`] is a result that may
//! not be there yet. [`Value`]s go back and forth; stubs, promises and streams travel inside them.
//!
//! | | connects | serves |
//! |---|---|---|
//! | WebSocket | [`connect`], [`connect_over`] (TLS, or any other stream), [`connect_upgraded`] | [`server::upgrade`] for hyper and axum, [`serve_upgraded`] |
//! | HTTP batch | [`batch_over_http`], [`batch()`] (with any HTTP client) | [`server::batch`], [`serve_batch`] |
//! | both at one URL | | [`server::answer`] |
//! | memory | [`pair()`] | |
//!
//! [`Reconnecting`] is a client that comes back. The pages of the [`guide`] explain one concept each. Listeners are not
//! here: whoever owns one hands requests over. The protocol's logic, without any I/O, is in [`capnweb_proto`].

pub mod guide;
pub mod server;

mod batch;
mod busy_poll;
mod core;
mod driver;
mod map;
mod pair;
mod promise;
mod read_ahead;
mod reconnect;
mod session;
mod stream;
mod stub;
mod target;
mod typed;
mod value;
mod websocket;

pub use self::core::Registration;
pub use batch::{BatchClient, BatchError, batch, batch_over_http, serve_batch};
/// Makes an interface of a trait: whatever implements it answers calls, and a typed stub makes them. See
/// [the page on types](crate::guide::typed).
pub use capnweb_macros::interface;
pub use capnweb_proto::{
    Blob, BytesKind, ErrorValue, Limits, PathKey, PlainError, ProtocolError, Request, Response, Stats, Text,
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
