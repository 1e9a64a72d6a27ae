//! `bowline serve`: the remote.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bowline_gateway::Mode;
use bowline_remote::Remote;
use clap::{Args, ValueEnum};

use crate::commands::access::state::StateArgs;
use crate::env_vars::Env;
use crate::error::{CliError, Kind};
use crate::gate::{self, GateArgs};
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
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    gate: GateArgs,
    /// Who may pass. `off` is allowed on a loopback address only.
    #[arg(long, value_enum, default_value_t = AccessMode::ServiceToken)]
    access: AccessMode,
    /// Print one line of JSON when ready.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AccessMode {
    /// Applications and their policies decide. A new state folder has one that takes any valid service token.
    ServiceToken,
    /// Everybody.
    Off,
}

/// Runs `bowline serve` until a signal.
pub(crate) async fn run(args: ServeArgs, env: Env<'static>) -> Result<(), CliError> {
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
    let store = args.state.open(env).await?;
    let router = Arc::new(project::router(&project, |_| true, &args.state.state, env)?);
    let mode = match args.access {
        AccessMode::Off => Mode::Open,
        AccessMode::ServiceToken => Mode::Guard,
    };
    if mode == Mode::Guard && store.tokens().await.is_ok_and(|tokens| tokens.is_empty()) {
        output::notice("No service token exists yet, so every request will be refused. Make one with:");
        output::notice(&format!(
            "  bowline access token create NAME --state {}",
            args.state.state.display()
        ));
    }
    let stop = signal::stop();
    let listening = gate::listen(args.listen, &args.gate, store, mode, env).await?;
    let bindings = project.bindings.iter();
    let lines: Vec<String> = bindings
        .map(|binding| format!("  {}  {}", binding.name, binding.kind))
        .collect();
    listening.announce(args.json, &lines);
    router.mounted(listening.url().trim_end_matches('/'));
    let remote = Remote::new(listening.gateway.clone(), router);
    listening.serve(remote, stop).await
}
