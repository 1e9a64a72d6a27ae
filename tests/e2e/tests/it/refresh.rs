//! A refresh that meets trouble: which calls it makes, how long it takes, and that no request fails meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bowline_api::{Client, ClientOptions, Credentials, EdgePreview};
use bowline_e2e::session::Session;
use bowline_secret::Secret;
use bowline_session::{News, PreviewSession, SessionOptions, Timing};
use http::HeaderMap;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::kills::stand;
use crate::session::project;

/// What makes the session be renewed.
#[derive(Debug, Clone, Copy)]
enum Signal {
    /// The edge does not know the token any more: requests wait.
    Dead,
    /// A product's session is gone: requests go on with the old token.
    Stale,
}

/// What is in the way of a refresh.
struct Row {
    signal: Signal,
    fault: &'static str,
    /// What the API answers, call by call.
    calls: &'static [&'static str],
    at_least_ms: u64,
}

const USUAL: [&str; 3] = ["session 200", "subdomain 200", "upload 200"];

const ROWS: [Row; 9] = [
    row(
        Signal::Dead,
        "session:status=503*2",
        &[
            "session 503",
            "session 503",
            "session 200",
            "subdomain 200",
            "upload 200",
        ],
        1000,
    ),
    row(
        Signal::Dead,
        "session:status=429/2*1",
        &["session 429", "session 200", "subdomain 200", "upload 200"],
        2000,
    ),
    row(
        Signal::Stale,
        "upload:status=429/2*1",
        &["session 200", "subdomain 200", "upload 429", "upload 200"],
        2000,
    ),
    row(
        Signal::Dead,
        "session:reset*1",
        &["session 502", "session 200", "subdomain 200", "upload 200"],
        0,
    ),
    // The session and the subdomain are repeated together.
    row(
        Signal::Stale,
        "subdomain:reset*1",
        &[
            "session 200",
            "subdomain 502",
            "session 200",
            "subdomain 200",
            "upload 200",
        ],
        0,
    ),
    row(
        Signal::Stale,
        "upload:status=502*1",
        &["session 200", "subdomain 200", "upload 502", "upload 200"],
        0,
    ),
    // More than one round of attempts: the pauses between rounds begin with about a second.
    row(
        Signal::Dead,
        "upload:reset*4",
        &[
            "session 200",
            "subdomain 200",
            "upload 502",
            "upload 502",
            "upload 502",
            "session 200",
            "subdomain 200",
            "upload 502",
            "upload 200",
        ],
        1750,
    ),
    row(
        Signal::Dead,
        "upload:code=10049*1",
        &[
            "session 200",
            "subdomain 200",
            "upload 400",
            "session 200",
            "subdomain 200",
            "upload 200",
        ],
        0,
    ),
    // A call that hangs is given up after half a minute; it is not in the log before the stand-in gives it up, too.
    row(Signal::Stale, "session:hang*1", &USUAL, 30_000),
];

const fn row(signal: Signal, fault: &'static str, calls: &'static [&'static str], at_least_ms: u64) -> Row {
    Row {
        signal,
        fault,
        calls,
        at_least_ms,
    }
}

async fn outlived(row: &Row) -> Result<()> {
    let project = project()?;
    let session = Session::start(&project, &["--no-tail"]).await?;
    session.ok().await?;
    session.api().await?;
    let began = Instant::now();
    match row.signal {
        Signal::Dead => {
            session.faults(&[row.fault]).await?;
            session.expire("previews").await?;
        }
        Signal::Stale => {
            session.faults(&["edge:gone*1", row.fault]).await?;
            ensure!(
                session.sql("SELECT 1").await?.status == 400,
                "it is the product's answer"
            );
        }
    }
    let mut heard = Vec::new();
    while heard.len() < row.calls.len() {
        // Whether held or carried by the old token: it is answered.
        session.ok().await?;
        heard.extend(session.api().await?);
        ensure!(began.elapsed() < Duration::from_secs(60), "only {heard:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed();
    ensure!(heard == row.calls, "{heard:?}");
    ensure!(
        took >= Duration::from_millis(row.at_least_ms),
        "already after {took:?}"
    );
    session.ok().await
}

#[tokio::test]
async fn trouble_is_outlived_without_a_failed_request() -> Result<()> {
    let outlived = ROWS.iter().map(async |row| {
        let outcome = outlived(row).await;
        outcome.with_context(|| format!("{:?} with {}", row.signal, row.fault))
    });
    futures_util::future::try_join_all(outlived).await?;
    Ok(())
}

/// Nobody calls a token dead here: it is renewed by its age, at 50 minutes, which are made shorter. (When that is, over a day
/// and in all orders, is tested in simulated time beside the state machine.)
#[tokio::test]
async fn a_session_is_renewed_before_it_ends() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let api = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}/client/v4", api.local_addr()?);
    let stand = stand(folder.path(), base.clone()).await?;
    let stop = CancellationToken::new();
    tokio::spawn(bowline_gateway::serve(api, stand.api(), stop.clone()));
    let http = Client::connections(Vec::new());
    let client = Client::new(ClientOptions {
        base,
        credentials: Credentials::token(Secret::new("token")),
        http: Arc::clone(&http),
    });
    let failures = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&failures);
    let began = Instant::now();
    let timing = Timing {
        renew_after: Duration::from_millis(400),
        ..Timing::default()
    };
    let session = PreviewSession::start(SessionOptions {
        api: EdgePreview::new(
            client,
            "account",
            "app",
            Arc::new(|_| Box::pin(async { HeaderMap::new() })),
        ),
        http,
        bindings: Vec::new(),
        timing,
        on_news: Arc::new(move |news| {
            if matches!(news, News::Failed { .. }) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }),
    })
    .await?;
    let tokens = session.tokens();
    for generation in 1..=5 {
        // There is a token all the while, the old one until the new one is there.
        while tokens.generation() <= generation {
            let ready = tokens.ready();
            let token = tokio::time::timeout(Duration::ZERO, ready)
                .await
                .context("a pause")??;
            ensure!(token.generation() >= generation);
            ensure!(began.elapsed() < Duration::from_secs(30), "it was not renewed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // No sooner than it is due.
        ensure!(began.elapsed() >= timing.renew_after * u32::try_from(generation)?);
    }
    ensure!(failures.load(Ordering::Relaxed) == 0);
    stop.cancel();
    Ok(())
}
