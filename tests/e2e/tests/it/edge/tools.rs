//! The other tools that make preview sessions.

use anyhow::{Context, Result};
use bowline_e2e::edge::{Inside, Sent};
use bowline_e2e::project::Project;
use bowline_e2e::upstream;
use bowline_e2e::worker::TestWorker;
use serde_json::{Value, json};

use crate::{miniflare, service};

#[tokio::test]
async fn get_platform_proxy_and_start_worker() -> Result<()> {
    let http = upstream::http_echo().await?.to_string();
    let project = Project::new(std::slice::from_ref(&http))?;
    let mut inside = Inside::start(&project, &[], Sent::Right, &["platform.mjs", &http]).await?;
    let mut result = async |name: &str| -> Result<Value> {
        let line = inside.heard(&format!("result {{\"name\":\"{name}\"")).await?;
        let (_, document) = line.split_once("result ").context("a result")?;
        Ok(serde_json::from_str::<Value>(document)?["result"].take())
    };
    let seen = result("platform").await?;
    assert_eq!(seen["fetch"]["props"], json!({"role": "admin"}), "{seen}");
    shared(&seen, "one greets Zoë");
    let seen = result("worker").await?;
    assert_eq!(seen["artifacts"], "worker", "{seen}");
    shared(&seen, "two greets Zoë");
    assert!(inside.ended().await?.0.success());
    Ok(())
}

fn shared(seen: &Value, greeting: &str) {
    assert_eq!(seen["d1"], json!([{"one": 1}]), "{seen}");
    assert_eq!(seen["vectorize"]["dimensions"], 3, "{seen}");
    assert_eq!(seen["rpc"], 3, "{seen}");
    assert_eq!(seen["dispatch"], greeting, "{seen}");
    assert_eq!(seen["vpc"], 418, "{seen}");
    assert_eq!(seen["models"], json!([]), "{seen}");
}

#[tokio::test]
async fn vite() -> Result<()> {
    let (tcp, http) = (upstream::tcp_echo().await?, upstream::http_echo().await?);
    let project = Project::new(&[tcp.to_string(), http.to_string()])?;
    let mut worker = Inside::start(&project, &[], Sent::Right, &["vite"]).await?;
    worker.heard("Local:").await?;
    // Its miniflare is older than wrangler's: errors lose their codes on the way to user code.
    miniflare::every_binding(&mut worker, false, &project, tcp, http).await?;
    service::service(&mut worker, false).await?;
    service::dispatch(&mut worker).await?;
    let made = worker.ok("art.create", json!({"name": "vite"})).await?;
    assert_eq!(made["name"], "vite", "{made}");
    assert_eq!(worker.signal("INT").await?.code(), Some(130));
    Ok(())
}

#[tokio::test]
async fn vitest() -> Result<()> {
    let project = Project::new(&[])?;
    let mut inside = Inside::start(
        &project,
        &[],
        Sent::Right,
        &["vitest", "run", "--config", "vitest.config.mjs"],
    )
    .await?;
    let (status, said) = inside.ended().await?;
    assert!(status.success(), "{said}");
    assert!(said.contains("7 passed"), "{said}");
    Ok(())
}
