//! `bowline access token`.

use bowline_access::{Minted, ServiceToken, parse_duration};
use bowline_access_store::TokenChange;
use bowline_gateway::{now, timestamp, token_object};
use clap::Subcommand;
use serde_json::Value;

use super::state::{Common, audit, failed};
use crate::env_vars::Env;
use crate::error::{CliError, Kind};
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token. Its secret is shown once and kept only as a hash.
    Create {
        /// A name to recognise it by.
        name: String,
        /// How long it works: a duration as in `8760h` or `2h45m`, or `forever`.
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
    /// Give a token a new secret under the same client id. It is shown once.
    Rotate {
        /// The token's id, client id or name.
        token: String,
        /// How long the old secret goes on working. Without it the old secret dies at once.
        #[arg(long, value_name = "DURATION")]
        grace: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Extend a token by a year from now.
    Refresh {
        /// The token's id, client id or name.
        token: String,
        #[command(flatten)]
        common: Common,
    },
    /// Disable a token at once, also for a gateway that is running, and end its connections.
    Disable {
        /// The token's id, client id or name.
        token: String,
        #[command(flatten)]
        common: Common,
    },
    /// Enable a disabled token again.
    Enable {
        /// The token's id, client id or name.
        token: String,
        #[command(flatten)]
        common: Common,
    },
    /// Delete a token for good.
    Delete {
        /// The token's id, client id or name.
        token: String,
        #[command(flatten)]
        common: Common,
    },
}

pub(super) async fn run(command: TokenCommand, env: Env<'_>) -> Result<(), CliError> {
    match command {
        TokenCommand::Create {
            name,
            duration,
            common,
        } => create(&name, &duration, &common, env).await,
        TokenCommand::List { common } => list(&common, env).await,
        TokenCommand::Rotate { token, grace, common } => rotate(&token, grace.as_deref(), &common, env).await,
        TokenCommand::Refresh { token, common } => change(&token, Change::Refresh, &common, env).await,
        TokenCommand::Disable { token, common } => change(&token, Change::Disable, &common, env).await,
        TokenCommand::Enable { token, common } => change(&token, Change::Enable, &common, env).await,
        TokenCommand::Delete { token, common } => change(&token, Change::Delete, &common, env).await,
    }
}

async fn create(name: &str, duration: &str, common: &Common, env: Env<'_>) -> Result<(), CliError> {
    let store = common.open(env).await?;
    let minted = store.create_token(name, duration, now()).await.map_err(failed)?;
    audit(&store, "token.create", &minted.token.client_id).await?;
    show(&minted, common);
    Ok(())
}

/// Shows a new secret, for the only time.
fn show(minted: &Minted, common: &Common) {
    let secret = minted.client_secret.expose();
    let mut object = token_object(&minted.token);
    object["client_secret"] = secret.into();
    common.print(&object, || {
        vec![
            format!("CLOUDFLARE_ACCESS_CLIENT_ID={}", minted.token.client_id),
            format!("CLOUDFLARE_ACCESS_CLIENT_SECRET={secret}"),
        ]
    });
    if !common.json {
        output::notice(
            "The secret is shown this once. Set both variables where `bowline connect` or `bowline dev` runs.",
        );
    }
}

async fn list(common: &Common, env: Env<'_>) -> Result<(), CliError> {
    let tokens = common.open(env).await?.tokens().await.map_err(failed)?;
    if tokens.is_empty() && !common.json {
        output::notice("No tokens. Make one with `bowline access token create NAME`.");
    }
    let document = Value::Array(tokens.iter().map(token_object).collect());
    common.print(&document, || tokens.iter().map(line).collect());
    Ok(())
}

fn line(token: &ServiceToken) -> String {
    let state = if token.enabled { "enabled" } else { "disabled" };
    let until = token.expires_at.map_or_else(
        || "never expires".into(),
        |at| format!("expires {}", timestamp(at)),
    );
    format!("{}  {state}  {until}  {}", token.client_id, token.name)
}

/// Exactly one token: a new secret cannot be shown for several under one name.
async fn rotate(which: &str, grace: Option<&str>, common: &Common, env: Env<'_>) -> Result<(), CliError> {
    let store = common.open(env).await?;
    let at = now();
    let until = match grace {
        None => None,
        Some(grace) => match parse_duration(grace).map_err(|error| CliError::new(Kind::User, error))? {
            Some(seconds) => Some(at.saturating_add(seconds)),
            None => {
                return Err(CliError::message(
                    Kind::User,
                    "the old secret cannot work forever beside the new one",
                ));
            }
        },
    };
    let tokens = store.tokens_called(which).await.map_err(missing)?;
    let [token] = tokens.as_slice() else {
        return Err(CliError::message(
            Kind::User,
            format!("{} tokens are called `{which}`", tokens.len()),
        )
        .hint("name one by its client id; `bowline access token list` shows them"));
    };
    let minted = store.rotate_token(token, until, at).await.map_err(failed)?;
    audit(&store, "token.rotate", &minted.token.client_id).await?;
    show(&minted, common);
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Refresh,
    Disable,
    Enable,
    Delete,
}

async fn change(which: &str, change: Change, common: &Common, env: Env<'_>) -> Result<(), CliError> {
    let store = common.open(env).await?;
    let at = now();
    let (event, done) = match change {
        Change::Refresh => ("token.refresh", "refreshed"),
        Change::Disable => ("token.disable", "disabled"),
        Change::Enable => ("token.enable", "enabled"),
        Change::Delete => ("token.delete", "deleted"),
    };
    let mut changed = Vec::new();
    for token in store.tokens_called(which).await.map_err(missing)? {
        let enabled = TokenChange {
            enabled: Some(change == Change::Enable),
            ..TokenChange::default()
        };
        let token = match change {
            Change::Refresh => store.refresh_token(&token, at).await,
            Change::Disable | Change::Enable => store.update_token(&token, enabled, at).await,
            Change::Delete => store.delete_token(&token).await.map(|()| token),
        }
        .map_err(failed)?;
        audit(&store, event, &token.client_id).await?;
        changed.push(token);
    }
    let document = Value::Array(changed.iter().map(token_object).collect());
    common.print(&document, || {
        let lines = changed.iter();
        lines
            .map(|token| format!("{done} {}  {}", token.client_id, token.name))
            .collect()
    });
    Ok(())
}

fn missing(error: bowline_access_store::StoreError) -> CliError {
    failed(error).hint("`bowline access token list` shows them")
}
