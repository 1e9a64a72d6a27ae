//! The binding's own configuration, and its limits.

use std::path::PathBuf;
use std::time::Duration;

use bowline_binding::ConfigError;
use serde_json::Value;

/// What Cloudflare allows one repository.
const REPO_BYTES: u64 = 10_000_000_000;

/// Which namespace a binding opens, and how it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Names the folder; safe as a file name.
    pub(crate) namespace: String,
    /// Where git clients find this place, when that is not where it listens: scheme and authority.
    pub(crate) origin: Option<String>,
    /// The git program.
    pub(crate) git: PathBuf,
    /// Hosts (`host` or `host:port`) that may be imported from although their address is private.
    pub(crate) import_hosts: Vec<String>,
    /// Certificates by which imports trust their source, when not the system's.
    pub(crate) import_ca: Option<PathBuf>,
    pub(crate) limits: Limits,
}

/// What one repository and one exchange may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of one repository on disk.
    pub(crate) repo_bytes: u64,
    /// Time of one import or fork.
    pub(crate) copy: Duration,
    /// Exchanges with git clients at a time.
    pub(crate) exchanges: usize,
    /// How long an exchange may wait for its turn.
    pub(crate) queue_wait: Duration,
    /// How long an exchange may go without a byte either way. git says something every five seconds.
    pub(crate) idle: Duration,
    /// How long one exchange may take.
    pub(crate) exchange: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            repo_bytes: REPO_BYTES,
            copy: Duration::from_secs(600),
            exchanges: 32,
            queue_wait: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            exchange: Duration::from_secs(3600),
        }
    }
}

impl Config {
    pub(crate) fn parse(entry: &Value) -> Result<Self, ConfigError> {
        let problem = |problem: &str| ConfigError::new("namespace", problem);
        let namespace = entry
            .get("namespace")
            .ok_or_else(|| problem("is missing; give the namespace of the repositories"))?
            .as_str()
            .filter(|name| is_component(name, 128))
            .ok_or_else(|| {
                problem("must be 1 to 128 letters, digits, `-`, `_` or `.`, and start with a letter or digit")
            })?;
        let mut limits = Limits::default();
        if let Some(bytes) = entry.get("max_repo_bytes") {
            limits.repo_bytes = bytes
                .as_u64()
                .filter(|bytes| *bytes > 0)
                .ok_or_else(|| ConfigError::new("max_repo_bytes", "must be a number of bytes above 0"))?;
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            origin: origin(entry)?,
            git: text(entry, "git")?.map_or_else(|| "git".into(), PathBuf::from),
            import_hosts: texts(entry, "import_hosts")?,
            import_ca: text(entry, "import_ca_file")?.map(PathBuf::from),
            limits,
        })
    }
}

/// A name that is safe in a path and a URL.
pub(crate) fn is_component(name: &str, longest: usize) -> bool {
    name.len() <= longest
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn origin(entry: &Value) -> Result<Option<String>, ConfigError> {
    let Some(text) = text(entry, "origin")? else {
        return Ok(None);
    };
    let bare = url::Url::parse(&text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    });
    bare.map(|url| Some(url.as_str().trim_end_matches('/').to_owned()))
        .ok_or_else(|| {
            ConfigError::new(
                "origin",
                "must be a scheme and a host, such as https://git.example.com",
            )
        })
}

fn text(entry: &Value, key: &str) -> Result<Option<String>, ConfigError> {
    match entry.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(ConfigError::new(key, "must be a text")),
    }
}

fn texts(entry: &Value, key: &str) -> Result<Vec<String>, ConfigError> {
    let shape = || ConfigError::new(key, "must be a list of texts");
    match entry.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list
            .iter()
            .map(|item| item.as_str().map(str::to_ascii_lowercase).ok_or_else(shape))
            .collect(),
        Some(_) => Err(shape()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Config;

    #[test]
    fn faults_name_their_member() {
        let good = json!({"binding": "A", "namespace": "team-1", "origin": "https://git.example.com/"});
        let config = Config::parse(&good).unwrap();
        assert_eq!(config.origin.as_deref(), Some("https://git.example.com"));
        for (entry, field) in [
            (json!({}), "namespace"),
            (json!({"namespace": "../x"}), "namespace"),
            (json!({"namespace": "a/b"}), "namespace"),
            (json!({"namespace": ".git"}), "namespace"),
            (json!({"namespace": "a", "origin": "git.example.com"}), "origin"),
            (json!({"namespace": "a", "origin": "https://u:p@h"}), "origin"),
            (json!({"namespace": "a", "origin": "https://h/path"}), "origin"),
            (json!({"namespace": "a", "max_repo_bytes": 0}), "max_repo_bytes"),
            (json!({"namespace": "a", "import_hosts": "h"}), "import_hosts"),
            (json!({"namespace": "a", "git": 1}), "git"),
        ] {
            let error = Config::parse(&entry).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{field}`")), "{entry}: {error}");
        }
    }
}
