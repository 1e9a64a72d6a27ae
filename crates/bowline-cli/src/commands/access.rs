//! `bowline access`: the service tokens of a remote, and how a client gets past Access.

mod check;
mod login;

use std::path::PathBuf;

use bowline_access::{ServiceToken, parse_duration};
use bowline_remote::TokenStore;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::env_vars::Env;
use crate::error::{CliError, Kind};
use crate::output;

/// Manage who may reach a remote, and find out what stands in front of one.
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    #[command(subcommand)]
    command: AccessCommand,
}

#[derive(Debug, Subcommand)]
enum AccessCommand {
    /// Service tokens: the credentials of machines.
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    Check(check::CheckArgs),
    Login(login::LoginArgs),
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token. Its secret is shown once and kept only as a hash.
    Create {
        /// A name to recognise it by.
        name: String,
        /// How long it works: hours, minutes, seconds as in `8760h` or `2h45m`, or `forever`.
        #[arg(long, default_value = "8760h")]
        duration: String,
        #[command(flatten)]
        common: Common,
    },
    /// List tokens, without secrets.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Disable a token at once, also for a remote that is running.
    Disable {
        /// The token's id, client id or name.
        token: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
struct Common {
    /// The remote's state folder.
    #[arg(long, default_value = ".bowline")]
    state: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `bowline access …`.
pub(crate) fn run(args: AccessArgs, env: Env<'_>) -> Result<(), CliError> {
    match args.command {
        AccessCommand::Token { command } => token(&command),
        AccessCommand::Check(args) => crate::block_on(check::run(args, env)),
        AccessCommand::Login(args) => crate::block_on(login::run(args, env)),
    }
}

fn token(command: &TokenCommand) -> Result<(), CliError> {
    match command {
        TokenCommand::Create {
            name,
            duration,
            common,
        } => create(name, duration, common),
        TokenCommand::List { common } => list(common),
        TokenCommand::Disable { token, common } => disable(token, common),
    }
}

fn open(common: &Common) -> Result<TokenStore, CliError> {
    TokenStore::open(&common.state).map_err(|error| CliError::new(Kind::Internal, error))
}

fn create(name: &str, duration: &str, common: &Common) -> Result<(), CliError> {
    let lifetime = parse_duration(duration).map_err(|error| CliError::new(Kind::User, error))?;
    let now = jiff::Timestamp::now().as_second();
    let minted = open(common)?
        .create(name, now, lifetime)
        .map_err(|error| CliError::new(Kind::Internal, error))?;
    let secret = minted.client_secret.expose();
    if common.json {
        let mut object = describe(&minted.token);
        object["client_secret"] = secret.into();
        output::result(&object.to_string());
    } else {
        output::result(&format!("CLOUDFLARE_ACCESS_CLIENT_ID={}", minted.token.client_id));
        output::result(&format!("CLOUDFLARE_ACCESS_CLIENT_SECRET={secret}"));
        output::notice(
            "The secret is shown this once. Set both variables where `bowline connect` or `bowline dev` runs.",
        );
    }
    Ok(())
}

fn list(common: &Common) -> Result<(), CliError> {
    let tokens = open(common)?
        .list()
        .map_err(|error| CliError::new(Kind::Internal, error))?;
    if common.json {
        output::result(&Value::Array(tokens.iter().map(describe).collect()).to_string());
        return Ok(());
    }
    if tokens.is_empty() {
        output::notice("No tokens. Make one with `bowline access token create NAME`.");
    }
    for token in &tokens {
        let state = if token.enabled { "enabled" } else { "disabled" };
        let until = token.expires_at.map_or_else(
            || "never expires".into(),
            |at| format!("expires {}", timestamp(at)),
        );
        output::result(&format!("{}  {state}  {until}  {}", token.client_id, token.name));
    }
    Ok(())
}

fn disable(which: &str, common: &Common) -> Result<(), CliError> {
    let tokens = open(common)?
        .disable(which)
        .map_err(|error| CliError::new(Kind::Internal, error))?;
    if tokens.is_empty() {
        return Err(CliError::message(
            Kind::User,
            format!("no token has the id, client id or name `{which}`"),
        )
        .hint("`bowline access token list` shows them"));
    }
    if common.json {
        output::result(&Value::Array(tokens.iter().map(describe).collect()).to_string());
    } else {
        for token in &tokens {
            output::result(&format!("disabled {}  {}", token.client_id, token.name));
        }
    }
    Ok(())
}

fn describe(token: &ServiceToken) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "client_id": token.client_id,
        "enabled": token.enabled,
        "created_at": timestamp(token.created_at),
        "expires_at": token.expires_at.map(timestamp),
    })
}

pub(super) fn timestamp(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "out of range".into(), |at| at.to_string())
}
