//! `bowline access gateway`: the gate in front of an HTTP origin.

use std::net::SocketAddr;
use std::sync::Arc;

use bowline_gateway::{Gate, Mode, Origin};
use clap::Args;

use super::state::StateArgs;
use crate::env_vars::Env;
use crate::error::{CliError, Kind};
use crate::gate::{self, GateArgs};
use crate::{output, signal};

#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    /// The origin: `http://host:port` or `https://host`.
    #[arg(long)]
    origin: String,
    /// Where to listen. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8788")]
    listen: SocketAddr,
    /// Listen on an address that others can reach. Put TLS in front: secrets travel in headers.
    #[arg(long)]
    public: bool,
    #[command(flatten)]
    gate: GateArgs,
    #[command(flatten)]
    state: StateArgs,
    /// Print one line of JSON when ready.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: GatewayArgs, env: Env<'_>) -> Result<(), CliError> {
    if !args.public && !args.listen.ip().is_loopback() {
        return Err(CliError::message(
            Kind::User,
            format!("refusing to listen on {}: others could reach it", args.listen),
        )
        .hint("add `--public` if that is meant, with TLS in front of it, or listen on 127.0.0.1"));
    }
    let origin = Origin::new(&args.origin).map_err(|error| CliError::new(Kind::User, error))?;
    let store = args.state.open(env).await?;
    let stop = signal::stop();
    let listening = gate::listen(args.listen, &args.gate, store, Mode::Guard, env).await?;
    listening.announce(args.json, &[]);
    output::notice(&format!("  in front of {}", args.origin));
    let gate = Gate::new(listening.gateway.clone(), Arc::new(origin));
    listening.serve(gate, stop).await
}
