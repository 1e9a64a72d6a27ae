//! A server to check Cap'n Web clients against: `testserver --listen 127.0.0.1:PORT`.
//!
//! It offers one main object a session, on `/ws` and, with other options, on `/ws-limits`, `/ws-rewrite` and
//! `/ws-nomain`; and an HTTP batch on `/batch`.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

#[path = "../shared/counter.rs"]
mod counter;
#[path = "../shared/kinds.rs"]
mod kinds;
mod main_object;
mod streams;

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use capnweb::{ErrorValue, Limits, NoMain, PlainError, SessionOptions, server};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use main_object::{Main, Shared};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some("--listen"), Some(address)) = (arguments.next().as_deref(), arguments.next()) else {
        return Err(std::io::Error::other("usage: testserver --listen 127.0.0.1:PORT"));
    };
    let listener = TcpListener::bind(address).await?;
    println!("listening {}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let shared = Arc::new(Shared::default());
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream, Arc::clone(&shared)));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // A socket that refuses still works.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, shared).await) }
    });
    // How a connection ends is the client's affair.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Response<Full<Bytes>> {
    let options = match request.uri().path() {
        "/batch" => {
            let main = Main::new(shared, None);
            return server::batch(request, SessionOptions::default(), Arc::new(main)).await;
        }
        "/ws-nomain" => {
            return server::upgrade(request, SessionOptions::default(), |_| Arc::new(NoMain));
        }
        "/ws" => SessionOptions::default(),
        "/ws-limits" => SessionOptions {
            limits: Limits {
                max_bigint_digits: 8,
                max_depth: 8,
                max_message_size: 2000,
                ..Limits::default()
            },
            ..SessionOptions::default()
        },
        "/ws-rewrite" => SessionOptions {
            on_send_error: Some(Arc::new(|error| Some(rewritten(error)))),
            ..SessionOptions::default()
        },
        _ => {
            let mut response = Response::new(Full::from("not found"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
    };
    server::upgrade(request, options, move |session| {
        Arc::new(Main::new(shared, Some(session.clone())))
    })
}

fn rewritten(error: &PlainError) -> PlainError {
    let mut rewritten = ErrorValue::new("TypeError", format!("rewritten: {}", error.message))
        .with("code", capnweb_proto::Value::String("E_REWRITTEN".into()));
    rewritten.stack = Some("test stack".into());
    rewritten
}
