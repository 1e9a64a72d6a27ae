//! `bowline dev`: a Worker of a wrangler configuration on workerd.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bowline_config::Project;
use bowline_remote::REGISTRY;
use bowline_workerd::{
    Output, OutputSink, Runner, RunnerError, RunnerOptions, Toolchain, ToolchainError, ToolchainOptions,
};
use clap::Args;
use http::Uri;

use crate::cloudflare::{self, Source};
use crate::env_vars::{self, Env};
use crate::error::{CliError, Kind};
use crate::line::{self, Services};
use crate::{output, project, signal};

/// From starting workerd to its listening.
pub(super) const READY: Duration = Duration::from_secs(30);

/// Run the Worker of a wrangler configuration on workerd.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// The project: a folder with a wrangler configuration, or the configuration itself.
    #[arg(default_value = ".")]
    project: PathBuf,
    /// The remote that serves the bindings that say `remote: true`: a URL, or `cloudflare` for a preview session (see
    /// `bowline connect --help`).
    #[arg(long, value_name = "URL|cloudflare")]
    remote: Option<Remote>,
    /// The port to serve the Worker on. 0 takes a free one.
    #[arg(long, default_value_t = 8788)]
    port: u16,
    /// Where bindings placed here keep their data.
    #[arg(long, default_value = ".bowline")]
    state: PathBuf,
    /// Print one line of JSON when ready.
    #[arg(long)]
    json: bool,
}

/// Where remote bindings are.
#[derive(Debug, Clone)]
enum Remote {
    /// At Cloudflare.
    Cloudflare,
    /// At a remote of one's own, or a deployed proxy Worker.
    At(Uri),
}

impl FromStr for Remote {
    type Err = <Uri as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "cloudflare" => Ok(Self::Cloudflare),
            url => url.parse().map(Self::At),
        }
    }
}

/// Runs until a signal, or until workerd dies.
pub(crate) async fn run(args: DevArgs, env: Env<'static>) -> Result<(), CliError> {
    let stop = signal::stop();
    let mut stop = std::pin::pin!(stop);
    let project = project::load(&args.project)?;
    let mut session = None;
    let proxy = match args.remote {
        None => None,
        Some(Remote::At(remote)) => Some(line::proxy(remote, &project.folder, env)?),
        Some(Remote::Cloudflare) => {
            let source = Source {
                path: args.project,
                environment: None,
            };
            let line = tokio::select! {
                line = cloudflare::connect(source, env) => line?,
                () = &mut stop => return Ok(()),
            };
            let proxy = line.proxy.clone();
            session = Some(line);
            Some(proxy)
        }
    };
    let (table, services) = line::place(&project, proxy.as_ref(), &args.state, env)?;
    let rows: Vec<serde_json::Value> = table
        .iter()
        .map(
            |row| serde_json::json!({"name": row.name, "kind": row.kind, "place": row.place, "why": row.why}),
        )
        .collect();
    for row in &table {
        output::notice(&format!(
            "  {:<16} {:<12} {:<7} ({})",
            row.name, row.kind, row.place, row.why
        ));
    }
    let print: OutputSink = Arc::new(|line| match line {
        Output::Out(line) | Output::Err(line) => output::notice(line),
    });
    let starting = start(project, services, args.port, env, print);
    let runner = tokio::select! {
        started = starting => started?,
        () = &mut stop => return Ok(()),
    };
    if args.json {
        output::result(&serde_json::json!({"ready": true, "url": runner.url(), "workerd_pid": runner.pid(), "bindings": rows}).to_string());
    } else {
        output::result(&runner.url());
    }
    let kept = async {
        match session {
            Some(line) => line.follow(env).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = kept => Ok(()),
        error = runner.wait() => Err(CliError::new(Kind::Remote, error)),
        () = &mut stop => {
            runner.stop().await;
            Ok(())
        }
    }
}

/// Finds workerd and starts the Worker.
pub(super) async fn start(
    project: Project,
    services: Services,
    port: u16,
    env: Env<'_>,
    output: OutputSink,
) -> Result<Runner, CliError> {
    let toolchain = toolchain(&project.folder, env).await?;
    let options = RunnerOptions {
        project,
        services,
        forms: |kind| REGISTRY.kind(kind).map(|descriptor| descriptor.worker),
        fetches: None,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        callee: None,
        toolchain,
        temp_dir: std::env::temp_dir(),
        ready_within: READY,
        output,
    };
    Runner::start(options).await.map_err(|error| {
        let kind = match &error {
            RunnerError::Project { .. } => Kind::Config,
            _ => Kind::Remote,
        };
        CliError::new(kind, error)
    })
}

pub(super) async fn toolchain(folder: &Path, env: Env<'_>) -> Result<Toolchain, CliError> {
    let options = ToolchainOptions {
        project: folder.to_owned(),
        workerd: env(env_vars::BOWLINE_WORKERD).map(PathBuf::from),
        cache_dir: env_vars::cache_folder(env),
        capnweb: true,
        npm: "npm".into(),
        progress: Arc::new(output::notice),
    };
    Toolchain::find(&options).await.map_err(|error| {
        let hint = match &error {
            ToolchainError::NoNpm => "install Node.js with npm; it is needed once, to fetch workerd",
            _ => "BOWLINE_WORKERD names a workerd program to use instead",
        };
        CliError::new(Kind::Remote, error).hint(hint)
    })
}
