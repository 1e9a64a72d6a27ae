//! `bowline access app`.

use bowline_access_store::ApplicationRecord;
use bowline_gateway::{application_object, now};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::state::{Common, audit, failed, object};
use crate::env_vars::Env;
use crate::error::{CliError, Kind};
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// Protect a host, a path, or `*` for everything.
    Create(CreateArgs),
    /// List applications.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show one application with its policies, as the API has it.
    Show {
        /// The application's id, audience tag or name.
        app: String,
        #[command(flatten)]
        common: Common,
    },
    /// Change members of an application.
    Set {
        /// The application's id, audience tag or name.
        app: String,
        /// The members to change, as an object of the API: JSON, `@file` or `-`.
        members: String,
        #[command(flatten)]
        common: Common,
    },
    /// Revoke every session of an application. Service tokens get new ones with their next request.
    Revoke {
        /// The application's id, audience tag or name.
        app: String,
        #[command(flatten)]
        common: Common,
    },
    /// Delete an application with its own policies. What it protected is refused from then on, unless the organisation lets
    /// unprotected hosts pass.
    Delete {
        /// The application's id, audience tag or name.
        app: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// A name to recognise it by.
    name: String,
    /// What it protects: `host`, `host/path`, with wildcards; more than once for more.
    #[arg(long, required = true)]
    domain: Vec<String>,
    /// Reusable policies, by id, in order.
    #[arg(long)]
    policy: Vec<String>,
    /// How long sessions last.
    #[arg(long, default_value = "24h")]
    session_duration: String,
    /// Answer 401 instead of 403 where a Service Auth policy refuses.
    #[arg(long)]
    service_auth_401: bool,
    /// A header that may carry the service token as JSON, such as `Authorization`.
    #[arg(long, value_name = "HEADER")]
    token_header: Option<String>,
    /// Any further members, as an object of the API: JSON, `@file` or `-`.
    #[arg(long, value_name = "JSON")]
    members: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(command: AppCommand, env: Env<'_>) -> Result<(), CliError> {
    match command {
        AppCommand::Create(args) => create(args, env).await,
        AppCommand::List { common } => {
            let applications = common.open(env).await?.applications().await.map_err(failed)?;
            let document = Value::Array(applications.iter().map(application_object).collect());
            common.print(&document, || applications.iter().map(line).collect());
            Ok(())
        }
        AppCommand::Show { app, common } => {
            let application = common.open(env).await?.application(&app).await.map_err(failed)?;
            output::result(&format!("{:#}", application_object(&application)));
            Ok(())
        }
        AppCommand::Set { app, members, common } => {
            let store = common.open(env).await?;
            let old = store.application(&app).await.map_err(failed)?;
            let mut new = old.document.clone();
            merge(&mut new, object(&members)?)?;
            let application = store
                .put_application(Some(&old.id), &new, now())
                .await
                .map_err(failed)?;
            audit(&store, "app.set", &application.id).await?;
            common.print(&application_object(&application), || vec![line(&application)]);
            Ok(())
        }
        AppCommand::Revoke { app, common } => {
            let store = common.open(env).await?;
            let application = store.application(&app).await.map_err(failed)?;
            store
                .revoke(&format!("app:{}", application.aud), now())
                .await
                .map_err(failed)?;
            audit(&store, "app.revoke", &application.id).await?;
            common.print(&json!({"id": application.id, "revoked": true}), || {
                vec![format!("revoked the sessions of {}", line(&application))]
            });
            Ok(())
        }
        AppCommand::Delete { app, common } => {
            let store = common.open(env).await?;
            let application = store.delete_application(&app).await.map_err(failed)?;
            audit(&store, "app.delete", &application.id).await?;
            common.print(&json!({"id": application.id}), || {
                vec![format!("deleted {}", line(&application))]
            });
            Ok(())
        }
    }
}

async fn create(args: CreateArgs, env: Env<'_>) -> Result<(), CliError> {
    let destinations: Vec<Value> = args
        .domain
        .iter()
        .map(|uri| json!({"type": "public", "uri": uri}))
        .collect();
    let mut new = json!({
        "name": args.name, "type": "self_hosted", "domain": args.domain.first(), "destinations": destinations,
        "session_duration": args.session_duration, "policies": args.policy,
        "service_auth_401_redirect": args.service_auth_401,
        "read_service_tokens_from_header": args.token_header,
    });
    if let Some(members) = &args.members {
        merge(&mut new, object(members)?)?;
    }
    let store = args.common.open(env).await?;
    let application = store.put_application(None, &new, now()).await.map_err(failed)?;
    audit(&store, "app.create", &application.id).await?;
    args.common
        .print(&application_object(&application), || vec![line(&application)]);
    if application.policies.is_empty() && !args.common.json {
        output::notice(
            "No policy admits anybody yet. Add one with `bowline access policy create NAME --app …`.",
        );
    }
    Ok(())
}

fn merge(into: &mut Value, members: Value) -> Result<(), CliError> {
    let Value::Object(members) = members else {
        return Err(CliError::message(Kind::User, "the members must be a JSON object"));
    };
    for (name, value) in members {
        into[name] = value;
    }
    Ok(())
}

fn line(application: &ApplicationRecord) -> String {
    let destinations = application
        .parse()
        .map(|parsed| {
            let texts = parsed.destinations.iter();
            texts
                .map(bowline_access::Destination::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        })
        .unwrap_or_default();
    format!(
        "{}  {}  {destinations}  {} policies",
        application.id,
        application.document["name"].as_str().unwrap_or_default(),
        application.policies.len()
    )
}
