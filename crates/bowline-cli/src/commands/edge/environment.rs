//! The variables with which a tool takes the stand-in for the real thing.

use std::path::Path;

use bowline_edge::{AccessMode, Stand};
use bowline_secret::Secret;

use crate::env_vars::{
    BOWLINE_EDGE_CONTROL, CLOUDFLARE_ACCESS_CLIENT_ID, CLOUDFLARE_ACCESS_CLIENT_SECRET,
    CLOUDFLARE_ACCOUNT_ID, CLOUDFLARE_API_BASE_URL, CLOUDFLARE_API_TOKEN, NODE_EXTRA_CA_CERTS,
};

/// Taken out of a command's environment: other credentials, which would win, and proxies, which are out of reach.
pub(super) const REMOVED: [&str; 14] = [
    "CLOUDFLARE_API_KEY",
    "CLOUDFLARE_EMAIL",
    "CF_API_KEY",
    "CF_API_TOKEN",
    "CF_EMAIL",
    "CF_API_BASE_URL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "WRANGLER_API_ENVIRONMENT",
    "CLOUDFLARE_COMPLIANCE_REGION",
];

/// The variables to set.
pub(super) fn variables(
    stand: &Stand,
    access: AccessMode,
    account_id: &str,
    api_token: &Secret,
    api_origin: &str,
    authority: &Path,
) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        (CLOUDFLARE_API_BASE_URL, format!("{api_origin}/client/v4")),
        (CLOUDFLARE_API_TOKEN, api_token.expose().to_owned()),
        (CLOUDFLARE_ACCOUNT_ID, account_id.to_owned()),
        (NODE_EXTRA_CA_CERTS, authority.display().to_string()),
        (BOWLINE_EDGE_CONTROL, format!("{api_origin}/control")),
        // What tools would fetch from elsewhere for no use here.
        ("CLOUDFLARE_CF_FETCH_ENABLED", "false".to_owned()),
        ("WRANGLER_SEND_METRICS", "false".to_owned()),
    ];
    if access != AccessMode::Off {
        let pair = stand.pair();
        variables.push((CLOUDFLARE_ACCESS_CLIENT_ID, pair.client_id.clone()));
        variables.push((
            CLOUDFLARE_ACCESS_CLIENT_SECRET,
            pair.client_secret.expose().to_owned(),
        ));
    }
    variables
}
