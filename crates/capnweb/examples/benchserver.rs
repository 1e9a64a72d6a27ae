//! The server of `cargo xtask bench capnweb`: `benchserver --listen 127.0.0.1:PORT`.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

#[path = "shared/counter.rs"]
mod counter;

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use capnweb::{Answer, Call, Capability, ReadableStream, SessionOptions, Stub, Target, Value, server};
use counter::Counter;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

struct Bench;

impl Target for Bench {
    fn call(&self, mut call: Call) -> Answer {
        let first = call.take(0);
        match (call.method.as_str(), first) {
            ("square", Value::Number(i)) => Value::from(i * i).into(),
            ("echo", value) => value.into(),
            ("makeCounter", Value::Number(start)) => Value::from(Stub::new(Counter::new(start))).into(),
            ("list", Value::Number(n)) => Value::Array((0..n as u32).map(Value::from).collect()).into(),
            ("sumStream", Value::Capability(Capability::Readable(stream))) => Answer::later(async move {
                let mut total = 0;
                while let Some(chunk) = stream.next().await? {
                    if let Value::Bytes(bytes, _) = chunk {
                        total += bytes.len();
                    }
                }
                Ok(Value::from(total as f64))
            }),
            ("makeStream", Value::Number(total)) => {
                let chunk = call.args.get(1).and_then(Value::as_f64).unwrap_or(65_536.0) as usize;
                let count = total as usize / chunk.max(1);
                let chunks = (0..count).map(move |_| Ok(Value::from(vec![7; chunk])));
                Value::from(ReadableStream::new(stream::iter(chunks))).into()
            }
            _ => Answer::error(call.not_a_function()),
        }
    }
}

// One thread, as Node has.
#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some("--listen"), Some(address)) = (arguments.next().as_deref(), arguments.next()) else {
        return Err(std::io::Error::other(
            "usage: benchserver --listen 127.0.0.1:PORT",
        ));
    };
    let listener = TcpListener::bind(address).await?;
    println!("listening {}", listener.local_addr()?);
    std::io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream));
    }
}

async fn serve(stream: TcpStream) {
    // A socket that refuses still works.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(request).await) });
    // How a connection ends is the client's affair.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let options = SessionOptions::default();
    if request.uri().path() == "/batch" {
        server::batch(request, options, Arc::new(Bench)).await
    } else {
        server::upgrade(request, options, |_| Arc::new(Bench))
    }
}
