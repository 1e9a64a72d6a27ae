//! The commands of the `bowline` program: one file per command under `commands`, and what they share.
//!
//! Results go to stdout, progress and advice to stderr. Exit codes are part of the interface and listed in `--help`.

mod cloudflare;
mod commands;
mod endpoints;
mod env_vars;
mod error;
mod gate;
mod line;
mod output;
mod project;
mod settings;
mod signal;
mod workers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use crate::error::{CliError, Kind};

/// Remote bindings for Cloudflare Workers, both ends of the line.
#[derive(Debug, Parser)]
#[command(name = "bowline", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 internal, 2 usage, 3 configuration, 4 credentials, 5 remote or workerd. \
                  `edge run` ends as its command does, with 128 and the signal's number where a signal ended it."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::DemoArgs),
    Dev(commands::dev::DevArgs),
    Connect(commands::connect::ConnectArgs),
    Config(commands::config::ConfigArgs),
    Deploy(commands::deploy::DeployArgs),
    Edge(Box<commands::edge::EdgeArgs>),
    Serve(commands::serve::ServeArgs),
    Access(commands::access::AccessArgs),
    Models(commands::models::ModelsArgs),
}

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are results, mistakes are not; clap knows which is which, and that usage errors exit with 2.
        Err(error) => error.exit(),
    };
    start_log(&env_vars::process);
    // Named once for the process: rustls would otherwise panic should a dependency bring a second provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            output::notice(&error.to_string());
            error.exit_code()
        }
    }
}

fn run(command: Command) -> Result<ExitCode, CliError> {
    let env: env_vars::Env<'static> = &env_vars::process;
    match command {
        // Before there is any other thread, and it ends as the command that it runs does.
        Command::Edge(args) => return commands::edge::run(*args, env),
        Command::Access(args) => block_on(commands::access::run(args, env)),
        Command::Config(args) => commands::config::run(&args),
        Command::Models(args) => commands::models::run(&args, env),
        Command::Serve(args) => block_on(commands::serve::run(args, env)),
        // One thread: it carries what one developer's tools send, and a request that never changes threads is answered
        // sooner (`cargo xtask bench proxy`).
        Command::Connect(args) => run_on(Builder::new_current_thread(), commands::connect::run(args, env)),
        Command::Deploy(args) => run_on(Builder::new_current_thread(), commands::deploy::run(args, env)),
        Command::Dev(args) => block_on(commands::dev::run(args, env)),
        Command::Demo(args) => block_on(commands::demo::run(args, env)),
    }
    .map(|()| ExitCode::SUCCESS)
}

fn block_on<T>(command: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    run_on(Builder::new_multi_thread(), command)
}

fn run_on<T>(
    mut runtime: Builder,
    command: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    runtime
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Kind::Internal, error))?
        .block_on(command)
}

fn start_log(env: env_vars::Env<'_>) {
    let level = match env(env_vars::BOWLINE_LOG).as_deref() {
        None | Some("warn") => tracing::Level::WARN,
        Some("error") => tracing::Level::ERROR,
        Some("info") => tracing::Level::INFO,
        Some("debug") => tracing::Level::DEBUG,
        Some("trace") => tracing::Level::TRACE,
        Some(other) => {
            output::notice(&format!(
                "{}={other} is not a log level; using warn",
                env_vars::BOWLINE_LOG
            ));
            tracing::Level::WARN
        }
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
}
