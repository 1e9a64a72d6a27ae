//! `bowline deploy`: the proxy Worker as a remote that stays.

use std::path::PathBuf;

use bowline_api::{deploy, hostname};
use bowline_session::{AccessGate, proxy_worker};
use clap::Args;

use crate::cloudflare::{self, Source, told};
use crate::env_vars::Env;
use crate::error::{CliError, Kind};
use crate::output;

/// Put the proxy Worker on an account, behind Access, as a remote that stays.
///
/// The Worker has the bindings of the wrangler configuration that are remote, and answers only requests with a token that
/// Access signed for the application named by --audience. `bowline connect --remote URL` then needs no session and no API
/// token. Credentials and account are found as by `bowline connect`.
///
/// An Access application for the Worker's host has to exist: its audience tag is shown with it in the dashboard, and by
/// `bowline access check URL` once the host is there.
#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// The team domain of Access, such as TEAM.cloudflareaccess.com.
    #[arg(long, value_name = "DOMAIN")]
    team_domain: String,
    /// The audience tag of the Access application in front of the Worker. May be repeated.
    #[arg(long, value_name = "TAG", required = true)]
    audience: Vec<String>,
    /// The wrangler configuration, a file or a folder.
    #[arg(long, value_name = "FILE", default_value = ".")]
    config: PathBuf,
    /// The environment of the configuration. Default: CLOUDFLARE_ENV.
    #[arg(long = "env", value_name = "NAME")]
    environment: Option<String>,
    /// The name of the proxy Worker. Default: the configuration's, with `-bowline` after it. A Worker of this name is replaced.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Deploys and prints the URL.
pub(crate) async fn run(args: DeployArgs, env: Env<'static>) -> Result<(), CliError> {
    let source = Source {
        path: args.config,
        environment: args.environment,
    };
    let (project, bindings) = cloudflare::load(&source, env)?;
    let own = project.name.as_ref();
    let Some(name) = args.name.or_else(|| own.map(|name| format!("{name}-bowline"))) else {
        let text = format!("{} has no `name`", project.file.display());
        return Err(CliError::message(Kind::User, text).hint("name the proxy Worker with --name"));
    };
    if own == Some(&name) {
        // It would take the place of the very Worker that is being developed.
        let text = format!("`{name}` is the Worker of {} itself", project.file.display());
        return Err(CliError::message(Kind::User, text).hint("choose another --name"));
    }
    if bindings.is_empty() {
        let text = format!(
            "no binding of {} is remote (`remote: true`)",
            project.file.display()
        );
        return Err(CliError::message(Kind::Config, text));
    }
    let gate = AccessGate {
        audiences: args.audience,
        ..AccessGate::new(&args.team_domain, "")
    };
    let client = cloudflare::client(env)?;
    let account = cloudflare::account(&client, &project, env).await?;
    let host = hostname(&client, &account, &name).await.map_err(told)?;
    let form = proxy_worker::form(&bindings, Some(&gate));
    deploy(&client, &account, &name, &form).await.map_err(told)?;
    let url = format!("https://{host}/");
    output::notice(&format!(
        "{name} is deployed with {} bindings. Access has to stand in front of {host}: without it the Worker answers nobody.",
        bindings.len()
    ));
    output::result(&if args.json {
        serde_json::json!({ "url": url, "name": name, "bindings": bindings.len() }).to_string()
    } else {
        url
    });
    Ok(())
}
