//! What the environment's variables and files mean.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bowline_credentials::{
    Clock, CredentialState, Credentials, Found, Host, HttpClient, LoginOptions, Origin, Renew, SettingsError,
    Sources, TokenFiles,
};
use http::Uri;

use crate::env_vars::{self, Env, NODE_EXTRA_CA_CERTS, SSL_CERT_FILE};
use crate::error::{CliError, Kind};
use crate::output;

/// Where credentials are looked for, for a project in `folder`.
pub(crate) fn sources<'a>(folder: &Path, env: Env<'a>) -> Sources<'a> {
    Sources {
        env,
        project: Some(folder.to_owned()),
        user_settings: env_vars::user_settings(env),
        token_files: env_vars::cloudflared_folder(env).map(TokenFiles::new),
    }
}

/// The host of a remote.
pub(crate) fn host(url: &Uri) -> Result<Host, CliError> {
    Host::of(url).ok_or_else(|| {
        // Not shown: what makes it unusable may be a password in it.
        CliError::message(
            Kind::User,
            "the URL must be http or https, with a host and without user information",
        )
    })
}

/// The credentials to send to `remote`. What is incomplete is told, and so is what travels in the clear.
pub(crate) fn credentials(remote: &Uri, folder: &Path, env: Env<'_>) -> Result<Credentials, CliError> {
    let host = host(remote)?;
    let found = find(&host, folder, env)?;
    for warning in &found.warnings {
        output::notice(&format!("warning: {warning}"));
    }
    if host.is_in_the_clear() && found.state.sent() != bowline_credentials::Sent::Nothing {
        output::notice(&format!(
            "warning: credentials go to {host} over http, where others can read them. Use https."
        ));
    }
    renewing(remote, host, found, env)
}

/// Credentials from what was found. A stored login is renewed while it can be.
pub(crate) fn renewing(url: &Uri, host: Host, found: Found, env: Env<'_>) -> Result<Credentials, CliError> {
    let renew = match (&found.state, env_vars::cloudflared_folder(env)) {
        (CredentialState::Login(_, Origin::TokenFile { .. }), Some(folder)) => {
            let options = login_options(url, TokenFiles::new(folder), found.team_domain, env)?;
            Some(Arc::new(options) as Arc<dyn Renew>)
        }
        _ => None,
    };
    Credentials::renewing(host, found.state, renew, clock()).map_err(unsendable)
}

/// What signing in to `url`, and renewing that, takes.
pub(crate) fn login_options(
    url: &Uri,
    files: TokenFiles,
    team_domain: Option<String>,
    env: Env<'_>,
) -> Result<LoginOptions, CliError> {
    Ok(LoginOptions {
        client: http_client(env)?,
        files,
        url: url.clone(),
        team_domain,
        transfer: env(env_vars::BOWLINE_ACCESS_TRANSFER),
        clock: clock(),
    })
}

/// A client for small requests, trusting what the environment says besides the system.
pub(crate) fn http_client(env: Env<'_>) -> Result<HttpClient, CliError> {
    HttpClient::new(&extra_authorities(env)).map_err(|error| CliError::new(Kind::User, error))
}

fn clock() -> Clock {
    Arc::new(|| jiff::Timestamp::now().as_second())
}

/// What is found for a host.
pub(crate) fn find(host: &Host, folder: &Path, env: Env<'_>) -> Result<Found, CliError> {
    sources(folder, env).find(host).map_err(|error| {
        let kind = match &error {
            SettingsError::NotPrivate { .. } => Kind::Auth,
            _ => Kind::Config,
        };
        CliError::new(kind, error)
    })
}

pub(crate) fn unsendable(error: http::header::InvalidHeaderValue) -> CliError {
    let error = anyhow::Error::new(error).context("a credential has characters that no header can carry");
    CliError::new(Kind::Auth, error)
}

/// Files of extra certificate authorities.
pub(crate) fn extra_authorities(env: Env<'_>) -> Vec<PathBuf> {
    [SSL_CERT_FILE, NODE_EXTRA_CA_CERTS]
        .iter()
        .filter_map(|name| env(name))
        .filter(|file| !file.is_empty())
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_in_order_and_empty_is_none() {
        let both = |name: &str| {
            [SSL_CERT_FILE, NODE_EXTRA_CA_CERTS]
                .contains(&name)
                .then(|| format!("/{name}"))
        };
        assert_eq!(
            extra_authorities(&both),
            [
                PathBuf::from("/SSL_CERT_FILE"),
                PathBuf::from("/NODE_EXTRA_CA_CERTS")
            ]
        );
        assert!(extra_authorities(&|_| Some(String::new())).is_empty());
    }
}
