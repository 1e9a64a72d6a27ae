//! A configuration or code that changes while `wrangler dev` runs, and an account whose subdomain is no name.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bowline_e2e::edge::{Inside, Sent};
use bowline_e2e::project::Project;
use bowline_e2e::worker::TestWorker;
use serde_json::{Value, json};

/// A project with one D1 binding, the test Worker, and nothing else.
fn project() -> Result<(Project, Value)> {
    let project = Project::new(&[])?;
    let file = project.folder().join("wrangler.jsonc");
    let mut wrangler: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let keep = ["name", "main", "compatibility_date", "d1_databases"];
    let members = wrangler.as_object_mut().context("an object")?;
    members.retain(|key, _| keep.contains(&key.as_str()));
    std::fs::write(&file, wrangler.to_string())?;
    Ok((project, wrangler))
}

/// The calls of the API once there are as many as wanted.
async fn calls(worker: &Inside, wanted: usize) -> Result<Vec<String>> {
    let (mut calls, began) = (Vec::new(), Instant::now());
    while calls.len() < wanted {
        ensure!(began.elapsed() < Duration::from_secs(60), "only {calls:?}");
        let log = worker.log().await?;
        calls.extend(log.into_iter().filter(|line| !line.starts_with("edge")));
        // Nobody tells of them.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(calls)
}

#[tokio::test]
async fn of_the_configuration_and_of_code() -> Result<()> {
    let (project, mut wrangler) = project()?;
    let file = project.folder().join("wrangler.jsonc");
    let mut worker = Inside::wrangler_dev(&project, &["--no-tail"], Sent::Right).await?;
    let select = json!({"sql": "SELECT 1 AS one"});
    let usual = ["session 200", "subdomain 200", "upload 200"];
    worker.ok("d1.all", select.clone()).await?;
    assert_eq!(calls(&worker, 3).await?, usual);

    // Code alone: nothing is asked of the API.
    let code = project.folder().join("worker.mjs");
    let source = std::fs::read_to_string(&code)?;
    std::fs::write(&code, format!("{source}\n// changed\n"))?;
    worker.heard("Local server updated and ready").await?;
    worker.ok("d1.all", select.clone()).await?;
    assert_eq!(calls(&worker, 0).await?, [] as [&str; 0]);

    // Another binding: a whole new session.
    let database =
        |name: &str| json!({"binding": name, "database_name": "main", "database_id": "main", "remote": true});
    wrangler["d1_databases"] = json!([database("DB"), database("TWO")]);
    std::fs::write(&file, wrangler.to_string())?;
    assert_eq!(calls(&worker, 3).await?, usual);
    worker.heard("Local server updated and ready").await?;
    worker.ok("d1.all", select.clone()).await?;

    // The last one goes: an upload to the session there is.
    wrangler["d1_databases"] = json!([]);
    std::fs::write(&file, wrangler.to_string())?;
    assert_eq!(calls(&worker, 1).await?, ["upload 200"]);
    assert_eq!(worker.signal("INT").await?.code(), Some(130));
    Ok(())
}

/// A quirk of this connector's, and a way without names: it then calls 127.0.0.1, by which the edge answers, too.
#[tokio::test]
async fn a_subdomain_that_is_no_name_is_called_by_address() -> Result<()> {
    let (project, _) = project()?;
    let edge = ["--no-tail", "--subdomain", "no:dns"];
    let mut worker = Inside::wrangler_dev(&project, &edge, Sent::Right).await?;
    let answer = worker.ok("d1.all", json!({"sql": "SELECT 1 AS one"})).await?;
    assert_eq!(answer["results"], json!([{"one": 1}]));
    let log = worker.control(http::Method::GET, "/log", "").await?;
    let edge = log
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| entry["at"] == "edge");
    assert!(
        edge.into_iter().all(|entry| entry["host"] == "127.0.0.1"),
        "{log}"
    );
    assert_eq!(worker.signal("INT").await?.code(), Some(130));
    Ok(())
}
