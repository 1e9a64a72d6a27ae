//! Revocations reach connections that are open, and only those they are about.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bowline_e2e::access::{Gateway, Site, credentials, text};
use bowline_e2e::client::Socket;
use bowline_e2e::flow;
use bowline_e2e::project::Credentials;
use futures_util::{SinkExt, StreamExt};
use http::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{any_token, logged};

/// What a revocation may take.
const SECOND: Duration = Duration::from_secs(1);

async fn open(gateway: &Gateway, host: &str, token: &Credentials) -> Result<Socket> {
    let mut socket = gateway.get(host, "/", token).upgrade().await?.socket()?;
    echoes(&mut socket).await?;
    Ok(socket)
}

async fn echoes(socket: &mut Socket) -> Result<()> {
    socket.send(Message::text("still here")).await?;
    assert_eq!(flow::next(socket).await?, Message::text("still here"));
    Ok(())
}

/// How long it took until a socket at rest was cut, from `since`.
async fn cut(socket: &mut Socket, since: Instant) -> Result<Duration> {
    let next = tokio::time::timeout(Duration::from_secs(10), socket.next())
        .await
        .context("the socket stayed open")?;
    assert!(
        !matches!(next, Some(Ok(Message::Text(_) | Message::Binary(_)))),
        "{next:?}"
    );
    Ok(since.elapsed())
}

#[tokio::test]
async fn a_disabled_token_and_a_dead_secret_lose_their_sockets_within_a_second() -> Result<()> {
    let site = Site::new(None).await?;
    site.application("app", "app.example.com", &[any_token()], json!({}))
        .await?;
    let gateway = site.gateway().await?;
    let mut tokens = Vec::new();
    for name in ["disabled", "rotated", "deleted", "kept"] {
        tokens.push(
            gateway
                .ok(Method::POST, "service_tokens", json!({ "name": name }))
                .await?,
        );
    }
    let path = |number: usize, end: &str| format!("service_tokens/{}{end}", text(&tokens[number], "id"));
    let mut sockets = Vec::new();
    for token in &tokens {
        sockets.push(open(&gateway, "app.example.com", &credentials(token)).await?);
    }
    let acts = [
        (0, Method::PUT, path(0, ""), json!({"enabled": false})),
        (1, Method::POST, path(1, "/rotate"), Value::Null),
        (2, Method::DELETE, path(2, ""), Value::Null),
    ];
    for (number, method, path, body) in acts {
        gateway.ok(method, &path, body).await?;
        let took = cut(&mut sockets[number], Instant::now()).await?;
        assert!(took < SECOND, "{path}: {took:?}");
        echoes(&mut sockets[3]).await?;
    }
    logged(&site, 3, |entry| entry["event"] == "revoked_connection").await
}

#[tokio::test]
async fn a_rotation_with_grace_leaves_sockets_open() -> Result<()> {
    let site = Site::new(None).await?;
    site.application("app", "app.example.com", &[any_token()], json!({}))
        .await?;
    let gateway = site.gateway().await?;
    let token = gateway
        .ok(Method::POST, "service_tokens", json!({"name": "machine"}))
        .await?;
    let mut socket = open(&gateway, "app.example.com", &credentials(&token)).await?;
    let path = format!("service_tokens/{}", text(&token, "id"));
    let until = |end: &str| json!({"previous_client_secret_expires_at": end});
    gateway
        .ok(
            Method::POST,
            &format!("{path}/rotate"),
            until("2999-01-01T00:00:00Z"),
        )
        .await?;
    // Two rounds of looking at open connections.
    tokio::time::sleep(Duration::from_millis(500)).await;
    echoes(&mut socket).await?;
    gateway
        .ok(Method::PUT, &path, until("2020-01-01T00:00:00Z"))
        .await?;
    assert!(cut(&mut socket, Instant::now()).await? < SECOND);
    Ok(())
}

#[tokio::test]
async fn an_applications_revocation_ends_its_sockets_and_no_others() -> Result<()> {
    let site = Site::new(None).await?;
    let token = site.token("machine").await?;
    for name in ["one", "two"] {
        site.application(name, &format!("{name}.example.com"), &[any_token()], json!({}))
            .await?;
    }
    let gateway = site.gateway().await?;
    let mut one = open(&gateway, "one.example.com", &token).await?;
    let mut two = open(&gateway, "two.example.com", &token).await?;
    site.access(&["app", "revoke", "one"]).await?;
    assert!(cut(&mut one, Instant::now()).await? < SECOND);
    echoes(&mut two).await?;
    site.access(&["app", "delete", "two"]).await?;
    assert!(cut(&mut two, Instant::now()).await? < SECOND);
    Ok(())
}
