//! The user's account at Cloudflare: who calls its API, and the session that stands in for a remote.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bowline_api::{
    ApiError, Client, ClientOptions, Credentials, DEFAULT_BASE, EdgePreview, Exchange, LoginEndpoint,
    WranglerLogin, accounts,
};
use bowline_config::{BindingKey, Project};
use bowline_proxy::{Proxy, ProxyOptions};
use bowline_secret::Secret;
use bowline_session::{
    News, OnNews, PreviewSession, ROWS, RemoteBinding, Row, SessionError, SessionOptions, Timing,
};
use http::{HeaderMap, Uri};

use crate::env_vars::{self, Env};
use crate::error::{CliError, Kind};
use crate::{output, settings};

/// How often a configuration is looked at for changes.
const LOOK: Duration = Duration::from_millis(500);

/// A configuration and the environment of it that is meant.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The file, or the folder of one.
    pub(crate) path: PathBuf,
    /// `env.NAME` of it.
    pub(crate) environment: Option<String>,
}

/// A proxy to a preview session that lives as long as this does.
pub(crate) struct Line {
    /// The local end.
    pub(crate) proxy: Proxy,
    session: PreviewSession,
    source: Source,
    file: PathBuf,
}

/// A client of the API, with the first credentials there are: an API token, a key with an e-mail address, wrangler's login.
pub(crate) fn client(env: Env<'_>) -> Result<Client, CliError> {
    let http = Client::connections(settings::extra_authorities(env));
    let either = |names: [&str; 2]| names.iter().find_map(|name| env(name));
    let base = either(env_vars::CLOUDFLARE_API_BASE_URLS).unwrap_or_else(|| DEFAULT_BASE.to_owned());
    let key = either(env_vars::CLOUDFLARE_API_KEYS).zip(either(env_vars::CLOUDFLARE_EMAILS));
    let credentials = if let Some(token) = either(env_vars::CLOUDFLARE_API_TOKENS) {
        Credentials::token(Secret::new(token))
    } else if let Some((key, email)) = key {
        Credentials::key(email, Secret::new(key))
    } else if let Some(file) = env_vars::wrangler_login(env).filter(|file| file.is_file()) {
        let mut endpoint = LoginEndpoint::default();
        if let Some(domain) = env(env_vars::WRANGLER_AUTH_DOMAIN) {
            endpoint.token_url = format!("https://{domain}/oauth2/token");
        }
        if let Some(url) = env(env_vars::WRANGLER_TOKEN_URL) {
            endpoint.token_url = url;
        }
        Credentials::login(WranglerLogin::new(file, endpoint, Arc::clone(&http)))
    } else {
        return Err(CliError::message(
            Kind::Auth,
            "no credentials for Cloudflare's API were found: neither CLOUDFLARE_API_TOKEN, nor CLOUDFLARE_API_KEY with \
             CLOUDFLARE_EMAIL, nor a login of wrangler's",
        )
        .hint("make an API token with the permission Workers Scripts: Edit, or run `wrangler login`")
        .hint("with a remote of your own no account is needed: --remote URL"));
    };
    Ok(Client::new(ClientOptions {
        base,
        credentials,
        http,
    }))
}

/// The account to work on: the configuration's, the environment's, or the only one there is.
pub(crate) async fn account(client: &Client, project: &Project, env: Env<'_>) -> Result<String, CliError> {
    let named = project.account_id.clone();
    let named = named.or_else(|| env_vars::CLOUDFLARE_ACCOUNT_IDS.iter().find_map(|name| env(name)));
    match named {
        Some(id) => Ok(id),
        None => Ok(accounts(client).await.map_err(told)?.id),
    }
}

/// Reads a configuration for what is to be served at Cloudflare.
pub(crate) fn load(source: &Source, env: Env<'_>) -> Result<(Project, Vec<RemoteBinding>), CliError> {
    let keys: Vec<BindingKey> = ROWS
        .iter()
        .map(|row| BindingKey {
            kind: row.type_name,
            wrangler_key: row.wrangler_key,
            name_key: row.name_key,
        })
        .collect();
    let config = |error| CliError::new(Kind::Config, error);
    let environment = source
        .environment
        .clone()
        .or_else(|| env(env_vars::CLOUDFLARE_ENV));
    let project = Project::load_environment(&source.path, &keys, environment.as_deref()).map_err(config)?;
    let mut bindings = Vec::new();
    for entry in &project.bindings {
        if let Some(row) = Row::of(entry.kind).filter(|row| row.is_remote(&entry.entry)) {
            let upload = row.upload(&entry.name, &entry.entry);
            bindings.push(upload.map_err(|error| {
                CliError::new(
                    Kind::Config,
                    anyhow::Error::new(error).context(project.file.display().to_string()),
                )
            })?);
        }
    }
    Ok((project, bindings))
}

/// Starts a session for the remote bindings of a configuration.
pub(crate) async fn connect(source: Source, env: Env<'static>) -> Result<Line, CliError> {
    let (project, bindings) = load(&source, env)?;
    if bindings.is_empty() {
        output::notice(&format!(
            "warning: no binding of {} is remote (`remote: true`)",
            project.file.display()
        ));
    }
    let client = client(env)?;
    let account = account(&client, &project, env).await?;
    let worker = project
        .name
        .clone()
        .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let folder = project.folder.clone();
    let session = PreviewSession::start(SessionOptions {
        api: EdgePreview::new(client.clone(), &account, &worker, exchange(folder.clone(), env)),
        http: Arc::clone(client.http()),
        bindings,
        timing: Timing::default(),
        on_news: news(),
    })
    .await
    .map_err(|error| match error {
        SessionError::Api(error) => told(error),
        error => CliError::new(Kind::Remote, error),
    })?;
    let remote: Uri = format!("https://{}/", session.host())
        .parse()
        .map_err(|error| CliError::new(Kind::Remote, error))?;
    let credentials = settings::credentials(&remote, &folder, env)?;
    let proxy = Proxy::new(ProxyOptions {
        remote,
        credentials,
        preview: Some(session.tokens().clone()),
        warm: true,
        extra_authorities: settings::extra_authorities(env),
        on_refusal: Some(Box::new(output::notice)),
        ..ProxyOptions::default()
    })
    .map_err(|error| CliError::new(Kind::User, error))?;
    Ok(Line {
        proxy,
        session,
        source,
        file: project.file,
    })
}

impl Line {
    /// Follows the configuration: what changes in it changes in the session. Never ends; dropped, the session is over.
    pub(crate) async fn follow(self, env: Env<'static>) {
        let stamp = |file: &Path| -> Option<(SystemTime, u64)> {
            let metadata = std::fs::metadata(file).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        let (mut seen, mut last) = (
            stamp(&self.file),
            load(&self.source, env).map(|(_, bindings)| bindings).ok(),
        );
        loop {
            tokio::time::sleep(LOOK).await;
            let now = stamp(&self.file);
            // An editor may have taken it away to put a new one in its place.
            if now == seen || now.is_none() {
                continue;
            }
            seen = now;
            match load(&self.source, env) {
                Err(error) => {
                    output::notice(&format!("{error}\nthe session goes on with the bindings it has"))
                }
                Ok((_, bindings)) if last.as_ref() == Some(&bindings) => {}
                Ok((_, bindings)) => {
                    output::notice(&format!(
                        "{} has changed: updating the session",
                        self.file.display()
                    ));
                    last = Some(bindings.clone());
                    self.session.change(bindings);
                }
            }
        }
    }
}

/// What gets through Access in front of the host that exchanges session tokens.
fn exchange(folder: PathBuf, env: Env<'static>) -> Exchange {
    Arc::new(move |url: Uri| {
        let folder = folder.clone();
        Box::pin(async move {
            let mut headers = HeaderMap::new();
            if let Ok(credentials) = settings::credentials(&url, &folder, env) {
                credentials.ready().await.add_to(&mut headers);
            }
            headers
        })
    })
}

/// Tells what happens to a session: a row of failures once, and its end.
fn news() -> OnNews {
    let (failing, holding) = (AtomicBool::new(false), AtomicBool::new(false));
    Arc::new(move |news| match news {
        News::Renewed { failures } => {
            failing.store(false, Ordering::Relaxed);
            holding.store(false, Ordering::Relaxed);
            if failures > 0 {
                output::notice("the preview session was renewed");
            }
        }
        News::Failed { error, held, .. } => {
            let again = failing.swap(true, Ordering::Relaxed);
            let holds_already = holding.swap(held, Ordering::Relaxed);
            if again && holds_already == held {
                return;
            }
            let meanwhile = if held {
                "requests wait for it, half a minute each"
            } else {
                "requests go on with the old token"
            };
            let mut text = format!("could not renew the preview session: {error}");
            if let Some(advice) = error.advice() {
                text.push_str(&format!("\n  hint: {advice}"));
            }
            output::notice(&format!("{text}\n  Bowline keeps trying; {meanwhile}."));
        }
        News::Log(log) => output::notice(&format!("[remote {}] {}", log.level, log.text)),
    })
}

/// An error of the API, with its exit code and the next step.
pub(crate) fn told(error: ApiError) -> CliError {
    let kind = if error.is_authentication() {
        Kind::Auth
    } else {
        Kind::Remote
    };
    let advice = error.advice();
    let error = CliError::new(kind, error);
    match advice {
        Some(advice) => error.hint(advice),
        None => error,
    }
}
