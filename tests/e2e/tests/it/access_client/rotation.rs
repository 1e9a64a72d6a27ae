//! Two secrets while one replaces the other, and calls that do not notice.

use anyhow::{Context, Result};
use bowline_e2e::access::{credentials, text};
use bowline_e2e::machine::Machine;
use http::Method;
use serde_json::{Value, json};

use super::{any_token, post, start};

/// The most that is sent again.
const SHORT: usize = 64 * 1024;

#[tokio::test]
async fn is_not_noticed_by_short_calls() -> Result<()> {
    let (_site, gateway, application) = start().await?;
    let token = gateway
        .ok(Method::POST, "service_tokens", json!({"name": "machine"}))
        .await?;
    let path = format!("service_tokens/{}", text(&token, "id"));
    let old = credentials(&token);
    let mut secrets = vec![text(&token, "client_secret").to_owned()];
    // With a login for people refusals are redirects, without them 403, and strict ones 401.
    for mode in ["302", "403", "401"] {
        if mode == "403" {
            let id = text(&application, "id").to_owned();
            let only = json!({"name": "machines", "decision": "non_identity", "include": [any_token()["include"].clone()]});
            let change = json!({"name": "app", "domain": super::HOST, "policies": [only]});
            gateway.ok(Method::PUT, &format!("apps/{id}"), change).await?;
        }
        if mode == "401" {
            let strict = json!({"strict_service_token_auth": true});
            gateway.ok(Method::PUT, "organizations", strict).await?;
        }
        // The client has the next secret before the gateway does: it is wrong still.
        let mut machine = Machine::new()?;
        machine.set("CLOUDFLARE_ACCESS_CLIENT_ID", old.id.as_deref().context("an id")?);
        machine.set("CLOUDFLARE_ACCESS_CLIENT_SECRET", "cfast_not-rotated-to-yet");
        let current = secrets.last().context("a secret")?.clone();
        machine.set("CLOUDFLARE_ACCESS_PREVIOUS_CLIENT_SECRET", &current);
        let checked = machine.check(gateway.program.url()).await?;
        assert_eq!(checked.document["credentials"]["two_secrets"], true);
        let mut proxy = machine.connect(gateway.program.url()).await?;
        let body = "x".repeat(SHORT);
        let (status, said) = post(&proxy, &body).await?;
        assert_eq!(status, 200, "{mode}: {said}");
        let mirrored: Value = serde_json::from_str(&said)?;
        assert!(mirrored["body"] == body, "{mode}: the body came whole");
        assert!(proxy.terminate().await?.success());
        assert!(
            !proxy.stderr.text().contains("refused"),
            "{mode}: {}",
            proxy.stderr.text()
        );

        // A longer one streams: it fails once, says so, and passes then.
        let mut proxy = machine.connect(gateway.program.url()).await?;
        let long = "x".repeat(SHORT + 1);
        let (status, said) = post(&proxy, &long).await?;
        assert!((401..=403).contains(&status), "{mode}: {said}");
        assert!(said.contains("this call can be made again"), "{mode}: {said}");
        assert_eq!(post(&proxy, &long).await?.0, 200, "{mode}");
        assert!(proxy.terminate().await?.success());

        // And the other way round: the gateway has rotated, the client's newer secret is the one that works.
        let rotated = gateway
            .ok(Method::POST, &format!("{path}/rotate"), json!({}))
            .await?;
        let new = text(&rotated, "client_secret").to_owned();
        let mut machine = Machine::new()?;
        machine.set("CLOUDFLARE_ACCESS_CLIENT_ID", old.id.as_deref().context("an id")?);
        machine.set("CLOUDFLARE_ACCESS_CLIENT_SECRET", &current);
        machine.set("CLOUDFLARE_ACCESS_PREVIOUS_CLIENT_SECRET", &new);
        let proxy = machine.connect(gateway.program.url()).await?;
        assert_eq!(post(&proxy, &body).await?.0, 200, "{mode}");
        secrets.push(new);
    }
    Ok(())
}
