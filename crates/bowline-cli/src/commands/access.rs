//! `bowline access`: who may reach what, the gate by itself, and how a client gets past one.

mod api_token;
mod app;
mod check;
mod gateway;
mod key;
mod log;
mod login;
mod organization;
mod policy;
pub(crate) mod state;
mod token;

use clap::{Args, Subcommand};

use crate::env_vars::Env;
use crate::error::CliError;

/// Manage who may reach a remote or an origin.
///
/// Everything is kept in the state folder, or in the PostgreSQL database that BOWLINE_ACCESS_DATABASE_URL or
/// --database-url-file names. Running gateways see a change by their next request (PostgreSQL: within a second).
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 internal (the state cannot be used), 2 usage (no such token, application or policy; \
                  something malformed), 3 configuration, 5 the listener or the origin."
)]
pub(crate) struct AccessArgs {
    #[command(subcommand)]
    command: AccessCommand,
}

#[derive(Debug, Subcommand)]
enum AccessCommand {
    /// Service tokens: the credentials of machines.
    Token {
        #[command(subcommand)]
        command: token::TokenCommand,
    },
    /// Applications: what is protected.
    App {
        #[command(subcommand)]
        command: app::AppCommand,
    },
    /// Policies: who may reach it.
    Policy {
        #[command(subcommand)]
        command: policy::PolicyCommand,
    },
    /// The keys that sign application tokens.
    Keys {
        #[command(subcommand)]
        command: key::KeyCommand,
    },
    /// Settings for all of it: strict authentication, the team domain…
    Organization {
        #[command(subcommand)]
        command: organization::OrganizationCommand,
    },
    /// Tokens for the REST API.
    ApiToken {
        #[command(subcommand)]
        command: api_token::ApiTokenCommand,
    },
    /// Show the audit log, newest first.
    Log(log::LogArgs),
    /// Put the gate in front of an HTTP origin.
    Gateway(gateway::GatewayArgs),
    Check(check::CheckArgs),
    Login(login::LoginArgs),
}

/// Runs `bowline access …`.
pub(crate) async fn run(args: AccessArgs, env: Env<'_>) -> Result<(), CliError> {
    match args.command {
        AccessCommand::Token { command } => token::run(command, env).await,
        AccessCommand::App { command } => app::run(command, env).await,
        AccessCommand::Policy { command } => policy::run(command, env).await,
        AccessCommand::Keys { command } => key::run(command, env).await,
        AccessCommand::Organization { command } => organization::run(command, env).await,
        AccessCommand::ApiToken { command } => api_token::run(command, env).await,
        AccessCommand::Log(args) => log::run(args, env).await,
        AccessCommand::Gateway(args) => gateway::run(args, env).await,
        AccessCommand::Check(args) => check::run(args, env).await,
        AccessCommand::Login(args) => login::run(args, env).await,
    }
}
