//! Settings per host: the `access` member of `bowline.jsonc`, and the user's own file.
//!
//! ```jsonc
//! { "hosts": { "remote.example.com": { "client_id": "….access", "client_secret_env": "STAGING_SECRET" } } }
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use bowline_secret::Secret;
use http::HeaderName;
use serde_json::{Map, Value};

use crate::{Host, Origin, ServiceToken};

/// Larger files are no settings.
const LARGEST: u64 = 1024 * 1024;
/// The members of a host that are texts; those in the second half name environment variables.
const TEXTS: [&str; 8] = [
    "client_id",
    "client_secret",
    "previous_client_secret",
    "client_id_env",
    "client_secret_env",
    "previous_client_secret_env",
    "header",
    "team_domain",
];

/// Settings that cannot be used. Every text names the file and what to change; none shows a value.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("read {}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not in JSON with comments.
    #[error("{}: {problem}", .file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What the parser says, with the place.
        problem: String,
    },
    /// A member has the wrong shape.
    #[error("{}: `{key}` {problem}", .file.display())]
    Member {
        /// The file.
        file: PathBuf,
        /// The member at fault.
        key: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Others may read the secrets in the file.
    #[error("{} holds a secret and can be read by others (mode {mode:o}): chmod 600 it, or name an environment variable with `client_secret_env`", .file.display())]
    NotPrivate {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// What a file says about one host.
#[derive(Debug, Default)]
pub(crate) struct HostSettings {
    /// A service token, when there is one.
    pub(crate) token: Option<ServiceToken>,
    /// The host whose keys sign for the application, other than `*.cloudflareaccess.com`.
    pub(crate) team_domain: Option<String>,
}

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// `bowline.jsonc` of a project, which may come from a stranger.
    Project,
    /// The user's own.
    User,
}

/// What `file` says about `host`; nothing when there is no such file.
pub(crate) fn of_host(
    file: &Path,
    whose: Whose,
    host: &Host,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<HostSettings, SettingsError> {
    let reader = Reader { file, whose };
    let Some(members) = reader.members()? else {
        return Ok(HostSettings::default());
    };
    let (hosts, at) = match whose {
        Whose::User => (members.get("hosts"), "hosts"),
        Whose::Project => {
            let Some(access) = members.get("access") else {
                return Ok(HostSettings::default());
            };
            let access = access
                .as_object()
                .ok_or_else(|| reader.bad("access", "must be an object"))?;
            if let Some(key) = access.keys().find(|key| *key != "hosts") {
                return Err(reader.bad(
                    &format!("access.{key}"),
                    "is not known; `access` has `hosts` only",
                ));
            }
            (access.get("hosts"), "access.hosts")
        }
    };
    let Some(hosts) = hosts else {
        return Ok(HostSettings::default());
    };
    let hosts = hosts
        .as_object()
        .ok_or_else(|| reader.bad(at, "must be an object, one member a host"))?;
    for (name, entry) in hosts {
        reader.check(&format!("{at}.{name}"), entry)?;
    }
    reader.check_mode(hosts)?;
    // The host with its port is the nearer name.
    for key in [host.to_string(), host.name().to_owned()] {
        let found = hosts.iter().find(|(name, _)| name.eq_ignore_ascii_case(&key));
        if let Some((name, Value::Object(entry))) = found {
            return reader.settings(&format!("{at}.{name}"), name, entry, env);
        }
    }
    Ok(HostSettings::default())
}

struct Reader<'a> {
    file: &'a Path,
    whose: Whose,
}

impl Reader<'_> {
    fn bad(&self, key: &str, problem: impl Into<String>) -> SettingsError {
        SettingsError::Member {
            file: self.file.to_owned(),
            key: key.to_owned(),
            problem: problem.into(),
        }
    }

    fn members(&self) -> Result<Option<Map<String, Value>>, SettingsError> {
        let unreadable = |source| SettingsError::Unreadable {
            file: self.file.to_owned(),
            source,
        };
        let syntax = |problem: String| SettingsError::Syntax {
            file: self.file.to_owned(),
            problem,
        };
        match fs::metadata(self.file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
            Ok(metadata) if metadata.len() > LARGEST => {
                return Err(syntax(format!(
                    "{} bytes is too large for settings",
                    metadata.len()
                )));
            }
            Ok(_) => {}
        }
        let text = fs::read_to_string(self.file).map_err(unreadable)?;
        match jsonc_parser::parse_to_serde_value::<Value>(&text, &jsonc_parser::ParseOptions::default()) {
            Ok(Value::Object(members)) => Ok(Some(members)),
            Ok(_) => Err(syntax("settings are an object".into())),
            Err(error) => Err(syntax(error.to_string())),
        }
    }

    /// The shape of one host's entry, also of hosts that nobody asked about: a mistake is told when it is made.
    fn check(&self, at: &str, entry: &Value) -> Result<(), SettingsError> {
        let entry = entry
            .as_object()
            .ok_or_else(|| self.bad(at, "must be an object"))?;
        for (key, value) in entry {
            let at = format!("{at}.{key}");
            if !TEXTS.contains(&key.as_str()) {
                return Err(self.bad(&at, format!("is not known; there are {}", TEXTS.join(", "))));
            }
            if !value.is_string() {
                return Err(self.bad(&at, "must be a text"));
            }
            if key == "team_domain" && self.whose == Whose::Project {
                // A project that names who signs for a host could have its logins sent elsewhere.
                return Err(self.bad(&at, "belongs in the user's own file, not in a project's"));
            }
        }
        Ok(())
    }

    fn check_mode(&self, hosts: &Map<String, Value>) -> Result<(), SettingsError> {
        let secret = hosts.values().any(|entry| {
            ["client_secret", "previous_client_secret"]
                .iter()
                .any(|key| entry.get(key).is_some())
        });
        match mode(self.file) {
            Some(mode) if secret && mode & 0o077 != 0 => Err(SettingsError::NotPrivate {
                file: self.file.to_owned(),
                mode,
            }),
            _ => Ok(()),
        }
    }

    fn settings(
        &self,
        at: &str,
        host: &str,
        entry: &Map<String, Value>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<HostSettings, SettingsError> {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        let settings = Origin::Settings {
            file: self.file.to_owned(),
            host: host.to_owned(),
        };
        // Text and origin of a value that is given or named.
        let value = |key: &str| -> Result<Option<(String, Origin)>, SettingsError> {
            let named = format!("{key}_env");
            match (text(key), text(&named)) {
                (Some(_), Some(_)) => Err(self.bad(
                    &format!("{at}.{key}"),
                    format!("and `{named}` exclude each other"),
                )),
                (Some(text), None) => Ok(Some((text, settings.clone()))),
                (None, Some(name)) => match env(&name).filter(|value| !value.trim().is_empty()) {
                    Some(text) => Ok(Some((text, Origin::Environment { name }))),
                    None => Err(self.bad(
                        &format!("{at}.{named}"),
                        format!("names {name}, which is not set"),
                    )),
                },
                (None, None) => Ok(None),
            }
        };
        let header = text("header")
            .map(|name| {
                HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| self.bad(&format!("{at}.header"), "must be the name of a header"))
            })
            .transpose()?;
        let token = match (value("client_id")?, value("client_secret")?) {
            (Some((id, one)), Some((secret, two))) => {
                let origins = if one == two { vec![one] } else { vec![one, two] };
                let previous = value("previous_client_secret")?.map(|(secret, _)| Secret::new(secret));
                let token = ServiceToken::new(id.trim(), Secret::new(secret), origins)
                    .with_previous(previous)
                    .in_header(header);
                Some(token)
            }
            (None, None) => None,
            _ => {
                return Err(self.bad(
                    at,
                    "has half a service token: it needs the client id and the client secret",
                ));
            }
        };
        Ok(HostSettings {
            token,
            team_domain: text("team_domain"),
        })
    }
}

#[cfg(unix)]
fn mode(file: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file)
        .ok()
        .map(|metadata| metadata.permissions().mode() & 0o7777)
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(text: &str, whose: Whose, mode: u32, url: &str) -> Result<HostSettings, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.jsonc");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let env = |name: &str| (name == "THE_SECRET").then(|| "s3cret".to_owned());
        of_host(&file, whose, &Host::of(&url.parse().unwrap()).unwrap(), &env)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_nearest_host() {
        let text = r#"{ // comments are fine
            "hosts": {
                "a.example": {"client_id": "wide", "client_secret": "x"},
                "A.example:8443": {"client_id": "near", "client_secret_env": "THE_SECRET", "previous_client_secret": "old"},
                "b.example": {"team_domain": "login.b.example"},
            }}"#;
        let id = |url: &str| {
            let settings = read(text, Whose::User, 0o600, url).unwrap();
            settings.token.map(|token| token.client_id().to_owned())
        };
        assert_eq!(id("https://a.example/").as_deref(), Some("wide"));
        assert_eq!(id("https://a.example:8443/").as_deref(), Some("near"));
        assert_eq!(id("https://x.a.example/"), None);
        let near = read(text, Whose::User, 0o600, "https://a.example:8443/")
            .unwrap()
            .token
            .unwrap();
        assert!(near.has_previous() && near.origins().len() == 2);
        let other = read(text, Whose::User, 0o600, "https://b.example/").unwrap();
        assert_eq!(other.team_domain.as_deref(), Some("login.b.example"));
        assert!(other.token.is_none());
        let project = r#"{"bindings": {}, "access": {"hosts": {"a.example": {"client_id": "p", "client_secret_env": "THE_SECRET"}}}}"#;
        assert_eq!(
            read(project, Whose::Project, 0o644, "https://a.example/")
                .unwrap()
                .token
                .unwrap()
                .client_id(),
            "p"
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (entry, mode, says) in [
            (
                r#"{"client_id": "a", "client_secret": "s3cret"}"#,
                0o644,
                "can be read by others (mode 644)",
            ),
            (r#"{"client_id": "a"}"#, 0o600, "has half a service token"),
            (
                r#"{"client_id": "a", "client_secret_env": "NOT_SET"}"#,
                0o600,
                "names NOT_SET, which is not set",
            ),
            (
                r#"{"client_id": "a", "client_secret": 7}"#,
                0o600,
                "must be a text",
            ),
            (r#"{"secret": "s3cret"}"#, 0o600, "is not known"),
            (
                r#"{"client_id": "a", "client_secret": "s3cret", "header": "a b"}"#,
                0o600,
                "must be the name of a header",
            ),
            (
                r#"{"client_secret": "s3cret", "client_secret_env": "THE_SECRET", "client_id": "a"}"#,
                0o600,
                "exclude each other",
            ),
            ("7", 0o600, "must be an object"),
        ] {
            let text = format!(r#"{{"hosts": {{"a.example": {entry}}}}}"#);
            let error = read(&text, Whose::User, mode, "https://a.example/").unwrap_err();
            assert!(
                error.contains(says) && error.contains("settings.jsonc"),
                "{error}"
            );
            assert!(!error.contains("s3cret"), "{error}");
        }
        let project = r#"{"access": {"hosts": {"a.example": {"team_domain": "evil.example"}}}}"#;
        let error = read(project, Whose::Project, 0o600, "https://a.example/").unwrap_err();
        assert!(error.contains("the user's own file"), "{error}");
        assert!(read("{", Whose::User, 0o600, "https://a.example/").is_err());
        assert!(
            of_host(
                Path::new("/does/not/exist"),
                Whose::User,
                &Host::of(&"http://a/".parse().unwrap()).unwrap(),
                &|_| None
            )
            .unwrap()
            .token
            .is_none()
        );
    }
}
