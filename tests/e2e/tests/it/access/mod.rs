//! `bowline access gateway` with real peers: Cloudflare's SDKs, JWT libraries, a real origin, a real PostgreSQL.

mod answers;
mod flood;
mod live;
mod login;
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
