//! `bowline edge` alone: names, port and trust are the caller's to arrange.

use std::net::SocketAddr;

use bowline_gateway::{Listening, serve};
use clap::Args;
use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

use super::{StandArgs, environment};
use crate::env_vars::Env;
use crate::error::{CliError, Kind};
use crate::{output, signal};

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    stand: StandArgs,
    /// Where the edge listens; loopback only. Tools call port 443.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:443")]
    listen: SocketAddr,
    /// Where the API listens; loopback only. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    api_listen: SocketAddr,
    /// Print one line of JSON when ready.
    #[arg(long)]
    json: bool,
}

/// Serves until a signal.
pub(super) async fn run(args: ServeArgs, env: Env<'static>) -> Result<(), CliError> {
    let stop = signal::stop();
    let internal = |error: anyhow::Error| CliError::new(Kind::Internal, error);
    let (listener, edge) = super::bind(args.listen).await?;
    let (api_listener, api) = super::bind(args.api_listen).await?;
    let api_origin = format!("http://{api}");
    let (access, account_id) = (args.stand.access, args.stand.account_id.clone());
    let subdomain = args.stand.subdomain.clone();
    let project = super::load(&args.stand)?;
    let scripts = super::scripts(&args.stand, project.as_ref());
    let folder = super::folder()?;
    let (authority, authority_file) = super::authority(folder.path(), env)?;
    let (stand, api_token) = super::stand(args.stand, project, &api_origin, env).await?;
    let tls = authority
        .server(stand.certificate_names())
        .map_err(|error| internal(error.into()))?;
    let hosts = bowline_edge::hosts(&subdomain, scripts.iter().map(String::as_str));
    let variables = environment::variables(
        &stand,
        access,
        &account_id,
        &api_token,
        &api_origin,
        &authority_file,
    );
    if args.json {
        let variables: Map<_, _> = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let document = json!({
            "ready": true, "url": format!("{api_origin}/client/v4"), "edge": edge.to_string(), "hosts": hosts, "env": variables,
        });
        output::result(&document.to_string());
    } else {
        for (name, value) in &variables {
            output::result(&format!("export {name}='{value}'"));
        }
        output::notice(&format!("  edge at {edge}, for the hosts {}", hosts.join(", ")));
    }
    let shutdown = CancellationToken::new();
    let served = tokio::select! {
        served = serve(api_listener, stand.api(), shutdown.clone()) => served,
        served = serve(Listening::over_tls(listener, tls), stand.edge(), shutdown.clone()) => served,
        () = stop => { shutdown.cancel(); Ok(()) }
    };
    served.map_err(|error| internal(error.into()))
}
