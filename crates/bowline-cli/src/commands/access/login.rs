//! `bowline access login`: signing in through a browser.

use std::io::IsTerminal;
use std::process::Stdio;
use std::time::Duration;

use bowline_credentials::{By, FEDRAMP_TRANSFER, Host, LoggedIn, LoginError, LoginOptions, TokenFiles};
use clap::Args;
use http::Uri;

use crate::env_vars::{self, Env};
use crate::error::{CliError, Kind};
use crate::{output, settings, signal};

/// cloudflared waits as long for somebody to sign in.
const PATIENCE: Duration = Duration::from_secs(900);

/// Sign in to a host behind Access.
///
/// A browser does it, here or on any other machine: the URL is shown on standard error. The login is stored in
/// ~/.cloudflared, where cloudflared and Bowline both find it, and is renewed while the team's session lasts. A machine
/// that nobody sits at uses a service token instead.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 signed in, 1 internal, 2 usage, 3 configuration, 4 nobody signed in, or nobody is there to; \
                  5 the host or the login cannot be used."
)]
pub(crate) struct LoginArgs {
    /// The host, or a URL on it.
    host: String,
    /// Let an installed cloudflared do it.
    #[arg(long)]
    cloudflared: bool,
    /// Show the URL only, open no browser.
    #[arg(long)]
    no_browser: bool,
    /// The team is on Cloudflare for Government.
    #[arg(long)]
    fedramp: bool,
    /// Print one line of JSON about the login; never the token.
    #[arg(long)]
    json: bool,
}

/// Ends with a stored login, or changes nothing. SIGINT and SIGTERM end it at any time.
pub(crate) async fn run(args: LoginArgs, env: Env<'_>) -> Result<(), CliError> {
    let url = url(&args.host)?;
    let host = settings::host(&url)?;
    let attended = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !attended || env(env_vars::CI).is_some() {
        let text = format!("nobody is there to sign in to {host}: this is no terminal, or CI is set");
        return Err(CliError::message(Kind::Auth, text).hint(
            "set CLOUDFLARE_ACCESS_CLIENT_ID and CLOUDFLARE_ACCESS_CLIENT_SECRET to a service token of that host",
        ));
    }
    let folder = env_vars::cloudflared_folder(env).ok_or_else(|| {
        CliError::message(
            Kind::User,
            "HOME is not set, so there is nowhere to keep the login",
        )
    })?;
    let found = settings::find(&host, std::path::Path::new("."), env)?;
    let mut options = settings::login_options(&url, TokenFiles::new(folder), found.team_domain, env)?;
    if args.fedramp {
        options.transfer = Some(FEDRAMP_TRANSFER.into());
    }
    let stop = signal::stop();
    tokio::select! {
        done = sign_in(&args, &options, &host, env) => done,
        () = stop => Err(CliError::message(Kind::Auth, "interrupted; nothing was stored")),
    }
}

async fn sign_in(
    args: &LoginArgs,
    options: &LoginOptions,
    host: &Host,
    env: Env<'_>,
) -> Result<(), CliError> {
    if args.cloudflared {
        cloudflared(&options.url, args.fedramp).await?;
    }
    let may_open = !args.no_browser && has_screen(env);
    let show = |url: &str| {
        output::notice(&format!(
            "Sign in to {host} at this address, in any browser:\n\n  {url}\n"
        ));
        if may_open {
            open_browser(url);
        }
    };
    let done = options.login(&show).await.map_err(failed)?;
    told(args, host, &done);
    Ok(())
}

fn told(args: &LoginArgs, host: &Host, done: &LoggedIn) {
    let until = bowline_gateway::timestamp(done.token.expires_at());
    let (by, how) = match done.by {
        By::Stored => ("stored", "The stored login still works"),
        By::Exchange => ("exchange", "Renewed the login from the team's session"),
        By::Browser => ("browser", "Signed in"),
    };
    if args.json {
        let document = serde_json::json!({
            "host": host.to_string(),
            "by": by,
            "application": done.application.hostname,
            "audience": done.application.audience,
            "auth_domain": done.application.auth_domain,
            "expires_at": until,
            "file": done.file,
        });
        output::result(&document.to_string());
    } else {
        output::result(&format!("{how}: {host} until {until}."));
    }
}

fn failed(error: LoginError) -> CliError {
    let (kind, hint) = match &error {
        LoginError::Discovery(_) => (
            Kind::Remote,
            "`bowline access check URL` shows what stands there; a service token needs no login",
        ),
        LoginError::Transfer { .. } | LoginError::Unusable(_) => (Kind::Remote, "start the login once more"),
        LoginError::NobodySignedIn => (Kind::Auth, "start the login once more"),
        LoginError::File { .. } => (Kind::User, "the folder ~/.cloudflared must be yours"),
        LoginError::NoRandomness(_) => (Kind::Internal, "the operating system is at fault"),
    };
    CliError::new(kind, error).hint(hint)
}

/// `https` where no scheme is given, and instead of `http` to any other machine.
fn url(host: &str) -> Result<Uri, CliError> {
    let bad = || CliError::message(Kind::User, "the host must be a host name or an http or https URL");
    let with_scheme = if host.contains("://") {
        host.to_owned()
    } else {
        format!("https://{host}/")
    };
    let url: Uri = with_scheme.parse().map_err(|_| bad())?;
    match Host::of(&url) {
        Some(host) if host.is_in_the_clear() => with_scheme
            .replacen("http://", "https://", 1)
            .parse()
            .map_err(|_| bad()),
        Some(_) => Ok(url),
        None => Err(bad()),
    }
}

fn has_screen(env: Env<'_>) -> bool {
    let local = env(env_vars::SSH_CONNECTION).is_none();
    local && (cfg!(target_os = "macos") || env_vars::SCREENS.iter().any(|name| env(name).is_some()))
}

/// Opens the system's browser, if it will; the URL is on the terminal in any case.
fn open_browser(url: &str) {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let started = tokio::process::Command::new(program)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = started {
        tracing::debug!(%error, program, "could not open a browser");
    }
}

/// Lets cloudflared sign in; its files are ours.
async fn cloudflared(url: &Uri, fedramp: bool) -> Result<(), CliError> {
    let mut command = tokio::process::Command::new("cloudflared");
    command.arg("access");
    if fedramp {
        command.arg("--fedramp");
    }
    let child = command
        .args(["login", "--quiet", &url.to_string()])
        .kill_on_drop(true)
        .status();
    let status = tokio::time::timeout(PATIENCE, child)
        .await
        .map_err(|_| CliError::message(Kind::Auth, "cloudflared did not end within 15 minutes"))?
        .map_err(|error| {
            let error = anyhow::Error::new(error).context("start cloudflared");
            CliError::new(Kind::User, error).hint("without --cloudflared none is needed")
        })?;
    if status.success() {
        Ok(())
    } else {
        Err(CliError::message(
            Kind::Auth,
            format!("cloudflared ended with {status}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn hosts_become_https() {
        for (host, expected) in [
            ("a.example", "https://a.example/"),
            ("a.example:8443", "https://a.example:8443/"),
            ("http://a.example/x", "https://a.example/x"),
            ("https://a.example/x?y", "https://a.example/x?y"),
            ("http://127.0.0.1:80/", "http://127.0.0.1:80/"),
        ] {
            assert_eq!(url(host).unwrap().to_string(), expected);
        }
        for bad in ["", "ftp://a.example/", "https://u:p@a.example/", "a b"] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
