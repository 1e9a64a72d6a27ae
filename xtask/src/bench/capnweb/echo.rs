//! A WebSocket echo of tokio-tungstenite with nothing above it: what a call could cost at least.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

/// One small call as Cap'n Web writes it.
const CALL: &str = r#"["push",["pipeline",0,["square"],[12345]]]"#;
/// Messages under way, where they do not take turns.
const WINDOW: usize = 64;
/// As long as a round of the programs.
const ROUND: Duration = Duration::from_millis(400);

type Socket = WebSocketStream<TcpStream>;

#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    #[arg(long)]
    listen: SocketAddr,
    /// One write for all messages that arrived together.
    #[arg(long)]
    coalesce: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    #[arg(long)]
    ws: String,
    /// Not used; every client is told.
    #[arg(long)]
    http: String,
    /// `sequential`: one message at a time.
    #[arg(long)]
    row: String,
    #[arg(long)]
    rounds: usize,
    /// One write for all messages that arrived together.
    #[arg(long)]
    coalesce: bool,
}

pub(crate) fn server(args: &ServerArgs) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let listener = TcpListener::bind(args.listen).await?;
        println!("listening {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            let coalesce = args.coalesce;
            tokio::spawn(async move {
                // A client that went away is none of ours.
                let _ = serve(stream, coalesce).await;
            });
        }
    })
}

async fn serve(stream: TcpStream, coalesce: bool) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut socket = accept_async(stream).await?;
    loop {
        answer(&mut socket, coalesce).await?;
    }
}

pub(crate) fn client(args: &ClientArgs) -> anyhow::Result<()> {
    if args.row == "json" {
        let rate = median_of(args.rounds, serde_json_alone)?;
        println!("{}", json!({ "row": args.row, "rate": rate, "unit": "MB/s" }));
        return Ok(());
    }
    let rate = runtime()?.block_on(async {
        let address = args
            .ws
            .strip_prefix("ws://")
            .and_then(|rest| rest.split('/').next())
            .context("no ws:// address")?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut socket, _) = client_async(&args.ws, stream).await?;
        let window = if args.row == "sequential" { 1 } else { WINDOW };
        for _ in 0..window {
            socket.feed(Message::text(CALL)).await?;
        }
        socket.flush().await?;
        round(&mut socket, args.coalesce).await?;
        let mut rates = Vec::new();
        for _ in 0..args.rounds {
            rates.push(round(&mut socket, args.coalesce).await?);
        }
        anyhow::Ok(super::median(rates))
    })?;
    println!("{}", json!({ "row": args.row, "rate": rate, "unit": "calls/s" }));
    Ok(())
}

fn median_of(rounds: usize, round: impl Fn() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    let rates: anyhow::Result<Vec<f64>> = (0..rounds).map(|_| round()).collect();
    Ok(super::median(rates?))
}

/// What the echo of the rows costs serde_json: writing and reading them twice, with no protocol and no socket.
fn serde_json_alone() -> anyhow::Result<f64> {
    let row = |i: u32| {
        json!({
            "id": 1000 + i, "name": format!("item {}", 1000 + i), "price": 1000.5 + f64::from(i), "active": true,
            "tags": ["red", "blue"], "note": "xxxxxxxx",
        })
    };
    let rows = Value::from((0..1000).map(row).collect::<Vec<_>>());
    let (start, mut done) = (Instant::now(), 0.0);
    while start.elapsed() < ROUND {
        let there: Value = serde_json::from_str(&rows.to_string())?;
        let back: Value = serde_json::from_str(&there.to_string())?;
        ensure!(
            back.as_array().is_some_and(|back| back.len() == 1000),
            "rows are missing"
        );
        done += 0.1;
    }
    Ok(done / start.elapsed().as_secs_f64())
}

async fn round(socket: &mut Socket, coalesce: bool) -> anyhow::Result<f64> {
    let (start, mut done) = (Instant::now(), 0);
    while start.elapsed() < ROUND {
        done += answer(socket, coalesce).await?;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

/// Sends back the next message, or all that are there. Both ends do so, and the window stays full.
async fn answer(socket: &mut Socket, coalesce: bool) -> anyhow::Result<usize> {
    let mut message = socket.next().await.context("the other end closed")??;
    let mut done = 1;
    if !coalesce {
        check(&message)?;
        socket.send(message).await?;
        return Ok(done);
    }
    loop {
        check(&message)?;
        socket.feed(message).await?;
        match socket.next().now_or_never() {
            None => break,
            Some(next) => message = next.context("the other end closed")??,
        }
        done += 1;
    }
    socket.flush().await?;
    Ok(done)
}

fn check(message: &Message) -> anyhow::Result<()> {
    let Message::Text(text) = message else {
        bail!("no text message: {message:?}");
    };
    ensure!(text.as_str() == CALL, "another message came back: {text}");
    Ok(())
}

/// One thread, as there is one connection.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
