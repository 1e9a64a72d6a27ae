//! Every environment variable Bowline reads, once. Those that `bowline-credentials` looks up through [`Env`] are declared
//! there: [`bowline_credentials::PAIR`], [`bowline_credentials::PREVIOUS_SECRET`] (the client secret before a rotation,
//! tried when the newer one is refused), and [`bowline_credentials::AUTH_TOKEN`] for the host of
//! [`bowline_credentials::AUTH_DOMAIN`].

/// Client id of the service token to send.
pub(crate) const CLOUDFLARE_ACCESS_CLIENT_ID: &str = bowline_credentials::PAIR.0;
/// Client secret of the service token to send.
pub(crate) const CLOUDFLARE_ACCESS_CLIENT_SECRET: &str = bowline_credentials::PAIR.1;
/// Where settings of one's own are kept: `bowline/access.jsonc` below it. Default `$HOME/.config`.
pub(crate) const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// The home folder; `.cloudflared` in it holds logins.
pub(crate) const HOME: &str = "HOME";
/// Set by CI systems: nobody is there to sign in.
pub(crate) const CI: &str = "CI";
/// Where a login is handed over, in place of the service that belongs to whoever signs for the application: an https URL,
/// or http to this machine.
pub(crate) const BOWLINE_ACCESS_TRANSFER: &str = "BOWLINE_ACCESS_TRANSFER";
/// A screen to open a browser on (X11, Wayland).
pub(crate) const SCREENS: [&str; 2] = ["DISPLAY", "WAYLAND_DISPLAY"];
/// Set in a session over SSH, whose screen is elsewhere.
pub(crate) const SSH_CONNECTION: &str = "SSH_CONNECTION";
/// A PEM file of certificate authorities to trust besides the system's (OpenSSL's variable).
pub(crate) const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
/// The same, as Node spells it.
pub(crate) const NODE_EXTRA_CA_CERTS: &str = "NODE_EXTRA_CA_CERTS";
/// The token of the API, and its older name. (So with each pair of names below.)
pub(crate) const CLOUDFLARE_API_TOKENS: [&str; 2] = [CLOUDFLARE_API_TOKEN, "CF_API_TOKEN"];
/// The global key of Cloudflare's API.
pub(crate) const CLOUDFLARE_API_KEYS: [&str; 2] = ["CLOUDFLARE_API_KEY", "CF_API_KEY"];
/// Whose key it is.
pub(crate) const CLOUDFLARE_EMAILS: [&str; 2] = ["CLOUDFLARE_EMAIL", "CF_EMAIL"];
/// The account to work on, when the configuration names none.
pub(crate) const CLOUDFLARE_ACCOUNT_IDS: [&str; 2] = [CLOUDFLARE_ACCOUNT_ID, "CF_ACCOUNT_ID"];
/// Where the API is. Default: Cloudflare's.
pub(crate) const CLOUDFLARE_API_BASE_URLS: [&str; 2] = [CLOUDFLARE_API_BASE_URL, "CF_API_BASE_URL"];
/// The environment of a wrangler configuration, when no flag names one.
pub(crate) const CLOUDFLARE_ENV: &str = "CLOUDFLARE_ENV";
/// The host at which wrangler's login is renewed. Default: dash.cloudflare.com.
pub(crate) const WRANGLER_AUTH_DOMAIN: &str = "WRANGLER_AUTH_DOMAIN";
/// The URL at which it is renewed, in place of that host's.
pub(crate) const WRANGLER_TOKEN_URL: &str = "WRANGLER_TOKEN_URL";
/// The token of Cloudflare's API; a stand-in takes it for its own when it is set.
pub(crate) const CLOUDFLARE_API_TOKEN: &str = "CLOUDFLARE_API_TOKEN";
/// Where the API is, when it is not Cloudflare's.
pub(crate) const CLOUDFLARE_API_BASE_URL: &str = "CLOUDFLARE_API_BASE_URL";
/// The account.
pub(crate) const CLOUDFLARE_ACCOUNT_ID: &str = "CLOUDFLARE_ACCOUNT_ID";
/// Given to the command of `bowline edge run`: where the stand-in is controlled.
pub(crate) const BOWLINE_EDGE_CONTROL: &str = "BOWLINE_EDGE_CONTROL";
/// The workerd program to run instead of the pinned one.
pub(crate) const BOWLINE_WORKERD: &str = "BOWLINE_WORKERD";
/// What to log to stderr: `error`, `warn`, `info`, `debug` or `trace`. Default `warn`.
pub(crate) const BOWLINE_LOG: &str = "BOWLINE_LOG";
/// The URL of a PostgreSQL database to keep the state of Access in, instead of the state folder.
pub(crate) const BOWLINE_ACCESS_DATABASE_URL: &str = "BOWLINE_ACCESS_DATABASE_URL";
/// What the identity provider of `--oidc-issuer` knows the gateway's client id by.
pub(crate) const BOWLINE_ACCESS_OIDC_CLIENT_SECRET: &str = "BOWLINE_ACCESS_OIDC_CLIENT_SECRET";
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
    match (env("XDG_CACHE_HOME"), env(HOME)) {
        (Some(folder), _) => std::path::Path::new(&folder).join("bowline"),
        (None, Some(home)) => std::path::Path::new(&home).join(".cache/bowline"),
        (None, None) => std::env::temp_dir().join("bowline-cache"),
    }
}

/// The user's settings of Access.
pub(crate) fn user_settings(env: Env<'_>) -> Option<std::path::PathBuf> {
    let below = |folder: String, rest: &str| std::path::Path::new(&folder).join(rest);
    env(XDG_CONFIG_HOME)
        .map(|folder| below(folder, "bowline/access.jsonc"))
        .or_else(|| env(HOME).map(|home| below(home, ".config/bowline/access.jsonc")))
}

/// cloudflared's folder.
pub(crate) fn cloudflared_folder(env: Env<'_>) -> Option<std::path::PathBuf> {
    env(HOME).map(|home| std::path::Path::new(&home).join(".cloudflared"))
}

/// The file of wrangler's login: in `$HOME/.wrangler` if there is such a folder, otherwise in that of the user's settings.
pub(crate) fn wrangler_login(env: Env<'_>) -> Option<std::path::PathBuf> {
    let home = env(HOME).map(std::path::PathBuf::from);
    let own = home
        .as_ref()
        .map(|home| home.join(".wrangler"))
        .filter(|folder| folder.is_dir());
    let folder = own.or_else(|| {
        let settings = env(XDG_CONFIG_HOME).map(std::path::PathBuf::from);
        Some(
            settings
                .or_else(|| Some(home?.join(".config")))?
                .join(".wrangler"),
        )
    })?;
    Some(folder.join("config/default.toml"))
}
