//! `bowline access gateway` with real peers: Cloudflare's SDKs, JWT libraries, an OpenID Connect provider, a real origin, a
//! real PostgreSQL. `cargo xtask conformance access` runs these with the following, each against a freshly started gateway:
//!
//! | what has to conform | where |
//! |---|---|
//! | wrangler's probe and headers in each mode, late and misplaced answers, half a pair | `wrangler_access` |
//! | credentials on requests and on upgrades, one report a run, plain 403s that pass | `access_client::verdicts` |
//! | an upgrade that is refused by a page fails the call with guidance | `access_client::verdicts`, `elimination` |
//! | application tokens by `jose`, go-oidc and the Pages plugin; spoofed and replayed ones | `sessions` |
//! | strict, single-header, script, preflight and CORS answers | `answers` |
//! | grace, disabling, two secrets on the client's side | `rotation`, `access_client::rotation` |
//! | what old and new cloudflareds ask, and the names of their files | `answers`, `login`, `access_client::login` |
//! | request × policies → decision | `decision` of `bowline-access` |

mod answers;
mod certificates;
mod connections;
mod flood;
mod live;
mod login;
mod oidc;
mod paths;
mod rotation;
mod sdk;
pub(crate) mod sessions;
mod shared;
mod written;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bowline_e2e::access::Site;
use serde_json::{Value, json};

/// A Service Auth policy for every token.
pub(crate) fn any_token() -> Value {
    json!({"decision": "non_identity", "include": {"any_valid_service_token": {}}})
}

/// A policy for people.
fn people() -> Value {
    json!({"decision": "allow", "include": {"email_domain": {"domain": "example.com"}}})
}

/// The member of an object that a mirror answered with: the first value of a header that reached the origin.
fn reached<'a>(mirrored: &'a Value, header: &str) -> Option<&'a str> {
    mirrored["headers"][header][0].as_str()
}

/// Waits until the audit log, which nobody waits for, has this many entries of a kind.
async fn logged(site: &Site, count: usize, of: impl Fn(&Value) -> bool) -> Result<()> {
    let start = Instant::now();
    loop {
        let log = site.access(&["log", "--limit", "100000"]).await?;
        let found = log
            .as_array()
            .into_iter()
            .flatten()
            .filter(|entry| of(entry))
            .count();
        if found == count {
            return Ok(());
        }
        ensure!(
            start.elapsed() < Duration::from_secs(10),
            "{found} instead of {count} in {log}"
        );
    }
}
