//! Logins in a browser: the gateway's own pages, and those of an OpenID Connect provider.
//!
//! Application and team are different hosts here, as with Cloudflare: the browser keeps their cookies apart. Names below
//! `.localhost` are this machine to a browser.

use std::sync::Arc;

use anyhow::Result;
use bowline_e2e::access::{Gateway, Provider, Site};
use bowline_e2e::machine::Machine;
use bowline_e2e::upstream::{self, Answering};
use serde_json::{Value, json};

const APP: &str = "app.localhost";

fn people() -> Value {
    json!({"decision": "allow", "include": {"email_domain": {"domain": "example.com"}}})
}

/// A gateway in front of two hosts for people.
async fn start(flags: &[&str]) -> Result<(Site, Arc<Gateway>)> {
    let site = Site::new(None).await?;
    for host in [APP, "other.localhost", "127.0.0.1"] {
        site.application(host, host, &[people()], json!({})).await?;
    }
    let gateway = site.gateway_with(flags, &[]).await?;
    Ok((site, Arc::new(gateway)))
}

/// A URL at which the script learns what the operator saw: the code of an address.
async fn operator(gateway: &Arc<Gateway>) -> Result<String> {
    let gateway = Arc::clone(gateway);
    let answers: Answering = Arc::new(move |asked| {
        let email = asked.uri().path().trim_start_matches('/');
        Ok(Some(upstream::text(
            &gateway.shown_code(email).unwrap_or_default(),
        )))
    });
    Ok(format!("http://{}", upstream::answering(answers).await?))
}

fn at(gateway: &Gateway, host: &str, path: &str) -> String {
    gateway.program.url().replace("127.0.0.1", host) + path
}

/// By the code on the operator's terminal: once for all applications of the team, until the person logs out.
#[tokio::test]
async fn by_a_code() -> Result<()> {
    let (_site, gateway) = start(&["--development-login"]).await?;
    let more = json!({
        "operator": operator(&gateway).await?,
        "other": at(&gateway, "other.localhost", "second"),
        "logout": at(&gateway, APP, "cdn-cgi/access/logout"),
    });
    super::run_with("access-code.mjs", &at(&gateway, APP, "private?x=1"), more).await?;
    Ok(())
}

/// At a provider, which the person leaves again to where they wanted to go.
#[tokio::test]
async fn at_an_openid_connect_provider() -> Result<()> {
    let provider = Provider::start(json!({"client_id": "gateway"})).await?;
    let flags = [
        "--oidc-issuer",
        provider.program.url(),
        "--oidc-client-id",
        "gateway",
    ];
    let (_site, gateway) = start(&flags).await?;
    let team = at(&gateway, "bowline.cloudflareaccess.com.localhost", "");
    provider
        .sends_back_to(&format!("{team}cdn-cgi/access/callback"))
        .await?;
    let more = json!({"provider": provider.program.url()});
    super::run_with("access-oidc.mjs", &at(&gateway, APP, "private?x=1"), more).await?;
    Ok(())
}

/// For a program that waits: the person agrees on a page, and the program has their login.
#[tokio::test]
async fn for_a_program() -> Result<()> {
    let site = Site::new(None).await?;
    site.application("app", "127.0.0.1", &[people()], json!({}))
        .await?;
    // One host for both: what the program asks has to be resolved without a browser.
    let gateway = Arc::new(site.gateway().await?);
    let machine = Machine::new()?;
    machine.settings(&gateway.authority(), json!({"team_domain": gateway.authority()}))?;
    let mut login = machine.login("--no-browser", gateway.program.url())?;
    let more = json!({"operator": operator(&gateway).await?, "host": gateway.authority()});
    super::run_with("access-program.mjs", &login.url().await?, more).await?;
    assert_eq!(login.done().await?.0["by"], "browser");
    let checked = machine.check(gateway.program.url()).await?;
    assert_eq!(checked.document["verdict"], "admitted", "{:#}", checked.document);
    Ok(())
}
