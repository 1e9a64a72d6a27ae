//! Applications of a part of a host, what is asked about them, and ways around them.

use anyhow::Result;
use bowline_e2e::access::{Site, text};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{any_token, people};

const HOST: &str = "app.example.com";

#[tokio::test]
async fn the_most_specific_application_answers_for_its_paths() -> Result<()> {
    let site = Site::new(None).await?;
    let open = json!({"decision": "bypass", "include": {"everyone": {}}});
    site.application("rest", HOST, &[any_token()], json!({})).await?;
    let admin = site
        .application("admin", &format!("{HOST}/admin"), &[people()], json!({}))
        .await?;
    site.application("public", &format!("{HOST}/public"), &[open], json!({}))
        .await?;
    let gateway = site.gateway().await?;
    let get = async |path: &str| gateway.request(Method::GET, HOST, path).send().await;
    for (path, status) in [
        ("/", 403),
        ("/admin", 302),
        ("/admin/x", 302),
        ("/administrator", 403),
        ("/public/x", 200),
        ("/public/../admin", 400),
        ("/public/..%2fadmin", 400),
        ("//admin", 400),
    ] {
        assert_eq!(get(path).await?.status, status, "{path}");
    }
    // The document about a path is about what protects it.
    let about = "/.well-known/cloudflare-access-protected-resource/admin/x";
    let document: Value = serde_json::from_slice(&get(about).await?.body)?;
    assert_eq!(document["resource"], format!("http://{HOST}/admin/x"));
    let request = gateway
        .request(Method::GET, HOST, about)
        .header("cf-access-metadata-request", "true");
    assert!(request.send().await?.headers.contains_key("cf-access-metadata"));
    // Its path is not the one that it is about: what is open there opens nothing here.
    for method in [Method::POST, Method::PUT, Method::OPTIONS] {
        let path = "/.well-known/cloudflare-access-protected-resource/public";
        let answer = gateway
            .request(method.clone(), HOST, path)
            .header("content-length", "0")
            .send()
            .await?;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    assert_eq!(text(&admin, "aud").len(), 64);
    Ok(())
}

#[tokio::test]
async fn access_answers_where_nothing_is_protected() -> Result<()> {
    let site = Site::new(None).await?;
    site.application("admin", &format!("{HOST}/admin"), &[people()], json!({}))
        .await?;
    site.access(&["app", "delete", "everything"]).await?;
    let gateway = site.gateway().await?;
    gateway
        .ok(
            Method::PUT,
            "organizations",
            json!({"deny_unmatched_requests": false}),
        )
        .await?;
    for (path, status) in [
        ("/", 200),
        ("/admin", 302),
        ("/cdn-cgi/access/certs", 200),
        ("/cdn-cgi/access/get-identity", 401),
        ("/cdn-cgi/access/logout", 200),
        ("/.well-known/cloudflare-access-protected-resource/elsewhere", 404),
    ] {
        let answer = gateway.request(Method::GET, HOST, path).send().await?;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    Ok(())
}

#[tokio::test]
async fn no_protocol_but_websocket_is_switched_to() -> Result<()> {
    let site = Site::new(None).await?;
    let token = site.token("machine").await?;
    site.application("app", HOST, &[any_token()], json!({})).await?;
    let gateway = site.gateway().await?;
    let answer = gateway
        .get(HOST, "/", &token)
        .header("connection", "Upgrade, HTTP2-Settings")
        .header("upgrade", "h2c")
        .header("http2-settings", "AAMAAABkAAQAAP__")
        .send()
        .await?;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "{}\n{}",
        answer.text(),
        gateway.program.stderr.text()
    );
    let mirrored: Value = serde_json::from_slice(&answer.body)?;
    for gone in ["upgrade", "http2-settings", "connection"] {
        assert!(mirrored["headers"][gone].is_null(), "{mirrored}");
    }
    Ok(())
}
