//! `bowline access organization`.

use clap::Subcommand;

use super::state::{Common, audit, failed, object};
use crate::env_vars::Env;
use crate::error::CliError;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum OrganizationCommand {
    /// Show the settings.
    Show {
        #[command(flatten)]
        common: Common,
    },
    /// Change settings.
    Set {
        /// The members to change, as an object of the API: JSON, `@file` or `-`. `strict_service_token_auth`,
        /// `deny_unmatched_requests`, `auth_domain`, `service_token_audience` (`text` or `list`),
        /// `key_rotation_interval_days`, `service_token_inactivity`.
        members: String,
        #[command(flatten)]
        common: Common,
    },
}

pub(super) async fn run(command: OrganizationCommand, env: Env<'_>) -> Result<(), CliError> {
    let organization = match command {
        OrganizationCommand::Show { common } => {
            common.open(env).await?.organization().await.map_err(failed)?
        }
        OrganizationCommand::Set { members, common } => {
            let (change, store) = (object(&members)?, common.open(env).await?);
            let changed = store.change_organization(&change).await.map_err(failed)?;
            audit(&store, "organization.set", "organization").await?;
            changed
        }
    };
    output::result(&organization.to_json().to_string());
    Ok(())
}
