//! Preview sessions against the stand-in edge: what is known of how Cloudflare's are made, refused, kept and changed, and where
//! each row is tested, for ours and for wrangler's connector.
//!
//! | row | ours | unmodified wrangler 4.164 |
//! |---|---|---|
//! | the calls and their order; exchange of the session token, whose failures are silent | `bowline-api` `calls`; `retried_while_starting` | `edge::bindings`, `edge::session::session_tokens_are_exchanged…` |
//! | no subdomain (10007) | `retried_while_starting` | `edge::session::a_subdomain_is_registered…` |
//! | no account named | `bowline-api` `the_only_account_is_found` | `edge::session::a_wrong_token_is_refused…` |
//! | a subdomain that is no name | `every_failure_to_start…`: refused | `edge::changes`: called at 127.0.0.1 |
//! | three attempts, at once and after a second; network errors, 5xx | `bowline-api` `what_is_temporary…`; `refresh` | `edge::session::failures_that_pass…` |
//! | 429 with `Retry-After`; more than a minute | `bowline-api` `retry_after_is_obeyed`, the lifecycle's; `refresh` | the same; `failures_that_stay…` |
//! | a call that hangs, 30 s | `refresh` | `edge::session::a_hung_upload…` |
//! | 9106, 10000, 10405, 10021, 10063, HTML | `every_failure_to_start…` | `edge::session::failures_that_stay…` |
//! | 10049 at an upload | `retried_while_starting`, `refresh`, `bindings_change…` | `failures_that_pass…`, `bindings_change…` |
//! | expiry: 400, the words, no mark; on rpc, too | `many_that_find…`, `upgrades_find…` | `edge::session::expired_tokens…` |
//! | expiry: the words in an application's own 400 | `bowline-proxy` `only_the_edges_own_word…` | it refreshes (read in its text) |
//! | expiry: 1031 | `a_products_own_session…` | `edge::session::expired_tokens…` |
//! | five failures together | one renewal: `many_that_find…`, the lifecycle's | five |
//! | renewed before it ends, at 50 minutes | `refresh`; a day of it: `bowline-session` `lifecycle` | `edge::session::a_session_is_refreshed…`, its timers made short |
//! | a renewal fails: the old token is used, tried again | `an_outage…`, `refresh`, `kills`, the lifecycle's | `edge::session::a_session_is_refreshed…` |
//! | bindings change | `bindings_change…` | `edge::session::bindings_change…`, `edge::changes` |
//! | an update fails | goes on with the old one: `bindings_change…` | pauses: `edge::session::bindings_change…` |
//! | code changes: no call | nothing follows code | `edge::changes` |
//! | the edge resets; an rpc session is cut | `kills` | `edge::session::expired_tokens…` |
//! | the edge's certificate is not trusted | `an_edge_that_is_not_trusted…` | `edge::session::an_edge_that_is_not_trusted…` |
//! | Access: modes, right, wrong and no token | `deployed`, `access_client` | `edge::access` |
//! | tail | `the_log_of_the_proxy_worker…` | `edge::bindings` |
//!
//! Not tested: what wrangler does with a request that breaks off while its token changes (read in its text: GET and HEAD are
//! sent again, others get 503); ours keeps the old token, so that nothing breaks off.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bowline_e2e::client::Outgoing;
use bowline_e2e::peers::{Driver, Miniflare};
use bowline_e2e::program;
use bowline_e2e::project::Project;
use bowline_e2e::session::{API_TOKEN, Session};
use bowline_e2e::upstream;
use bowline_e2e::worker::TestWorker;
use http::Method;
use serde_json::{Value, json};

use crate::{miniflare, service};

/// A project with one D1 binding.
pub(crate) fn project() -> Result<Project> {
    let d1 = json!([{"binding": "DB", "database_name": "main", "database_id": "main", "remote": true}]);
    let wrangler =
        json!({"name": "app", "main": "worker.mjs", "compatibility_date": "2026-07-01", "d1_databases": d1});
    Project::of(&wrangler, &json!({"bindings": {}}))
}

async fn every_binding(version: Miniflare) -> Result<()> {
    let (tcp, http) = (upstream::tcp_echo().await?, upstream::http_echo().await?);
    let project = Project::new(&[tcp.to_string(), http.to_string()])?;
    let session = Session::start(&project, &[]).await?;
    let mut worker = Driver::start(version, session.url()).await?;
    let codes = version == Miniflare::V5;
    miniflare::d1(&mut worker).await?;
    miniflare::vectorize(&mut worker).await?;
    miniflare::send_email(&mut worker, codes, &project).await?;
    service::service(&mut worker, codes).await?;
    service::dispatch(&mut worker).await?;
    worker.stop().await
}

#[tokio::test]
async fn every_binding_of_four() -> Result<()> {
    every_binding(Miniflare::V4).await
}

#[tokio::test]
async fn every_binding_of_five() -> Result<()> {
    every_binding(Miniflare::V5).await
}

#[tokio::test]
async fn many_that_find_the_token_dead_are_one_renewal_and_no_failure() -> Result<()> {
    let project = project()?;
    let session = Session::start(&project, &[]).await?;
    session.ok().await?;
    assert_eq!(session.calls("upload").await?, 1);
    session.expire("previews").await?;
    let calls = (0..20).map(|_| session.ok());
    for answered in futures_util::future::join_all(calls).await {
        answered?;
    }
    assert_eq!(session.calls("upload").await?, 1);
    // A body that is too large to be kept is told so.
    session.expire("previews").await?;
    let large = format!("SELECT 1 -- {}", "x".repeat(200_000));
    let answer = session.sql(&large).await?;
    assert_eq!(answer.status, 503);
    assert!(
        answer.text().contains("had ended") && answer.text().contains("make the call again"),
        "{}",
        answer.text()
    );
    session
        .until("a renewal", async || Ok(session.sql(&large).await?.status == 200))
        .await
}

#[tokio::test]
async fn upgrades_find_the_token_dead_and_go_on() -> Result<()> {
    let project = Project::new(&["127.0.0.1:1".to_owned()])?;
    let session = Session::start(&project, &[]).await?;
    let mut worker = Driver::start(Miniflare::V5, session.url()).await?;
    let add = json!({"method": "add", "args": [1, 2]});
    assert_eq!(worker.ok("svc.call", add.clone()).await?, 3);
    for _ in 0..3 {
        session.expire("previews").await?;
        assert_eq!(worker.ok("svc.call", add.clone()).await?, 3);
    }
    worker.stop().await
}

#[tokio::test]
async fn a_products_own_session_is_renewed_and_its_answer_passed_on() -> Result<()> {
    let project = project()?;
    // Following a tail is a request to the edge, too.
    let session = Session::start(&project, &["--no-tail"]).await?;
    session.calls("upload").await?;
    session.faults(&["edge:gone*1"]).await?;
    let answer = session.sql("SELECT 1").await?;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("error code: 1031"), "{}", answer.text());
    let mut uploads = 0;
    session
        .until("an upload", async || {
            uploads += session.calls("upload").await?;
            ensure!(uploads <= 1, "{uploads} uploads");
            session.ok().await?;
            Ok(uploads == 1)
        })
        .await
}

#[tokio::test]
async fn an_outage_of_the_api_is_outlived() -> Result<()> {
    let project = project()?;
    let session = Session::start(&project, &[]).await?;
    // The old token still works: nobody notices.
    session
        .faults(&[
            "api:status=503",
            "session:status=503",
            "subdomain:status=503",
            "upload:status=503",
        ])
        .await?;
    session.ok().await?;
    // It does not any more: requests wait until the API is back.
    session.expire("previews").await?;
    let waiting = async { session.ok().await };
    let mending = async {
        session.said("could not renew the preview session").await?;
        session.faults(&[]).await
    };
    let (answered, mended) = tokio::join!(waiting, mending);
    mended?;
    answered?;
    session.said("the preview session was renewed").await
}

#[tokio::test]
async fn bindings_change_without_a_pause() -> Result<()> {
    let project = project()?;
    let session = Session::start(&project, &[]).await?;
    let configuration = project.folder().join("wrangler.jsonc");
    let mut wrangler: Value = serde_json::from_slice(&std::fs::read(&configuration)?)?;
    let old = wrangler["d1_databases"][0].clone();
    let other = |wrangler: &mut Value, name: &str| {
        let new = json!({"binding": name, "database_name": "main", "database_id": "main", "remote": true});
        wrangler["d1_databases"] = json!([old, new]);
        std::fs::write(&configuration, wrangler.to_string())
    };
    let served = async |name: &str| {
        let answer = Outgoing::new(Method::POST, session.url())
            .header("mf-binding", name)
            .header("mf-url", "http://d1/query?resultsFormat=ARRAY_OF_OBJECTS")
            .body(json!({"sql": "SELECT 1", "params": []}).to_string())
            .send()
            .await?;
        // Whatever happens to the new one, the old one is served.
        session.ok().await?;
        Ok(answer.status == 200)
    };
    session.calls("upload").await?;
    other(&mut wrangler, "TWO")?;
    session.until("TWO", async || served("TWO").await).await?;
    assert_eq!(session.calls("session").await?, 0, "the same session");
    // The session token has ended meanwhile (10049).
    session.expire("sessions").await?;
    other(&mut wrangler, "THREE")?;
    session.until("THREE", async || served("THREE").await).await?;
    assert_eq!(session.calls("session").await?, 1);
    // An update that is refused leaves everything as it was, and the next one mends it.
    session.faults(&["upload:code=10021"]).await?;
    other(&mut wrangler, "FOUR")?;
    session.said("not accepted as a Worker").await?;
    session.ok().await?;
    session.faults(&[]).await?;
    other(&mut wrangler, "FIVE")?;
    session.until("FIVE", async || served("FIVE").await).await
}

#[tokio::test]
async fn the_log_of_the_proxy_worker_is_told() -> Result<()> {
    let project = project()?;
    let session = Session::start(&project, &[]).await?;
    let event = json!({"logs": [{"level": "warn", "message": ["hello", 1]}], "exceptions": [{"name": "TypeError", "message": "no"}]});
    session
        .until("the log", async || {
            session.control(Method::POST, "/tail", &event.to_string()).await?;
            let said = session.program.stderr.text();
            Ok(said.contains("[remote warn] hello 1") && said.contains("[remote exception] TypeError: no"))
        })
        .await
}

#[tokio::test]
async fn every_failure_to_start_has_its_exit_code_and_next_step() -> Result<()> {
    let project = project()?;
    for (edge, inside, code, says) in [
        (
            &["--fault", "session:code=10000"][..],
            &[][..],
            4,
            "Workers Scripts: Edit",
        ),
        (
            &["--fault", "session:code=9106"][..],
            &[][..],
            4,
            "missing or malformed",
        ),
        (
            &["--fault", "session:code=10405"][..],
            &[][..],
            4,
            "not allowed for this call",
        ),
        (
            &["--fault", "upload:code=10063"][..],
            &[][..],
            5,
            "no workers.dev subdomain",
        ),
        (
            &["--fault", "upload:code=10021"][..],
            &[][..],
            5,
            "not accepted as a Worker",
        ),
        (&["--fault", "session:html"][..], &[][..], 5, "is not the API's"),
        (
            &["--fault", "api:reset", "--fault", "session:reset"][..],
            &[][..],
            5,
            "could not be reached",
        ),
        // wrangler would call 127.0.0.1, by a quirk of URLs; ours says what is wrong with the name.
        (
            &["--subdomain", "no:dns"][..],
            &[][..],
            5,
            "`app.no:dns.workers.dev` is not a host",
        ),
        (
            &[][..],
            &["CLOUDFLARE_API_TOKEN=wrong"][..],
            4,
            "Workers Scripts: Edit",
        ),
        (
            &[][..],
            &["-u", "CLOUDFLARE_API_TOKEN"][..],
            4,
            "no credentials for Cloudflare's API",
        ),
    ] {
        let mut command = project.with_toolchain(&["edge", "run"])?;
        command
            .args(edge)
            .arg("--config")
            .arg(project.folder())
            .arg("--state")
            .arg(project.state())
            .args(["--", "env"])
            .args(inside)
            .arg(program::bowline()?)
            .args(["connect", "--json", "--config"])
            .arg(project.folder())
            .env("HOME", project.folder())
            .env("CLOUDFLARE_API_TOKEN", API_TOKEN);
        let output = program::run(command, Duration::from_secs(60)).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{edge:?} {inside:?}: {said}");
        assert!(said.contains(says), "{edge:?} {inside:?}: {said}");
        assert!(!said.contains(API_TOKEN), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn an_edge_that_is_not_trusted_is_told_by_every_call() -> Result<()> {
    let project = Project::new(&["127.0.0.1:1".to_owned()])?;
    let bowline = program::bowline()?;
    let session = Session::of(&project, &["--no-tail"], |port| {
        let connect = format!("-u NODE_EXTRA_CA_CERTS {} connect --json", bowline.display());
        let listen = format!(
            "--listen 127.0.0.1:{port} --config {}",
            project.folder().display()
        );
        let words = format!("env {connect} {listen}");
        words.split(' ').map(OsString::from).collect()
    })
    .await?;
    let says = "certificate";
    let answer = session.sql("SELECT 1").await?;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.text().contains(says), "{}", answer.text());
    let mut worker = Driver::start(Miniflare::V5, session.url()).await?;
    let error = worker
        .error("svc.call", json!({"method": "add", "args": [1, 2]}))
        .await?;
    assert!(
        error["message"].as_str().unwrap_or_default().contains(says),
        "{error}"
    );
    worker.stop().await
}

#[tokio::test]
async fn retried_while_starting() -> Result<()> {
    let project = project()?;
    let faults = [
        "--fault",
        "session:status=503*2",
        "--fault",
        "upload:code=10049*2",
        "--unregistered",
        "--exchange",
    ];
    let session = Session::start(&project, &faults).await?;
    session.ok().await
}

/// Tokens end, the API and the edge break off, one after the other, with the program's own pauses. (Many more in `kills`.)
#[tokio::test]
async fn mishaps_in_a_row() -> Result<()> {
    let project = project()?;
    let session = Session::start(&project, &[]).await?;
    for round in 0..10 {
        match round % 5 {
            0 => session.expire("previews").await?,
            1 => session.faults(&["session:reset*2"]).await?,
            2 => session.faults(&["edge:unknown*1"]).await?,
            3 => session.expire("sessions").await?,
            _ => session.faults(&["upload:status=503*1", "edge:unknown*1"]).await?,
        }
        let what = format!("round {round}");
        session
            .until(&what, async || Ok(session.sql("SELECT 1").await?.status == 200))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn no_secret_is_told() -> Result<()> {
    let mut project = project()?;
    project.log = Some("trace");
    let session = Session::start(&project, &["--exchange"]).await?;
    session.ok().await?;
    session.expire("previews").await?;
    session.ok().await?;
    session.expire("sessions").await?;
    let state = session.control(Method::GET, "", "").await?;
    let said = session.program.stderr.text() + &session.program.stdout.text();
    ensure!(said.len() > 1000, "trace says nothing: {said}");
    // What is secret inside: read from the environment of the command itself.
    let id = session.program.id().context("it runs")?;
    let children = program::children(id)?;
    let mut secrets = vec![API_TOKEN.to_owned()];
    for (child, _) in &children {
        let environment = std::fs::read(format!("/proc/{child}/environ")).unwrap_or_default();
        for variable in String::from_utf8_lossy(&environment).split('\0') {
            if let Some(secret) = variable.strip_prefix("CLOUDFLARE_ACCESS_CLIENT_SECRET=") {
                secrets.push(secret.to_owned());
            }
        }
    }
    for secret in &secrets {
        assert!(
            !said.contains(secret.as_str()),
            "a secret is in what was said; {state}"
        );
    }
    let capability = session
        .url()
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .context("a path")?;
    assert!(!session.program.stderr.text().contains(capability));
    Ok(())
}
