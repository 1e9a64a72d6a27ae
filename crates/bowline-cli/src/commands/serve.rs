//! `bowline serve`: the remote.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bowline_access::Gate;
use bowline_remote::{Gateway, Remote, TokenStore, serve};
use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use crate::error::{CliError, Kind};
use crate::{output, project, signal};

/// Serve bindings behind Access.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// A wrangler configuration, or the folder that holds one: its bindings are served.
    #[arg(long, default_value = ".")]
    config: PathBuf,
    /// Where to listen. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8787")]
    listen: SocketAddr,
    /// Where data and tokens are kept.
    #[arg(long, default_value = ".bowline")]
    state: PathBuf,
    /// Who may pass. `off` is allowed on a loopback address only.
    #[arg(long, value_enum, default_value_t = AccessMode::ServiceToken)]
    access: AccessMode,
    /// Print one line of JSON when ready.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AccessMode {
    /// Any valid service token.
    ServiceToken,
    /// Everybody.
    Off,
}

/// Runs `bowline serve` until a signal.
pub(crate) async fn run(args: ServeArgs) -> Result<(), CliError> {
    if args.access == AccessMode::Off && !args.listen.ip().is_loopback() {
        return Err(CliError::message(
            Kind::User,
            format!(
                "refusing to serve on {} without Access: anyone who reaches it could use the bindings",
                args.listen
            ),
        )
        .hint("leave out `--access off`, or listen on 127.0.0.1"));
    }
    let project = project::load(&args.config)?;
    let tokens = TokenStore::open(&args.state).map_err(|error| CliError::new(Kind::Internal, error))?;
    let router = Arc::new(project::router(&project, |_| true, &args.state)?);
    let gate = if args.access == AccessMode::Off {
        Gate::Open
    } else {
        Gate::ServiceTokens
    };
    if gate == Gate::ServiceTokens && tokens.list().is_ok_and(|tokens| tokens.is_empty()) {
        output::notice("No service token exists yet, so every request will be refused. Make one with:");
        output::notice(&format!(
            "  bowline access token create NAME --state {}",
            args.state.display()
        ));
    }
    let remote = Remote::new(Gateway::new(gate, Arc::new(tokens)), Arc::clone(&router));

    let stop = signal::stop();
    let listener = tokio::net::TcpListener::bind(args.listen)
        .await
        .map_err(|error| {
            CliError::new(
                Kind::User,
                anyhow::Error::new(error).context(format!("listen on {}", args.listen)),
            )
        })?;
    let address = listener
        .local_addr()
        .map_err(|error| CliError::new(Kind::Internal, error))?;
    let url = format!("http://{address}/");
    router.mounted(&url);
    if args.json {
        output::result(&serde_json::json!({ "ready": true, "url": url }).to_string());
    } else {
        output::result(&url);
        for binding in &project.bindings {
            output::notice(&format!("  {}  {}", binding.name, binding.kind));
        }
    }
    let shutdown = CancellationToken::new();
    tokio::select! {
        served = serve(listener, remote, shutdown.clone()) => served.map_err(|error| CliError::new(Kind::Internal, error)),
        () = stop => { shutdown.cancel(); Ok(()) }
    }
}
