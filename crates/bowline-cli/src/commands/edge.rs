//! `bowline edge`: a stand-in for Cloudflare's API of preview sessions and for the edge behind Access.

mod environment;
mod inside;
mod run;
mod serve;
mod uploads;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bowline_access::hex;
use bowline_access_store::random;
use bowline_edge::{AccessMode, Authority, Bindings, Fault, Isolation, RunUpload, Stand, StandOptions};
use bowline_remote::REGISTRY;
use bowline_secret::Secret;
use clap::{Args, Subcommand};
use tokio::net::TcpListener;

use crate::env_vars::{CLOUDFLARE_API_TOKEN, Env};
use crate::error::{CliError, Kind};
use crate::{output, project, workers};

/// Stand in for Cloudflare's API and its edge, so that unmodified tools use remote bindings offline.
///
/// The API creates preview sessions as wrangler, the Vite plugin and the Vitest pool ask for them; the edge serves
/// NAME.SUBDOMAIN.workers.dev over TLS behind Access, and answers for the uploaded bindings with Bowline's own. `bowline edge
/// run -- CMD` runs one command inside it. Without `run`, names, port 443 and trust are yours to arrange: the line that is
/// printed once it is ready tells the variables a tool needs.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct EdgeArgs {
    #[command(subcommand)]
    command: Option<EdgeCommand>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum EdgeCommand {
    Run(run::RunArgs),
}

/// What the stand-in is like.
#[derive(Debug, Args)]
pub(crate) struct StandArgs {
    /// A wrangler configuration, or the folder that holds one: where uploaded bindings are served from, by their names.
    /// Without one in the current folder, from what the upload says.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Where bindings keep their data.
    #[arg(long, value_name = "DIR", default_value = ".bowline")]
    state: PathBuf,
    /// A Worker's name, as the first label of its host, besides the configuration's own.
    #[arg(long = "worker", value_name = "NAME")]
    workers: Vec<String>,
    /// The account's subdomain of workers.dev.
    #[arg(long, default_value = "bowline")]
    subdomain: String,
    /// The account has no subdomain until a tool registers one.
    #[arg(long)]
    unregistered: bool,
    /// The account's id.
    #[arg(long, value_name = "ID", default_value = "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0")]
    account_id: String,
    /// Who may pass: `service-auth` refuses others with 403, `login` sends them to a login, `off` lets everybody in.
    #[arg(long, value_name = "MODE", default_value = "service-auth")]
    access: AccessMode,
    /// Have session tokens exchanged at a host of its own, which Access guards, too.
    #[arg(long)]
    exchange: bool,
    /// Give uploads no tail.
    #[arg(long)]
    no_tail: bool,
    /// How long a session token is good.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    session_lifetime: u64,
    /// How long a preview token is good.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    preview_lifetime: u64,
    /// Run the uploaded Worker in workerd, with Bowline's bindings behind it, where the stand-in would answer for them itself.
    #[arg(long)]
    workerd: bool,
    /// A fault on demand, such as `upload:code=10049*1`, `session:status=503/2*2`, `edge:delay=200`, `api:hang`,
    /// `edge:reset*1`, `edge:gone*1`. More at the control interface.
    #[arg(long = "fault", value_name = "STEP:ACTION[*TIMES]")]
    faults: Vec<Fault>,
}

/// Runs `bowline edge`. To be called before the process has any other thread.
pub(crate) fn run(args: EdgeArgs, env: Env<'static>) -> Result<ExitCode, CliError> {
    match args.command {
        None => crate::block_on(serve::run(args.serve, env)).map(|()| ExitCode::SUCCESS),
        Some(EdgeCommand::Run(args)) => {
            let isolation = Isolation::enter().map_err(run::not_allowed)?;
            crate::block_on(run::run(args, isolation, env))
        }
    }
}

/// The names of Workers whose hosts have to resolve.
fn scripts(args: &StandArgs, project: Option<&bowline_config::Project>) -> Vec<String> {
    let own = project.and_then(|project| project.name.clone());
    own.into_iter().chain(args.workers.iter().cloned()).collect()
}

/// Reads the project that the stand-in serves from.
fn load(args: &StandArgs) -> Result<Option<bowline_config::Project>, CliError> {
    match &args.config {
        Some(path) => project::load(path).map(Some),
        None => project::load_if_any(Path::new(".")),
    }
}

/// Sets up the stand-in, whose API is reached at `api_origin`.
async fn stand(
    args: StandArgs,
    project: Option<bowline_config::Project>,
    api_origin: &str,
    env: Env<'static>,
) -> Result<(Stand, Secret), CliError> {
    let internal = |error: anyhow::Error| CliError::new(Kind::Internal, error);
    let (folder, entries) = match project {
        Some(project) => (project.folder, project.bindings),
        None => {
            let here = std::env::current_dir().map_err(|error| internal(error.into()))?;
            (here, Vec::new())
        }
    };
    let host = workers::host(&folder, &args.state, env);
    let resources = project::resources(&folder, &args.state, env, host)?;
    let run = args.workerd.then(|| {
        let uploads: Arc<dyn RunUpload> = Arc::new(uploads::Uploads::new(folder, env));
        uploads
    });
    let api_token = match env(CLOUDFLARE_API_TOKEN) {
        Some(token) => Secret::new(token),
        None => Secret::new(hex(&random::<20>().map_err(|error| internal(error.into()))?)),
    };
    let options = StandOptions {
        account_id: args.account_id,
        api_token: api_token.clone(),
        subdomain: args.subdomain,
        registered: !args.unregistered,
        exchange: args.exchange,
        tail: !args.no_tail,
        session_lifetime: Duration::from_secs(args.session_lifetime),
        preview_lifetime: Duration::from_secs(args.preview_lifetime),
        access: args.access,
        bindings: Bindings::new(REGISTRY, resources, entries),
        run,
        api_origin: api_origin.to_owned(),
    };
    let stand = Stand::new(options)
        .await
        .map_err(|error| internal(error.into()))?;
    stand.faults().set(args.faults);
    Ok((stand, api_token))
}

/// An authority, its certificate in a file of `folder` together with those that the user trusts already.
fn authority(folder: &Path, env: Env<'_>) -> Result<(Authority, PathBuf), CliError> {
    let internal = |error: anyhow::Error| CliError::new(Kind::Internal, error);
    let authority = Authority::new().map_err(|error| internal(error.into()))?;
    let mut pem = authority.pem().to_owned();
    if let Some(others) = env(crate::env_vars::NODE_EXTRA_CA_CERTS) {
        match std::fs::read_to_string(&others) {
            Ok(others) => pem.push_str(&others),
            Err(error) => output::notice(&format!("warning: cannot read {others}: {error}")),
        }
    }
    let file = folder.join("authority.pem");
    std::fs::write(&file, pem).map_err(|error| internal(error.into()))?;
    Ok((authority, file))
}

/// Where things are while the stand-in runs.
fn folder() -> Result<tempfile::TempDir, CliError> {
    tempfile::Builder::new()
        .prefix("bowline-edge-")
        .tempdir()
        .map_err(|error| CliError::new(Kind::Internal, error))
}

/// Listens on a loopback address.
async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), CliError> {
    if !address.ip().is_loopback() {
        let text = format!(
            "{address} is not a loopback address: a stand-in's credentials are worth nothing elsewhere"
        );
        return Err(CliError::message(Kind::User, text));
    }
    let failed = |error: std::io::Error| {
        let error = anyhow::Error::new(error).context(format!("listen on {address}"));
        CliError::new(Kind::User, error)
            .hint("another port does for the API and for clients that can be told one: --listen 127.0.0.1:0")
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
