//! Two gateways over one PostgreSQL.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bowline_e2e::access::{self, Gateway, Site, credentials, text};
use bowline_e2e::postgres::Postgres;
use bowline_e2e::project::Credentials;
use futures_util::StreamExt;
use http::Method;
use serde_json::{Value, json};

use super::{any_token, people, reached};

const HOST: &str = "app.example.com";
/// What a change may take to reach the other gateway.
const SECOND: Duration = Duration::from_secs(1);

async fn status(gateway: &Gateway, token: &Credentials) -> Result<u16> {
    Ok(gateway.get(HOST, "/", token).send().await?.status.as_u16())
}

/// How long it takes until a gateway answers with a status.
async fn until(gateway: &Gateway, token: &Credentials, expected: u16) -> Result<Duration> {
    let start = Instant::now();
    loop {
        let found = status(gateway, token).await?;
        if found == expected {
            return Ok(start.elapsed());
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "still {found} instead of {expected}"
        );
    }
}

#[tokio::test]
async fn agree_on_tokens_revocations_and_keys() -> Result<()> {
    let mut database = Postgres::start().await?;
    let site = Site::new(Some(database.url())).await?;
    let application = site
        .application("app", HOST, &[any_token(), people()], json!({}))
        .await?;
    // Started together, so that both find no key and one of them must win.
    let (one, two) = tokio::try_join!(site.gateway(), site.gateway())?;
    // Both named themselves the team domain; one of them is.
    let team = json!({"auth_domain": one.team});
    one.ok(Method::PUT, "organizations", team).await?;

    // Tokens: made at one, good at the other.
    let token = one
        .ok(Method::POST, "service_tokens", json!({"name": "machine"}))
        .await?;
    let machine = credentials(&token);
    assert!(until(&two, &machine, 200).await? < SECOND);
    assert_eq!(status(&one, &machine).await?, 200);

    // Keys: what one signs the other publishes, verifies, and takes as a session.
    let signed = |gateway: &Gateway| gateway.get(HOST, "/", &machine).send();
    let kid = |token: &str| token.split('.').next().map(str::to_owned);
    let sign = async |gateway: &Gateway| -> Result<String> {
        let mirrored: Value = serde_json::from_slice(&signed(gateway).await?.body)?;
        Ok(reached(&mirrored, "cf-access-jwt-assertion")
            .context("no assertion")?
            .to_owned())
    };
    let (first, second) = (sign(&one).await?, sign(&two).await?);
    assert_eq!(kid(&first), kid(&second));
    let input = json!({"team": one.team, "aud": application["aud"], "token": second});
    let verified = access::node("verify.mjs", input).await?;
    assert_eq!(verified["plugin"]["status"], 200, "{verified}");
    let replay = async |gateway: &Gateway, token: &str| -> Result<u16> {
        let request = gateway.request(Method::GET, HOST, "/");
        let answer = request
            .header("cookie", format!("CF_Authorization={token}"))
            .send()
            .await?;
        Ok(answer.status.as_u16())
    };
    assert_eq!(replay(&two, &first).await?, 200);
    two.ok(Method::POST, "keys/rotate", Value::Null).await?;
    let start = Instant::now();
    while kid(&sign(&one).await?) == kid(&first) {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "the other gateway signs by the old key"
        );
    }
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    assert_eq!(kid(&sign(&one).await?), kid(&sign(&two).await?));
    assert_eq!(replay(&two, &first).await?, 200, "the key before still verifies");

    // Revocations: of the application's sessions, then of the token, a live socket included.
    let mut socket = two.get(HOST, "/", &machine).upgrade().await?.socket()?;
    one.ok(
        Method::POST,
        &format!("apps/{}/revoke_tokens", text(&application, "id")),
        Value::Null,
    )
    .await?;
    let start = Instant::now();
    tokio::time::timeout(Duration::from_secs(10), socket.next())
        .await
        .context("the socket stayed open")?;
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    assert_eq!(replay(&two, &first).await?, 302);
    one.ok(
        Method::PUT,
        &format!("service_tokens/{}", text(&token, "id")),
        json!({"enabled": false}),
    )
    .await?;
    let took = until(&two, &machine, 302).await?;
    assert!(took < SECOND, "{took:?}");

    // Without the database nobody is judged by what may be old; with it, all is as before.
    one.ok(
        Method::PUT,
        &format!("service_tokens/{}", text(&token, "id")),
        json!({"enabled": true}),
    )
    .await?;
    until(&two, &machine, 200).await?;
    database.stop().await?;
    until(&one, &machine, 503).await?;
    until(&two, &machine, 503).await?;
    database.start_again().await?;
    until(&one, &machine, 200).await?;
    until(&two, &machine, 200).await?;
    Ok(())
}
