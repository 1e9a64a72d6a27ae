//! `bowline deploy`, `bowline connect --remote` without a session, and `bowline dev --remote`, inside the stand-in edge, which
//! runs what is uploaded to it.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};
use bowline_e2e::peers::{Driver, Miniflare};
use bowline_e2e::program;
use bowline_e2e::project::Project;
use bowline_e2e::session::Session;
use bowline_e2e::upstream;
use bowline_e2e::worker::TestWorker;
use serde_json::{Value, json};

use crate::{miniflare, service};

/// The host of the Worker that is deployed has to resolve inside.
const EDGE: [&str; 3] = ["--workerd", "--worker", "e2e-bowline"];
const URL: &str = "https://e2e-bowline.bowline.workers.dev/";

/// Deploys as a user does, the audience tag looked up unless it is given, then runs `bowline` where no API token is left.
fn deployed(
    bowline: &Path,
    project: &Project,
    audience: &str,
    credentials: &str,
    then: &str,
) -> Vec<OsString> {
    let script = format!(
        r#"set -e
         audience={audience}
         : ${{audience:=$("$0" access check --json {URL} | sed -n 's/.*"audience":"\([^"]*\)".*/\1/p')}}
         "$0" deploy --json --config "$1" --team-domain bowline.cloudflareaccess.com --audience "$audience" >&2
         exec env -u CLOUDFLARE_API_TOKEN -u CLOUDFLARE_API_BASE_URL -u CLOUDFLARE_ACCOUNT_ID {credentials} "$0" {then}"#
    );
    let folder = project.folder();
    vec![
        "sh".into(),
        "-c".into(),
        script.into(),
        bowline.into(),
        folder.into(),
    ]
}

async fn connected(project: &Project, audience: &str, credentials: &str) -> Result<Session> {
    let bowline = program::bowline()?;
    Session::of(project, &EDGE, |port| {
        let connect = format!("connect --json --listen 127.0.0.1:{port} --remote {URL}");
        deployed(&bowline, project, audience, credentials, &connect)
    })
    .await
}

#[tokio::test]
async fn it_is_a_remote_that_needs_no_session() -> Result<()> {
    let (tcp, http) = (upstream::tcp_echo().await?, upstream::http_echo().await?);
    let project = Project::new(&[tcp.to_string(), http.to_string()])?;
    let session = connected(&project, "", "").await?;
    let mut worker = Driver::start(Miniflare::V5, session.url()).await?;
    miniflare::every_binding(&mut worker, true, &project, tcp, http).await?;
    service::service(&mut worker, true).await?;
    service::dispatch(&mut worker).await?;
    let made = worker.ok("art.create", json!({"name": "notes"})).await?;
    assert_eq!(made["name"], "notes", "{made}");
    worker.stop().await?;

    let log = session.control(http::Method::DELETE, "/log", "").await?;
    let log = log.as_array().context("a list")?;
    let calls: Vec<&str> = log.iter().filter_map(|entry| entry["call"].as_str()).collect();
    assert_eq!(calls, ["subdomain", "deploy", "publish"], "no session was made");
    Ok(())
}

/// Answers to one call of each flow that can tell why it was refused.
async fn refused(session: &Session, says: &str) -> Result<()> {
    let answer = session.sql("SELECT 1").await?;
    assert!(!answer.status.is_success(), "{}", answer.text());
    assert!(answer.text().contains(says), "{}", answer.text());
    let mut worker = Driver::start(Miniflare::V5, session.url()).await?;
    let error = worker
        .error("svc.call", json!({"method": "add", "args": [1, 2]}))
        .await?;
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(says), "{error}");
    worker.stop().await
}

#[tokio::test]
async fn nothing_is_answered_without_the_right_token() -> Result<()> {
    let project = Project::new(&["127.0.0.1:1".to_owned()])?;
    let session = connected(&project, "", "CLOUDFLARE_ACCESS_CLIENT_SECRET=wrong").await?;
    refused(&session, "the service token was sent and not accepted").await?;
    drop(session);
    let without = "-u CLOUDFLARE_ACCESS_CLIENT_ID -u CLOUDFLARE_ACCESS_CLIENT_SECRET";
    let session = connected(&project, "", without).await?;
    refused(&session, "no service token was sent").await?;
    // Should Access be taken away from its host, the Worker does not open to everybody.
    session.control(http::Method::PUT, "/access", "off").await?;
    refused(&session, "this request has no application token").await
}

#[tokio::test]
async fn a_token_of_another_application_is_none() -> Result<()> {
    let project = Project::new(&["127.0.0.1:1".to_owned()])?;
    let session = connected(&project, "other", "").await?;
    refused(&session, "the application token is for another application").await
}

/// The developer's own Worker, its bindings in the proxy Worker, that one's bindings in the stand-in.
async fn dev(remote: &str) -> Result<()> {
    let (tcp, http) = (upstream::tcp_echo().await?, upstream::http_echo().await?);
    let project = Project::new(&[tcp.to_string(), http.to_string()])?;
    let bowline = program::bowline()?;
    let mut session = Session::of(&project, &EDGE, |port| {
        let dev = format!("dev --json --port {port} --remote {remote}");
        if remote == "cloudflare" {
            let dev = dev.split(' ').map(OsString::from);
            [bowline.clone().into()].into_iter().chain(dev).collect()
        } else {
            deployed(&bowline, &project, "", "", &dev)
        }
    })
    .await?;
    let placed = &session.program.ready["bindings"];
    let places = placed.as_array().context("a list")?;
    assert!(places.iter().all(|row| row["place"] == "remote"), "{placed}");
    let worker = &mut session.program;
    miniflare::every_binding(worker, true, &project, tcp, http).await?;
    service::service(worker, true).await?;
    service::dispatch(worker).await?;
    let made = worker.ok("art.create", json!({"name": "notes"})).await?;
    assert_eq!(made["name"], "notes", "{made}");
    // Every call went through the edge.
    let log: Value = session.control(http::Method::GET, "/log", "").await?;
    for name in ["DB", "VEC", "MAIL", "VPC", "SVC", "PLAIN", "CUSTOMERS", "ART"] {
        let went = |entry: &Value| entry["at"] == "edge" && entry["binding"] == name;
        assert!(
            log.as_array().is_some_and(|log| log.iter().any(went)),
            "{name}: {log}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn dev_with_a_preview_session() -> Result<()> {
    dev("cloudflare").await
}

#[tokio::test]
async fn dev_with_a_deployed_worker() -> Result<()> {
    dev(URL).await
}
