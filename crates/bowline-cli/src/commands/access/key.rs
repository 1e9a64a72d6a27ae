//! `bowline access keys`.

use bowline_access_store::SigningKeyRecord;
use bowline_gateway::{GatewayError, now, rotate_key, timestamp};
use clap::Subcommand;
use serde_json::{Value, json};

use super::state::{Common, audit, failed};
use crate::env_vars::Env;
use crate::error::{CliError, Kind};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// List the current key and the one before, without private parts.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Make a new key that signs from now on. The one before still verifies for a week.
    Rotate {
        #[command(flatten)]
        common: Common,
    },
}

pub(super) async fn run(command: KeyCommand, env: Env<'_>) -> Result<(), CliError> {
    let (rotate, common) = match command {
        KeyCommand::List { common } => (false, common),
        KeyCommand::Rotate { common } => (true, common),
    };
    let store = common.open(env).await?;
    if rotate {
        rotate_key(&store, now()).await.map_err(|error| match error {
            GatewayError::Store(error) => failed(error),
            error => CliError::new(Kind::Internal, error),
        })?;
    }
    let keys = store.signing_keys().await.map_err(failed)?;
    if let Some(newest) = keys.first().filter(|_| rotate) {
        audit(&store, "keys.rotate", &newest.kid).await?;
    }
    let describe = |key: &SigningKeyRecord| json!({"kid": key.kid, "created_at": timestamp(key.created_at)});
    common.print(&Value::Array(keys.iter().map(describe).collect()), || {
        let lines = keys.iter().zip(["current", "previous"]);
        lines
            .map(|(key, state)| format!("{}  {state}  {}", key.kid, timestamp(key.created_at)))
            .collect()
    });
    Ok(())
}
