//! `bowline connect`: a local endpoint for any tool that takes a remote proxy connection string.

use std::net::SocketAddr;
use std::path::PathBuf;

use bowline_proxy::{Capability, Proxy, serve};
use clap::Args;
use http::Uri;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cloudflare::{self, Source};
use crate::env_vars::Env;
use crate::error::{CliError, Kind};
use crate::{line, output, signal};

/// Open a local endpoint that carries requests to a remote and adds its Access credentials.
///
/// Without --remote the remote is Cloudflare: a preview session is made for the bindings of the wrangler configuration that
/// are remote, and kept alive and up to date. The API is called with CLOUDFLARE_API_TOKEN, with CLOUDFLARE_API_KEY and
/// CLOUDFLARE_EMAIL, or with the login of `wrangler login`; CLOUDFLARE_ACCOUNT_ID chooses an account, and CLOUDFLARE_API_BASE_URL
/// another API.
///
/// Access credentials are taken from the first of: the remote's host under `access` in bowline.jsonc or in
/// ~/.config/bowline/access.jsonc; CLOUDFLARE_ACCESS_CLIENT_ID and CLOUDFLARE_ACCESS_CLIENT_SECRET, from the environment,
/// .env or .dev.vars; a login stored by `bowline access login` or cloudflared. Without any, requests go unchanged.
/// `bowline access check URL` shows what is found and what stands in front of a host. Certificate authorities are added from SSL_CERT_FILE and NODE_EXTRA_CA_CERTS.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The remote, an http or https URL; a path in it is put before every request's path.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "environment"])]
    remote: Option<Uri>,
    /// The wrangler configuration whose remote bindings are served at Cloudflare, a file or a folder. Default: the project.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The environment of the configuration. Default: CLOUDFLARE_ENV.
    #[arg(long = "env", value_name = "NAME")]
    environment: Option<String>,
    /// Where to listen; loopback only. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The project whose bowline.jsonc, .env and .dev.vars may hold credentials.
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Print one line of JSON once ready, and nothing else on standard output.
    #[arg(long)]
    json: bool,
    /// End when standard input does: a program that starts this one gives it a pipe, whose end also a killed parent leaves.
    #[arg(long)]
    until_stdin_ends: bool,
}

/// Runs until SIGTERM or SIGINT, which end it without an error; with `--until-stdin-ends` also until then.
pub(crate) async fn run(args: ConnectArgs, env: Env<'static>) -> Result<(), CliError> {
    if !args.listen.ip().is_loopback() {
        let text = format!(
            "{} is not a loopback address: the endpoint carries your credentials and stays on this machine",
            args.listen
        );
        return Err(CliError::message(Kind::User, text));
    }
    // Caught before anyone can know the endpoint.
    let (stop, stdin_ends) = (signal::stop(), signal::stdin_ends(args.until_stdin_ends));
    let mut stop = std::pin::pin!(async {
        tokio::select! { () = stop => {}, () = stdin_ends => {} }
    });
    let Some(remote) = args.remote.clone() else {
        let source = Source {
            path: args.config.clone().unwrap_or_else(|| args.project.clone()),
            environment: args.environment.clone(),
        };
        let line = tokio::select! {
            line = cloudflare::connect(source, env) => line?,
            () = &mut stop => return Ok(()),
        };
        let proxy = line.proxy.clone();
        return tokio::select! {
            ended = listen(&args, proxy, stop) => ended,
            () = line.follow(env) => Ok(()),
        };
    };
    let proxy = line::proxy(remote, &args.project, env)?;
    listen(&args, proxy, stop).await
}

/// Announces the endpoint, and serves until `stop`.
async fn listen(args: &ConnectArgs, proxy: Proxy, stop: impl Future<Output = ()>) -> Result<(), CliError> {
    let listening = |error: std::io::Error| {
        CliError::new(
            Kind::User,
            anyhow::Error::new(error).context(format!("listen on {}", args.listen)),
        )
    };
    let listener = TcpListener::bind(args.listen).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;
    let capability = Capability::random().map_err(|error| CliError::new(Kind::Internal, error))?;
    let url = format!("http://{address}/{}/", capability.as_str());
    output::result(&if args.json {
        serde_json::json!({ "ready": true, "url": url }).to_string()
    } else {
        url
    });

    let shutdown = CancellationToken::new();
    let mut served = std::pin::pin!(serve(listener, proxy, capability, shutdown.clone()));
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = stop => {
            shutdown.cancel();
            served.await
        }
    };
    ended.map_err(|error| CliError::new(Kind::Internal, error))
}
