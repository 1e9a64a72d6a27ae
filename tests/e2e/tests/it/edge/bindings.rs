//! Every binding, through `wrangler dev`.

use anyhow::{Context, Result};
use bowline_e2e::edge::{Inside, Sent};
use bowline_e2e::project::Project;
use bowline_e2e::upstream;
use bowline_e2e::worker::TestWorker;
use serde_json::json;

use crate::{ai, images, miniflare, service};

#[tokio::test]
async fn wrangler_dev_gets_right_answers_from_every_binding() -> Result<()> {
    let (tcp, http) = (upstream::tcp_echo().await?, upstream::http_echo().await?);
    let project = Project::new(&[tcp.to_string(), http.to_string()])?;
    let mut worker = Inside::wrangler_dev(&project, &[], Sent::Right).await?;
    let log = worker.log().await?;
    assert_eq!(
        log[..3],
        ["session 200", "subdomain 200", "upload 200"],
        "{log:?}"
    );

    miniflare::every_binding(&mut worker, true, &project, tcp, http).await?;
    service::service(&mut worker, true).await?;
    service::dispatch(&mut worker).await?;
    let made = worker.ok("art.create", json!({"name": "notes"})).await?;
    assert_eq!(made["name"], "notes", "{made}");
    let listed = worker.ok("art.list", json!({})).await?;
    assert!(listed.to_string().contains("notes"), "{listed}");
    images::contract(&mut worker).await?;
    images::hosted(&mut worker, false).await?;
    images::drafts(&mut worker).await?;

    // All of it went through the edge, on both flows, and no second session was needed.
    let log = worker.log().await?;
    for name in [
        "DB",
        "VEC",
        "MAIL",
        "VPC",
        "SVC",
        "PLAIN",
        "CUSTOMERS",
        "ART",
        "IMAGES",
    ] {
        assert!(log.iter().any(|line| line.contains(name)), "{name}: {log:?}");
    }
    assert!(!log.iter().any(|line| line.starts_with("session")), "{log:?}");

    // What the tail tells is an error in the terminal.
    let event = json!({"logs": [], "exceptions": [{"name": "Error", "message": "heard at sea"}]});
    worker
        .control(http::Method::POST, "/tail", &event.to_string())
        .await?;
    worker.heard("heard at sea").await?;
    let status = worker.signal("INT").await?;
    assert_eq!(status.code(), Some(130));
    Ok(())
}

#[tokio::test]
async fn the_uploaded_worker_itself_gives_the_same_answers() -> Result<()> {
    let (tcp, http) = (upstream::tcp_echo().await?, upstream::http_echo().await?);
    let project = Project::new(&[tcp.to_string(), http.to_string()])?;
    let mut worker = Inside::wrangler_dev(&project, &["--workerd"], Sent::Right).await?;
    miniflare::every_binding(&mut worker, true, &project, tcp, http).await?;
    service::service(&mut worker, true).await?;
    let made = worker.ok("art.create", json!({"name": "notes"})).await?;
    assert_eq!(made["name"], "notes", "{made}");
    images::contract(&mut worker).await?;
    images::hosted(&mut worker, false).await?;
    images::drafts(&mut worker).await?;
    assert_eq!(worker.signal("INT").await?.code(), Some(130));
    Ok(())
}

#[tokio::test]
async fn wrangler_dev_runs_models() -> Result<()> {
    let stage = ai::Stage::new().await?;
    let mut worker = Inside::wrangler_dev(&stage.project, &[], Sent::Right).await?;
    ai::every_call(&mut worker, &stage).await?;
    let status = worker.signal("TERM").await?;
    assert_eq!(status.code().context("a code")?, 143);
    Ok(())
}
