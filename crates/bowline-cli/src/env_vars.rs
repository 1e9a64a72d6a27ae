//! Every environment variable Bowline reads, once.

/// Client id of the service token to send.
pub(crate) const CLOUDFLARE_ACCESS_CLIENT_ID: &str = "CLOUDFLARE_ACCESS_CLIENT_ID";
/// Client secret of the service token to send.
pub(crate) const CLOUDFLARE_ACCESS_CLIENT_SECRET: &str = "CLOUDFLARE_ACCESS_CLIENT_SECRET";
/// A PEM file of certificate authorities to trust besides the system's (OpenSSL's variable).
pub(crate) const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
/// The same, as Node spells it.
pub(crate) const NODE_EXTRA_CA_CERTS: &str = "NODE_EXTRA_CA_CERTS";
/// The workerd program to run instead of the pinned one.
pub(crate) const BOWLINE_WORKERD: &str = "BOWLINE_WORKERD";
/// What to log to stderr: `error`, `warn`, `info`, `debug` or `trace`. Default `warn`.
pub(crate) const BOWLINE_LOG: &str = "BOWLINE_LOG";
/// The URL of a PostgreSQL database to keep the state of Access in, instead of the state folder.
pub(crate) const BOWLINE_ACCESS_DATABASE_URL: &str = "BOWLINE_ACCESS_DATABASE_URL";
/// Where downloaded programs are kept. Default: `$XDG_CACHE_HOME/bowline` or `$HOME/.cache/bowline`.
pub(crate) const BOWLINE_CACHE: &str = "BOWLINE_CACHE";

/// Reads one variable. Commands take this instead of the process's environment, so that tests change nothing global.
pub(crate) type Env<'a> = &'a (dyn Fn(&str) -> Option<String> + Send + Sync);

/// The process's own environment. An empty variable counts as not set: shells and CI systems cannot always unset.
pub(crate) fn process(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The cache folder.
pub(crate) fn cache_folder(env: Env<'_>) -> std::path::PathBuf {
    if let Some(folder) = env(BOWLINE_CACHE) {
        return folder.into();
    }
    match (env("XDG_CACHE_HOME"), env("HOME")) {
        (Some(folder), _) => std::path::Path::new(&folder).join("bowline"),
        (None, Some(home)) => std::path::Path::new(&home).join(".cache/bowline"),
        (None, None) => std::env::temp_dir().join("bowline-cache"),
    }
}
