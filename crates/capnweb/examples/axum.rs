//! A Cap'n Web endpoint among the routes of an axum application.
//!
//! `axum 127.0.0.1:PORT`, then connect to `ws://127.0.0.1:PORT/rpc`, or post a batch there.
#![cfg_attr(not(test), expect(clippy::print_stdout, reason = "a program for a terminal"))]

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{any, get};
use capnweb::{SessionOptions, interface, server};

/// The endpoint's main object.
#[interface]
pub(crate) trait Hello {
    /// A greeting.
    async fn greet(&self, name: String) -> String;
}

struct English;

impl Hello for English {
    async fn greet(&self, name: String) -> String {
        format!("Hello, {name}!")
    }
}

async fn rpc(request: Request) -> Response {
    // Whoever may not come in is turned away here, or by a layer: `request` has the headers.
    let answer = server::answer(request, SessionOptions::default(), |_| HelloStub::target(English));
    answer.await.map(Body::new)
}

/// The application.
pub(crate) fn app() -> Router {
    Router::new()
        .route("/", get(async || "there is more at /rpc"))
        .route("/rpc", any(rpc))
}

#[cfg(not(test))]
#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening {}", listener.local_addr()?);
    axum::serve(listener, app()).await
}
