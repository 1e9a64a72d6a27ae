//! Where credentials are looked for, in their order.

use std::path::{Path, PathBuf};

use bowline_secret::Secret;

use crate::settings::{self, SettingsError, Whose};
use crate::token_files::TokenFiles;
use crate::{ApplicationToken, CredentialState, Host, Origin, env_file};

/// The variables of a service token, as wrangler names them.
pub const PAIR: (&str, &str) = ("CLOUDFLARE_ACCESS_CLIENT_ID", "CLOUDFLARE_ACCESS_CLIENT_SECRET");
/// The secret before a rotation.
pub const PREVIOUS_SECRET: &str = "CLOUDFLARE_ACCESS_PREVIOUS_CLIENT_SECRET";
/// An application token for the host where wrangler signs in, and that host.
pub const AUTH_TOKEN: &str = "WRANGLER_CF_AUTHORIZATION_TOKEN";
/// The host [`AUTH_TOKEN`] is for.
pub const AUTH_DOMAIN: &str = "WRANGLER_AUTH_DOMAIN";
const DEFAULT_AUTH_DOMAIN: &str = "dash.cloudflare.com";
/// Files of a project with variables, the first that has one wins.
const ENV_FILES: [&str; 2] = [".env", ".dev.vars"];
/// A larger file is none.
const LARGEST: u64 = 1024 * 1024;

/// Reads one environment variable.
pub type Env<'a> = &'a (dyn Fn(&str) -> Option<String> + Send + Sync);

/// Where to look. A library reads no environment by itself: the caller passes it.
#[derive(Clone)]
pub struct Sources<'a> {
    /// The environment.
    pub env: Env<'a>,
    /// The project's folder, for `bowline.jsonc`, `.env` and `.dev.vars`.
    pub project: Option<PathBuf>,
    /// The user's settings.
    pub user_settings: Option<PathBuf>,
    /// cloudflared's folder.
    pub token_files: Option<TokenFiles>,
}

/// What was found for one host.
#[derive(Debug, Default)]
pub struct Found {
    /// What to send.
    pub state: CredentialState,
    /// What is incomplete and therefore not used, one sentence each.
    pub warnings: Vec<String>,
    /// The host whose keys sign for the application, from the user's settings.
    pub team_domain: Option<String>,
}

impl Sources<'_> {
    /// Looks in order: the settings for this host (project, then user), the environment and the project's env files, the
    /// token for wrangler's own sign-in host, a stored login. The first complete one is taken; half a pair is told and
    /// skipped.
    pub fn find(&self, host: &Host) -> Result<Found, SettingsError> {
        let mut found = Found::default();
        let project = self
            .project
            .as_ref()
            .map(|folder| (folder.join("bowline.jsonc"), Whose::Project));
        let user = self.user_settings.clone().map(|file| (file, Whose::User));
        for (file, whose) in project.into_iter().chain(user) {
            let settings = settings::of_host(&file, whose, host, &self.env)?;
            found.team_domain = found.team_domain.or(settings.team_domain);
            if let (Some(token), CredentialState::Nothing) = (settings.token, &found.state) {
                found.state = CredentialState::Token(token);
            }
        }
        if !matches!(found.state, CredentialState::Nothing) {
            return Ok(found);
        }
        match self.pair() {
            CredentialState::Token(token) => {
                let previous = self.variable(PREVIOUS_SECRET).map(|(text, _)| Secret::new(text));
                found.state = CredentialState::Token(token.with_previous(previous));
                return Ok(found);
            }
            half @ CredentialState::Half { .. } => {
                found.warnings.extend(half_pair(&half));
                found.state = half;
            }
            _ => {}
        }
        if let Some(login) = self
            .auth_token(host, &mut found.warnings)
            .or_else(|| self.stored(host))
        {
            found.state = login;
        }
        Ok(found)
    }

    /// The environment's pair, each half from wherever it is found first.
    fn pair(&self) -> CredentialState {
        CredentialState::from_pair(self.variable(PAIR.0), self.variable(PAIR.1), PAIR)
    }

    /// A variable of the environment, or of the project's env files. An empty one is none.
    fn variable(&self, name: &str) -> Option<(String, Origin)> {
        let there = |value: &String| !value.trim().is_empty();
        if let Some(value) = (self.env)(name).filter(there) {
            return Some((value, Origin::Environment { name: name.into() }));
        }
        let folder = self.project.as_ref()?;
        ENV_FILES.iter().find_map(|file| {
            let file = folder.join(file);
            let value = env_file::value(&small_text(&file)?, name).filter(there)?;
            Some((
                value,
                Origin::EnvFile {
                    file,
                    name: name.into(),
                },
            ))
        })
    }

    fn auth_token(&self, host: &Host, warnings: &mut Vec<String>) -> Option<CredentialState> {
        let domain = (self.env)(AUTH_DOMAIN).unwrap_or_else(|| DEFAULT_AUTH_DOMAIN.into());
        if !domain.trim().eq_ignore_ascii_case(&host.to_string()) {
            return None;
        }
        let text = (self.env)(AUTH_TOKEN).filter(|text| !text.trim().is_empty())?;
        let origin = Origin::Environment {
            name: AUTH_TOKEN.into(),
        };
        match ApplicationToken::parse(&text) {
            Ok(token) => Some(CredentialState::Login(token, origin)),
            Err(error) => {
                warnings.push(format!("{origin} is not used: {error}"));
                None
            }
        }
    }

    fn stored(&self, host: &Host) -> Option<CredentialState> {
        let (token, file) = self.token_files.as_ref()?.find(host, crate::credentials::now())?;
        Some(CredentialState::Login(token, Origin::TokenFile { file }))
    }
}

/// What is wrong with half a pair of credentials, for the user.
fn half_pair(state: &CredentialState) -> Option<String> {
    let CredentialState::Half { set, origin, missing } = state else {
        return None;
    };
    let place = match origin {
        Origin::Environment { .. } => String::new(),
        other => format!(" ({other})"),
    };
    Some(format!(
        "{set} is set{place} but {missing} is not: a service token needs both, so none is sent. Set {missing} too."
    ))
}

fn small_text(file: &Path) -> Option<String> {
    let metadata = std::fs::metadata(file).ok()?;
    if metadata.len() > LARGEST {
        return None;
    }
    std::fs::read_to_string(file).ok()
}

impl std::fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sources({:?}, {:?})", self.project, self.user_settings)
    }
}

#[cfg(test)]
mod tests;
