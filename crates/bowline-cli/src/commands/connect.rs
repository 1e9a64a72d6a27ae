//! `bowline connect`: a local endpoint for any tool that takes a remote proxy connection string.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{Context, bail};
use bowline_proxy::{Capability, Proxy, ProxyOptions, serve};
use clap::Args;
use http::Uri;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::settings::{self, Env};

/// Open a local endpoint that carries requests to a remote and adds its Access credentials.
///
/// The credentials come from CLOUDFLARE_ACCESS_CLIENT_ID and CLOUDFLARE_ACCESS_CLIENT_SECRET; without them requests go
/// unchanged. Certificate authorities are added from SSL_CERT_FILE and NODE_EXTRA_CA_CERTS.
#[derive(Debug, Clone, Args)]
pub struct ConnectArgs {
    /// The remote, an http or https URL; a path in it is put before every request's path.
    #[arg(long, value_name = "URL")]
    pub remote: Uri,
    /// Where to listen; loopback only. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Print one line of JSON once ready, and nothing else on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Runs until SIGTERM or SIGINT, which end it without an error.
pub async fn run(args: ConnectArgs, env: Env<'_>) -> anyhow::Result<()> {
    if !args.listen.ip().is_loopback() {
        bail!(
            "{} is not a loopback address: the endpoint carries your credentials and stays on this machine",
            args.listen
        );
    }
    let credentials = settings::credentials(env);
    if let Some(warning) = settings::half_pair(&credentials) {
        tell(&format!("warning: {warning}"));
    }
    let proxy = Proxy::new(ProxyOptions {
        remote: args.remote,
        credentials,
        extra_authorities: settings::extra_authorities(env),
        on_refusal: Some(Box::new(tell)),
        ..ProxyOptions::default()
    })?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("listen on {}", args.listen))?;
    let address = listener.local_addr().context("read the endpoint's address")?;
    let capability = Capability::random().context("get randomness from the system")?;
    // Caught before anyone can know the endpoint: a stop right after the line below must be clean too.
    let stop = stop_on_signals()?;
    announce(&format!("http://{address}/{}/", capability.as_str()), args.json)?;
    serve(listener, proxy, capability, stop)
        .await
        .context("serve the endpoint")
}

fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.cancel();
    });
    Ok(stop)
}

fn announce(url: &str, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::json!({"ready": true, "url": url}))
    } else {
        writeln!(out, "{url}")
    }
    .and_then(|()| out.flush())
    .context("print the connection string")
}

/// One message for the user. A closed standard error is no reason to stop.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
