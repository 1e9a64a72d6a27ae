//! `bowline access api-token`.

use bowline_access::parse_duration;
use bowline_access_store::ApiToken;
use bowline_gateway::{now, timestamp};
use clap::Subcommand;
use serde_json::{Value, json};

use super::state::{Common, audit, failed};
use crate::env_vars::Env;
use crate::error::{CliError, Kind};
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum ApiTokenCommand {
    /// Make a token for the REST API. It is shown once and kept only as a hash.
    Create {
        /// A name to recognise it by.
        name: String,
        /// How long it works: a duration, or `forever`.
        #[arg(long, default_value = "8760h")]
        duration: String,
        #[command(flatten)]
        common: Common,
    },
    /// List tokens of the REST API.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Delete a token of the REST API.
    Delete {
        /// Its id or name.
        token: String,
        #[command(flatten)]
        common: Common,
    },
}

pub(super) async fn run(command: ApiTokenCommand, env: Env<'_>) -> Result<(), CliError> {
    match command {
        ApiTokenCommand::Create {
            name,
            duration,
            common,
        } => {
            let lifetime = parse_duration(&duration).map_err(|error| CliError::new(Kind::User, error))?;
            let store = common.open(env).await?;
            let (token, text) = store
                .create_api_token(&name, lifetime, now())
                .await
                .map_err(failed)?;
            audit(&store, "api_token.create", &token.id).await?;
            let mut object = describe(&token);
            object["token"] = text.expose().into();
            common.print(&object, || vec![text.expose().to_owned()]);
            if !common.json {
                output::notice("The token is shown this once. Send it as `Authorization: Bearer …`.");
            }
        }
        ApiTokenCommand::List { common } => {
            let tokens = common.open(env).await?.api_tokens().await.map_err(failed)?;
            common.print(&Value::Array(tokens.iter().map(describe).collect()), || {
                tokens
                    .iter()
                    .map(|token| format!("{}  {}", token.id, token.name))
                    .collect()
            });
        }
        ApiTokenCommand::Delete { token, common } => {
            let store = common.open(env).await?;
            let count = store.delete_api_token(&token).await.map_err(failed)?;
            audit(&store, "api_token.delete", &token).await?;
            common.print(&json!({ "deleted": count }), || vec![format!("deleted {count}")]);
        }
    }
    Ok(())
}

fn describe(token: &ApiToken) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "created_at": timestamp(token.created_at),
        "expires_at": token.expires_at.map(timestamp),
    })
}
