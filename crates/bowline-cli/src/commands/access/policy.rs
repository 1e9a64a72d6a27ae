//! `bowline access policy`.

use bowline_access_store::{AccessStore, PolicyRecord};
use bowline_gateway::{now, policy_object};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::state::{Common, audit, failed, object};
use crate::env_vars::Env;
use crate::error::{CliError, Kind};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Make a policy.
    Create(CreateArgs),
    /// List policies.
    List {
        /// Only those of this application, in order.
        #[arg(long)]
        app: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Delete a policy.
    Delete {
        /// The policy's id or name.
        policy: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// A name to recognise it by.
    name: String,
    /// The application it belongs to: id, audience tag or name. Without one it is reusable.
    #[arg(long)]
    app: Option<String>,
    /// What it does: `allow`, `deny`, `non_identity` (Service Auth) or `bypass`.
    #[arg(long, default_value = "non_identity")]
    decision: String,
    /// One of these must hold. A rule is `everyone`, `any_valid_service_token`, `service_token=NAME`, `ip=CIDR`,
    /// `common_name=NAME`, `certificate`, `email=ADDRESS`, `email_domain=DOMAIN`, `group=ID`, `linked_app_token=APP`, or a
    /// JSON object of the API.
    #[arg(long, required = true, value_name = "RULE")]
    include: Vec<String>,
    /// All of these must hold.
    #[arg(long, value_name = "RULE")]
    require: Vec<String>,
    /// None of these may hold.
    #[arg(long, value_name = "RULE")]
    exclude: Vec<String>,
    /// How long sessions last that it admits.
    #[arg(long)]
    session_duration: Option<String>,
    /// Its place among the application's policies.
    #[arg(long)]
    precedence: Option<i64>,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(command: PolicyCommand, env: Env<'_>) -> Result<(), CliError> {
    match command {
        PolicyCommand::Create(args) => create(args, env).await,
        PolicyCommand::List { app, common } => {
            let policies = common
                .open(env)
                .await?
                .policies(app.as_deref())
                .await
                .map_err(failed)?;
            let document = Value::Array(
                policies
                    .iter()
                    .map(|policy| policy_object(policy, None))
                    .collect(),
            );
            common.print(&document, || policies.iter().map(line).collect());
            Ok(())
        }
        PolicyCommand::Delete { policy, common } => {
            let store = common.open(env).await?;
            let policy = store.delete_policy(&policy).await.map_err(failed)?;
            audit(&store, "policy.delete", &policy.id).await?;
            common.print(&json!({"id": policy.id}), || {
                vec![format!("deleted {}", line(&policy))]
            });
            Ok(())
        }
    }
}

async fn create(args: CreateArgs, env: Env<'_>) -> Result<(), CliError> {
    let store = args.common.open(env).await?;
    let mut new = json!({"name": args.name, "decision": args.decision});
    for (list, rules) in [
        ("include", &args.include),
        ("require", &args.require),
        ("exclude", &args.exclude),
    ] {
        let mut parsed = Vec::new();
        for rule in rules {
            parsed.push(read_rule(&store, rule).await?);
        }
        new[list] = parsed.into();
    }
    if let Some(duration) = args.session_duration {
        new["session_duration"] = duration.into();
    }
    if let Some(precedence) = args.precedence {
        new["precedence"] = precedence.into();
    }
    let policy = store
        .put_policy(None, args.app.as_deref(), &new, now())
        .await
        .map_err(failed)?;
    audit(&store, "policy.create", &policy.id).await?;
    args.common
        .print(&policy_object(&policy, args.precedence), || vec![line(&policy)]);
    Ok(())
}

/// A rule in the command line's short form, or as JSON.
async fn read_rule(store: &AccessStore, text: &str) -> Result<Value, CliError> {
    if text.starts_with('{') {
        return object(text);
    }
    let (kind, value) = text.split_once('=').unwrap_or((text, ""));
    let member = match kind {
        "everyone" | "any_valid_service_token" | "certificate" if value.is_empty() => {
            return Ok(json!({ kind: {} }));
        }
        "service_token" => {
            let tokens = store.tokens_called(value).await.map_err(failed)?;
            let [token] = tokens.as_slice() else {
                return Err(CliError::message(
                    Kind::User,
                    format!(
                        "{} tokens are called `{value}`; name one by its client id",
                        tokens.len()
                    ),
                ));
            };
            return Ok(json!({"service_token": {"token_id": token.id}}));
        }
        "linked_app_token" => {
            let application = store.application(value).await.map_err(failed)?;
            return Ok(json!({"linked_app_token": {"app_uid": application.id}}));
        }
        "ip" => "ip",
        "common_name" => "common_name",
        "email" => "email",
        "email_domain" => "domain",
        "group" => "id",
        _ => {
            return Err(CliError::message(
                Kind::User,
                format!("`{text}` is not a rule this command can write"),
            )
            .hint(
                "see `bowline access policy create --help`, or give the rule as a JSON object of the API",
            ));
        }
    };
    Ok(json!({ kind: { member: value } }))
}

fn line(policy: &PolicyRecord) -> String {
    let member = |name: &str| policy.document[name].as_str().unwrap_or_default();
    format!("{}  {}  {}", policy.id, member("decision"), member("name"))
}
