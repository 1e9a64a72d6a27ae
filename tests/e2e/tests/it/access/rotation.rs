//! Secrets that change, expire, and are taken away.

use std::time::{Duration, Instant};

use anyhow::Result;
use bowline_e2e::access::{Gateway, Site, credentials, text};
use bowline_e2e::project::Credentials;
use http::Method;
use serde_json::{Value, json};

use super::any_token;

const HOST: &str = "app.example.com";

async fn status(gateway: &Gateway, token: &Credentials) -> Result<u16> {
    Ok(gateway.get(HOST, "/", token).send().await?.status.as_u16())
}

/// A gateway, a token of the API and its first secret.
async fn start() -> Result<(Site, Gateway, Value, Credentials)> {
    let site = Site::new(None).await?;
    site.application("app", HOST, &[any_token()], json!({})).await?;
    let gateway = site.gateway().await?;
    let token = gateway
        .ok(Method::POST, "service_tokens", json!({"name": "machine"}))
        .await?;
    let secret = credentials(&token);
    assert_eq!(status(&gateway, &secret).await?, 200);
    Ok((site, gateway, token, secret))
}

#[tokio::test]
async fn both_secrets_work_in_the_grace_and_then_only_the_new_one() -> Result<()> {
    let (_site, gateway, token, old) = start().await?;
    let path = format!("service_tokens/{}", text(&token, "id"));
    let until = |end: &str| json!({"previous_client_secret_expires_at": end});
    let rotated = gateway
        .ok(
            Method::POST,
            &format!("{path}/rotate"),
            until("2999-01-01T00:00:00Z"),
        )
        .await?;
    let new = credentials(&rotated);
    assert_eq!(new.id, old.id);
    assert_eq!(
        (status(&gateway, &old).await?, status(&gateway, &new).await?),
        (200, 200)
    );
    // The grace may be moved, into the past too.
    gateway
        .ok(Method::PUT, &path, until("2020-01-01T00:00:00Z"))
        .await?;
    assert_eq!(
        (status(&gateway, &old).await?, status(&gateway, &new).await?),
        (403, 200)
    );
    // Without one the old secret dies at once.
    let newest = credentials(
        &gateway
            .ok(Method::POST, &format!("{path}/rotate"), Value::Null)
            .await?,
    );
    assert_eq!(
        (status(&gateway, &new).await?, status(&gateway, &newest).await?),
        (403, 200)
    );
    Ok(())
}

#[tokio::test]
async fn disabling_kills_both_secrets_and_can_be_undone() -> Result<()> {
    let (_site, gateway, token, old) = start().await?;
    let path = format!("service_tokens/{}", text(&token, "id"));
    // Raising the version is a rotation, too.
    let raised =
        json!({"client_secret_version": 2, "previous_client_secret_expires_at": "2999-01-01T00:00:00Z"});
    let new = credentials(&gateway.ok(Method::PUT, &path, raised).await?);
    assert_eq!(
        (status(&gateway, &old).await?, status(&gateway, &new).await?),
        (200, 200)
    );
    gateway.ok(Method::PUT, &path, json!({"enabled": false})).await?;
    assert_eq!(
        (status(&gateway, &old).await?, status(&gateway, &new).await?),
        (403, 403)
    );
    gateway.ok(Method::PUT, &path, json!({"enabled": true})).await?;
    assert_eq!(status(&gateway, &new).await?, 200);
    gateway.ok(Method::DELETE, &path, Value::Null).await?;
    assert_eq!(status(&gateway, &new).await?, 403);
    Ok(())
}

#[tokio::test]
async fn a_token_ends_by_itself_and_a_refresh_gives_it_a_year() -> Result<()> {
    let (_site, gateway, token, secret) = start().await?;
    let path = format!("service_tokens/{}", text(&token, "id"));
    gateway.ok(Method::PUT, &path, json!({"duration": "1s"})).await?;
    let start = Instant::now();
    while status(&gateway, &secret).await? != 403 {
        assert!(start.elapsed() < Duration::from_secs(10), "it did not end");
    }
    gateway
        .ok(Method::POST, &format!("{path}/refresh"), Value::Null)
        .await?;
    assert_eq!(status(&gateway, &secret).await?, 200);
    Ok(())
}
