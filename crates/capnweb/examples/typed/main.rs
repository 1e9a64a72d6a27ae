//! Everything of the typed layer, in a notebook that several people keep.
//!
//! `typed` runs a server and its client in one process, over a WebSocket. `typed serve --listen 127.0.0.1:PORT` is the
//! server alone, `typed connect ws://HOST:PORT/` the client alone: either works with the JavaScript library on the other
//! side.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

mod api;
mod client;
mod notebook;

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;

use api::NotebookStub;
use capnweb::{NoMain, SessionOptions, server};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        [] => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let url = format!("ws://{}/", listener.local_addr()?);
            tokio::spawn(serve(listener));
            run_client(&url).await
        }
        ["serve", "--listen", address] => {
            let listener = TcpListener::bind(address).await?;
            println!("listening {}", listener.local_addr()?);
            std::io::stdout().flush()?;
            Ok(serve(listener).await?)
        }
        ["connect", url] => run_client(url).await,
        _ => Err("usage: typed [serve --listen HOST:PORT | connect ws://HOST:PORT/]".into()),
    }
}

async fn run_client(url: &str) -> Result<()> {
    let main = capnweb::connect(url, &[], Arc::new(NoMain), SessionOptions::default()).await?;
    client::run(&NotebookStub::from(main)).await?;
    Ok(())
}

/// WebSockets and batches, at every path.
async fn serve(listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service_fn(|request| async {
            let main = |_: &capnweb::Session| NotebookStub::target(notebook::Shelves::default());
            Ok::<_, Infallible>(server::answer(request, SessionOptions::default(), main).await)
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades(),
        );
    }
}
