//! Unmodified wrangler's own Access code: its probe and its choice of headers, driven by the one command that needs no
//! account, the renewal of an OAuth token at `WRANGLER_AUTH_DOMAIN`.
//!
//! Works against anything that stands in front of a host with `/oauth2/token`.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::{access, program};

const END: Duration = Duration::from_secs(120);

/// Runs `wrangler whoami` with an OAuth token that has ended, so that wrangler asks `domain` for a new one. `ca` is the
/// authority of its certificate. Returns all that wrangler wrote.
pub async fn renew(domain: &str, ca: &Path, environment: &[(&str, &str)]) -> Result<String> {
    let folder = access::npm().await?;
    let home = tempfile::tempdir()?;
    let config = home.path().join(".wrangler/config");
    std::fs::create_dir_all(&config)?;
    std::fs::write(
        config.join("default.toml"),
        "oauth_token = \"ended\"\nrefresh_token = \"refresh\"\nexpiration_time = \"2000-01-01T00:00:00.000Z\"\nscopes = [\"account:read\"]\n",
    )?;
    let mut command = program::cleared(&folder.join("node_modules/node/bin/node"));
    command
        .arg(folder.join("node_modules/wrangler/bin/wrangler.js"))
        .arg("whoami")
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("NODE_EXTRA_CA_CERTS", ca)
        .env("WRANGLER_AUTH_DOMAIN", domain)
        // Whatever it asks of the API next has nobody to answer.
        .env("CLOUDFLARE_API_BASE_URL", format!("https://{domain}/client/v4"))
        .env("WRANGLER_SEND_METRICS", "false")
        .env("WRANGLER_LOG", "debug")
        .env("WRANGLER_LOG_SANITIZE", "false")
        .envs(environment.iter().copied());
    let output = program::run(command, END).await?;
    Ok(format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}
