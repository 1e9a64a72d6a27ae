//! `bowline edge run`: one command, unmodified, inside the stand-in.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use bowline_edge::{Isolation, IsolationError, Line};
use bowline_gateway::{Listening, serve};
use clap::Args;
use nix::sys::signal::Signal;
use nix::unistd::{getpgrp, tcgetpgrp};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::inside::{Dialer, Inside, InsideError, Running};
use super::{StandArgs, environment};
use crate::env_vars::Env;
use crate::error::{CliError, Kind};
use crate::output;

/// Run a command with the stand-in for its Cloudflare, and loopback for its network.
///
/// The command gets a network of its own with nothing but loopback, in which the edge has port 443 and its hosts resolve; an
/// API token, an account, an Access service token and a certificate authority come by its environment. Nothing else on the
/// machine changes, and no root is needed. What the command serves is reached from outside through --publish. When it ends,
/// what it left running is ended, too.
///
/// Example: bowline edge run --publish 8787 -- npx wrangler dev
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    stand: StandArgs,
    /// Reach a port of the command's from outside, on loopback: PORT, or OUTSIDE:PORT; 0 outside takes a free one.
    #[arg(long, value_name = "[OUTSIDE:]PORT")]
    publish: Vec<Publish>,
    /// Serve the control interface outside, too; loopback only. Port 0 takes a free one. The command finds it at
    /// BOWLINE_EDGE_CONTROL. Both ask for the API token, which is CLOUDFLARE_API_TOKEN where that is set.
    #[arg(long, value_name = "ADDRESS")]
    control: Option<SocketAddr>,
    /// Put a line of this round trip between the command and the edge; connecting takes one more.
    #[arg(long, value_name = "MILLISECONDS")]
    line: Option<u64>,
    /// The command.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy)]
struct Publish {
    outside: u16,
    inside: u16,
}

impl FromStr for Publish {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (outside, inside) = text.split_once(':').unwrap_or((text, text));
        Ok(Self {
            outside: outside.parse()?,
            inside: inside.parse()?,
        })
    }
}

/// The error of a system that has no namespaces for us, with the way around.
pub(super) fn not_allowed(error: IsolationError) -> CliError {
    let refused = matches!(error, IsolationError::Refused { .. });
    let error = CliError::new(Kind::User, error);
    if !refused {
        return error;
    }
    error
        .hint("containers often forbid it: allow unprivileged user namespaces (in Docker, `--security-opt seccomp=unconfined`)")
        .hint(
            "or run `bowline edge` beside the command: it prints the variables to set and the hosts to add to /etc/hosts, and \
             needs to be let on port 443",
        )
}

/// Runs the command, and ends as it does.
pub(super) async fn run(
    args: RunArgs,
    isolation: Isolation,
    env: Env<'static>,
) -> Result<ExitCode, CliError> {
    let internal = |error: anyhow::Error| CliError::new(Kind::Internal, error);
    let project = super::load(&args.stand)?;
    let scripts = super::scripts(&args.stand, project.as_ref());
    if scripts.is_empty() {
        output::notice(
            "warning: no Worker is named, so no host resolves to the edge; name one with --worker",
        );
    }
    let (access, account_id) = (args.stand.access, args.stand.account_id.clone());
    let subdomain = args.stand.subdomain.clone();
    let folder = super::folder()?;
    let hosts = folder.path().join("hosts");
    let names = bowline_edge::hosts(&subdomain, scripts.iter().map(String::as_str));
    let table = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    std::fs::write(&hosts, format!("{table}\n127.0.0.1 {}\n", names.join(" ")))
        .map_err(|error| internal(error.into()))?;
    let inside = Inside::open(isolation, hosts)
        .await
        .map_err(|error| match error {
            InsideError::Isolation(error) => not_allowed(error),
            error => internal(error.into()),
        })?;

    let taken = |listener: &std::net::TcpListener| {
        let listener = listener.try_clone()?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    let (edge, api) = (taken(&inside.edge), taken(&inside.api));
    let (edge, api) = (
        edge.map_err(|error| internal(error.into()))?,
        api.map_err(|error| internal(error.into()))?,
    );
    let api_origin = format!(
        "http://{}",
        api.local_addr().map_err(|error| internal(error.into()))?
    );
    let (authority, authority_file) = super::authority(folder.path(), env)?;
    let (stand, api_token) = super::stand(args.stand, project, &api_origin, env).await?;
    let tls = authority
        .server(stand.certificate_names())
        .map_err(|error| internal(error.into()))?;
    let shutdown = CancellationToken::new();
    let mut api = tokio::spawn(serve(api, stand.api(), shutdown.clone()));
    let edge = match args.line {
        None => edge,
        Some(round_trip) => {
            let (behind, address) = super::bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
            let line = Line::new(address, Duration::from_millis(round_trip), stand.connections());
            tokio::spawn(line.carry(edge));
            behind
        }
    };
    let mut edge = tokio::spawn(serve(
        Listening::over_tls(edge, tls),
        stand.edge(),
        shutdown.clone(),
    ));
    if let Some(address) = args.control {
        let (listener, address) = super::bind(address).await?;
        output::notice(&format!(
            "  the stand-in is controlled at http://{address}/control"
        ));
        tokio::spawn(serve(listener, stand.control(), shutdown.clone()));
    }
    for publish in args.publish {
        forward(publish, inside.dialer()).await?;
    }

    let (program, arguments) = args.command.split_first().unwrap_or((&args.command[0], &[]));
    let mut command = Command::new(program);
    command.args(arguments);
    for name in environment::REMOVED {
        command.env_remove(name);
    }
    command.envs(environment::variables(
        &stand,
        access,
        &account_id,
        &api_token,
        &api_origin,
        &authority_file,
    ));
    let mut signals = Signals::catch().map_err(|error| internal(error.into()))?;
    let mut running = inside.start(command).await.map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("start {}", program.display()));
        CliError::new(Kind::User, error)
    })?;
    loop {
        tokio::select! {
            ended = &mut running.ended => {
                let status = ended.context("lose sight of the command").and_then(|ended| Ok(ended?)).map_err(internal)?;
                running.end_the_rest().await;
                shutdown.cancel();
                return Ok(exit_code(status));
            }
            caught = signals.next() => pass_on(caught, &running),
            ended = &mut api => return Err(stopped(ended, &running)),
            ended = &mut edge => return Err(stopped(ended, &running)),
        }
    }
}

/// The stand-in ended before the command did.
fn stopped(
    ended: Result<Result<(), bowline_gateway::ServeError>, tokio::task::JoinError>,
    running: &Running,
) -> CliError {
    running.signal(Signal::SIGTERM);
    let error = match ended {
        Ok(Ok(())) => anyhow::Error::msg("the stand-in stopped"),
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    };
    CliError::new(Kind::Internal, error)
}

/// As a shell has it: 128 and the signal's number for a command that a signal ended.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// The signals that a user or a system sends to a command.
struct Signals([(Signal, tokio::signal::unix::Signal); 4]);

impl Signals {
    fn catch() -> std::io::Result<Self> {
        let catch =
            |caught: Signal| Ok::<_, std::io::Error>((caught, signal(SignalKind::from_raw(caught as i32))?));
        Ok(Self([
            catch(Signal::SIGINT)?,
            catch(Signal::SIGTERM)?,
            catch(Signal::SIGHUP)?,
            catch(Signal::SIGQUIT)?,
        ]))
    }

    async fn next(&mut self) -> Signal {
        let [interrupt, terminate, hang_up, quit] = &mut self.0;
        tokio::select! {
            _ = interrupt.1.recv() => interrupt.0,
            _ = terminate.1.recv() => terminate.0,
            _ = hang_up.1.recv() => hang_up.0,
            _ = quit.1.recv() => quit.0,
        }
    }
}

/// A terminal sends its keys' signals to the command itself; a second one would be taken for impatience.
fn pass_on(caught: Signal, running: &Running) {
    let stdin = std::io::stdin();
    let from_terminal = matches!(caught, Signal::SIGINT | Signal::SIGQUIT)
        && stdin.is_terminal()
        && tcgetpgrp(&stdin).is_ok_and(|group| group == getpgrp());
    if !from_terminal {
        running.signal(caught);
    }
}

/// Carries connections from outside to a port inside, for as long as the program runs.
async fn forward(publish: Publish, dialer: Dialer) -> Result<(), CliError> {
    let failed = |error: std::io::Error| {
        let error = anyhow::Error::new(error).context(format!("listen on 127.0.0.1:{}", publish.outside));
        CliError::new(Kind::User, error).hint("`--publish 0:PORT` takes a free port")
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, publish.outside))
        .await
        .map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    output::notice(&format!(
        "  http://{address}/ is the command's port {}",
        publish.inside
    ));
    tokio::spawn(async move {
        while let Ok((mut outside, _)) = listener.accept().await {
            let dialer = dialer.clone();
            tokio::spawn(async move {
                let _ = outside.set_nodelay(true);
                if let Ok(mut inside) = dialer.connect(publish.inside).await {
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                }
            });
        }
    });
    Ok(())
}
