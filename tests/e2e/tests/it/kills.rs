//! API and edge killed and resumed, again and again: 40 times by default, as often as `BOWLINE_E2E_KILLS` says otherwise. (1 000 on
//! a busy machine took 431 s, and the slowest call was answered 1.94 s after everything was back.)
//!
//! Each is served from a runtime of its own, whose end cuts its connections in the middle of whatever they do, as the end of a
//! process does; the account's state outlives it, or its tokens end with it.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bowline_api::{Client, ClientOptions, Credentials, EdgePreview};
use bowline_binding::Resources;
use bowline_e2e::flow::{Flow, Outcome, Targets};
use bowline_edge::{AccessMode, Authority, Bindings, Stand, StandOptions};
use bowline_gateway::{Connection, Listening, Service, serve};
use bowline_proxy::{Capability, Proxy, ProxyOptions};
use bowline_remote::REGISTRY;
use bowline_secret::Secret;
use bowline_session::{PreviewSession, Row, SessionOptions, Timing};
use http::{HeaderMap, Method, Request};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// How long a call may take to be answered once everything is back. A round of the API's attempts takes a second, and its
/// first may begin just before.
const BACK: Duration = Duration::from_secs(10);
/// How long one may take at all.
const END: Duration = Duration::from_secs(15);

/// A server that can be killed and started again at the same address.
struct Mortal<S> {
    address: SocketAddr,
    start: S,
    runtime: Option<Runtime>,
}

impl<S, F> Mortal<S>
where
    S: Fn(TcpListener) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    fn new(start: S) -> Result<Self> {
        // Kept free between its lives by nobody but us: the kernel gives ephemeral ports away in turn.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut mortal = Self {
            address,
            start,
            runtime: None,
        };
        mortal.resume()?;
        Ok(mortal)
    }

    fn resume(&mut self) -> Result<()> {
        if self.runtime.is_none() {
            // Connections of an earlier life do not hinder it: std asks for SO_REUSEADDR.
            let listener = std::net::TcpListener::bind(self.address)?;
            listener.set_nonblocking(true)?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?;
            let served = {
                let _entered = runtime.enter();
                TcpListener::from_std(listener).map(&self.start)
            };
            runtime.spawn(served?);
            self.runtime = Some(runtime);
        }
        Ok(())
    }
}

impl<S> Mortal<S> {
    /// Nothing of it is left when this returns.
    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Where others run, a runtime may not be waited for.
            let killer = std::thread::spawn(move || runtime.shutdown_timeout(BACK));
            tokio::task::block_in_place(|| killer.join().expect("it only waits"));
        }
    }
}

impl<S> Drop for Mortal<S> {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One call of each flow: how they went. An rpc session that breaks off is a failure like another; a call without an end is not.
async fn calls(url: &str) -> Result<[Outcome; 2]> {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let targets = Targets {
        tcp: nowhere,
        http: nowhere,
    };
    let call = async |flow: Flow| {
        let ended = tokio::time::timeout(END, flow.call(url, targets)).await;
        let outcome = ended.with_context(|| format!("a call by {flow:?} has no end"))?;
        Ok::<_, anyhow::Error>(outcome.unwrap_or_else(|error| Outcome::Fails(format!("{error:#}"))))
    };
    Ok([call(Flow::Fetch).await?, call(Flow::Rpc).await?])
}

async fn all_work(url: &str) -> Result<()> {
    for outcome in calls(url).await? {
        ensure!(outcome == Outcome::Works, "{outcome:?}");
    }
    Ok(())
}

/// xorshift: that a failure can be seen again matters, quality does not.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A stand-in in this process, without Access, whose tokens last an hour.
pub(crate) async fn stand(state: &Path, api_origin: String) -> Result<Stand> {
    Ok(Stand::new(StandOptions {
        account_id: "account".into(),
        api_token: Secret::new("token"),
        subdomain: "sub".into(),
        registered: true,
        exchange: false,
        tail: false,
        session_lifetime: Duration::from_secs(3600),
        preview_lifetime: Duration::from_secs(3600),
        access: AccessMode::Off,
        bindings: Bindings::new(REGISTRY, Resources::new(state), Vec::new()),
        run: None,
        api_origin,
    })
    .await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_and_edge_are_killed_and_resumed() -> Result<()> {
    let rounds: u32 = match std::env::var("BOWLINE_E2E_KILLS") {
        Ok(rounds) => rounds.parse().context("BOWLINE_E2E_KILLS is a number")?,
        Err(_) => 40,
    };
    let folder = tempfile::tempdir()?;
    let stand = stand(folder.path(), "http://127.0.0.1".into()).await?;
    let (authority, pem) = (Authority::new()?, folder.path().join("authority.pem"));
    std::fs::write(&pem, authority.pem())?;
    let tls = authority.server(stand.certificate_names())?;
    let (api_service, edge_service) = (stand.api(), stand.edge());
    let mut api = Mortal::new(move |listener| {
        let served = serve(listener, api_service.clone(), CancellationToken::new());
        async move { drop(served.await) }
    })?;
    let mut edge = Mortal::new(move |listener| {
        let listening = Listening::over_tls(listener, Arc::clone(&tls));
        let served = serve(listening, edge_service.clone(), CancellationToken::new());
        async move { drop(served.await) }
    })?;

    let http = Client::connections(vec![pem.clone()]);
    let client = Client::new(ClientOptions {
        base: format!("http://{}/client/v4", api.address),
        credentials: Credentials::token(Secret::new("token")),
        http: Arc::clone(&http),
    });
    let bindings = [
        ("d1", "DB", json!({"database_id": "main"})),
        ("send_email", "MAIL", json!({})),
    ];
    let bindings = bindings.iter().map(|(kind, name, entry)| {
        let row = Row::of(kind).with_context(|| format!("no type {kind}"))?;
        Ok(row.upload(name, entry)?)
    });
    let session = PreviewSession::start(SessionOptions {
        api: EdgePreview::new(
            client,
            "account",
            "app",
            Arc::new(|_| Box::pin(async { HeaderMap::new() })),
        ),
        http,
        bindings: bindings.collect::<Result<_>>()?,
        // Tokens die far more often than they do, which is no reason to be careful here.
        timing: Timing {
            settled: Duration::ZERO,
            first_pause: Duration::from_millis(20),
            longest_pause_held: Duration::from_millis(200),
            ..Timing::default()
        },
        on_news: Arc::new(|_| {}),
    })
    .await?;
    let proxy = Proxy::new(ProxyOptions {
        // The edge answers by this name, too.
        remote: format!("https://localhost:{}/", edge.address.port()).parse()?,
        preview: Some(session.tokens().clone()),
        warm: true,
        extra_authorities: vec![pem],
        ..ProxyOptions::default()
    })?;
    let (listener, capability) = (TcpListener::bind("127.0.0.1:0").await?, Capability::random()?);
    let url = format!("http://{}/{}/", listener.local_addr()?, capability.as_str());
    let stop = CancellationToken::new();
    let served = tokio::spawn(bowline_proxy::serve(listener, proxy, capability, stop.clone()));
    all_work(&url).await?;

    let (mut dice, mut slowest, began) = (Dice(0x5eed), Duration::ZERO, Instant::now());
    let mut kinds = [0u32; 6];
    for round in 0..rounds {
        let kind = dice.below(6);
        kinds[usize::try_from(kind)?] += 1;
        let (kills_api, kills_edge, ends_tokens) = match kind {
            0 => (true, false, false),
            1 => (false, true, false),
            2 => (false, false, true),
            3 => (true, false, true),
            4 => (false, true, true),
            _ => (true, true, true),
        };
        // Something is under way when it happens.
        let under_way = {
            let url = url.clone();
            tokio::spawn(async move { calls(&url).await })
        };
        tokio::time::sleep(Duration::from_micros(dice.below(3000))).await;
        if kills_api {
            api.kill();
        }
        if kills_edge {
            edge.kill();
        }
        if ends_tokens {
            expire(&stand).await?;
        }
        let down = Duration::from_millis(dice.below(60));
        if kind == 0 {
            // The edge and the token work: nobody notices that the API is away.
            all_work(&url)
                .await
                .with_context(|| format!("round {round}, the API away"))?;
        }
        tokio::time::sleep(down).await;
        api.resume()?;
        edge.resume()?;
        let resumed = Instant::now();
        let under_way = tokio::time::timeout(BACK, under_way).await.with_context(|| {
            format!("round {round}, kind {kind}: a call that was under way has no end")
        })???;
        ensure!(
            kills_edge || under_way.iter().all(|outcome| *outcome == Outcome::Works),
            "round {round}, kind {kind}: {under_way:?}"
        );
        // What comes after the edge is back works, though the first may meet a connection that has not noticed.
        loop {
            let outcomes = calls(&url).await?;
            if outcomes.iter().all(|outcome| *outcome == Outcome::Works) {
                break;
            }
            ensure!(kills_edge, "round {round}, kind {kind}: {outcomes:?}");
            ensure!(
                resumed.elapsed() < BACK,
                "round {round}, kind {kind}: {outcomes:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        slowest = slowest.max(resumed.elapsed());
    }
    println!(
        "{rounds} kills in {:.1} s ({kinds:?} by kind); the slowest was back after {:.2} s; {} sessions",
        began.elapsed().as_secs_f32(),
        slowest.as_secs_f32(),
        session.tokens().generation(),
    );
    stop.cancel();
    served.await??;
    Ok(())
}

/// Ends all preview tokens.
async fn expire(stand: &Stand) -> Result<()> {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/control/expire/previews")
        .header("authorization", "Bearer token")
        .body(bowline_binding::empty())?;
    let answer = stand.control().call(&Connection::new(None), request).await;
    ensure!(answer.status().is_success(), "{}", answer.status());
    Ok(())
}
