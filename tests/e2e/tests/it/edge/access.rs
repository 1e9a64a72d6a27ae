//! Access in front of the edge: each mode, with the right service token, a wrong one and none.

use anyhow::Result;
use bowline_e2e::edge::{Inside, Sent};
use bowline_e2e::project::Project;
use bowline_e2e::worker::TestWorker;
use serde_json::json;

async fn passes(worker: &mut Inside) -> Result<()> {
    let answer = worker.ok("d1.all", json!({"sql": "SELECT 1 AS one"})).await?;
    assert_eq!(answer["results"], json!([{"one": 1}]));
    let sum = worker
        .ok("svc.call", json!({"method": "add", "args": [1, 2]}))
        .await?;
    assert_eq!(sum, 3);
    Ok(())
}

/// `status`: what the tool's client makes of a block.
async fn is_blocked(worker: &mut Inside, status: u16) -> Result<()> {
    let answer = worker
        .ok("svc.fetch", json!({"url": "https://callee.example/"}))
        .await?;
    assert_eq!(answer["status"], status, "{answer}");
    let body = answer["body"].as_str().unwrap_or_default();
    assert!(body.contains("CLOUDFLARE_ACCESS_CLIENT_ID"), "{body}");
    let error = worker
        .error("svc.call", json!({"method": "add", "args": [1, 2]}))
        .await?;
    assert_eq!(error["message"], "WebSocket connection failed.", "{error}");
    Ok(())
}

#[tokio::test]
async fn service_auth() -> Result<()> {
    let project = Project::new(&[])?;
    for sent in [Sent::Right, Sent::Wrong, Sent::Nothing] {
        // A refusal without a redirect is not noticed at the start.
        let mut worker = Inside::wrangler_dev(&project, &["--access", "service-auth"], sent).await?;
        match sent {
            Sent::Right => passes(&mut worker).await?,
            Sent::Wrong | Sent::Nothing => is_blocked(&mut worker, 403).await?,
        }
        assert_eq!(worker.signal("INT").await?.code(), Some(130));
    }
    Ok(())
}

#[tokio::test]
async fn login() -> Result<()> {
    let project = Project::new(&[])?;
    for sent in [Sent::Right, Sent::Wrong] {
        let mut worker = Inside::wrangler_dev(&project, &["--access", "login"], sent).await?;
        match sent {
            Sent::Right => passes(&mut worker).await?,
            Sent::Wrong | Sent::Nothing => is_blocked(&mut worker, 401).await?,
        }
        assert_eq!(worker.signal("INT").await?.code(), Some(130));
    }
    // The probe sees the redirect, and nobody is there to log in.
    let mut worker = Inside::start(
        &project,
        &["--access", "login"],
        Sent::Nothing,
        &["wrangler", "dev"],
    )
    .await?;
    let (status, said) = worker.ended().await?;
    assert_eq!(status.code(), Some(1), "{said}");
    for name in ["CLOUDFLARE_ACCESS_CLIENT_ID", "CLOUDFLARE_ACCESS_CLIENT_SECRET"] {
        assert!(said.contains(name), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn off() -> Result<()> {
    let project = Project::new(&[])?;
    // The mode can be changed while a session lasts.
    let mut worker = Inside::wrangler_dev(&project, &["--access", "off"], Sent::Nothing).await?;
    passes(&mut worker).await?;
    worker
        .control(http::Method::PUT, "/access", "service-auth")
        .await?;
    is_blocked(&mut worker, 403).await?;
    worker.control(http::Method::PUT, "/access", "off").await?;
    passes(&mut worker).await?;
    assert_eq!(worker.signal("INT").await?.code(), Some(130));
    Ok(())
}
