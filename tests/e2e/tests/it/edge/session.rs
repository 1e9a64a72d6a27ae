//! wrangler's connector, step by step: how a session is made, refused, kept and changed.

use anyhow::{Context, Result, ensure};
use bowline_e2e::edge::{Inside, Sent};
use bowline_e2e::project::Project;
use bowline_e2e::upstream;
use serde_json::{Value, json};

/// Runs steps of `wrangler/session.mjs`, all in one process; `edge` are flags of the stand-in.
async fn steps(edge: &[&str], sent: Sent, steps: Value) -> Result<Vec<Value>> {
    let http = upstream::http_echo().await?;
    let project = Project::new(&[http.to_string()])?;
    steps_in(&project, edge, sent, steps).await
}

async fn steps_in(project: &Project, edge: &[&str], sent: Sent, steps: Value) -> Result<Vec<Value>> {
    let mut inside = Inside::start(project, edge, sent, &["session.mjs", &steps.to_string()]).await?;
    let mut done = Vec::new();
    for _ in steps.as_array().context("a list")? {
        let line = inside.heard("step {").await?;
        let (_, document) = line.split_once("step ").context("a step")?;
        done.push(serde_json::from_str(document)?);
    }
    inside.heard("steps done").await?;
    ensure!(inside.ended().await?.0.success(), "it did not end well");
    Ok(done)
}

/// What the stand-in's API heard during a step.
fn api(step: &Value) -> Vec<&str> {
    let heard = step["heard"].as_array().into_iter().flatten();
    let lines = heard.filter_map(Value::as_str);
    lines.filter(|line| !line.starts_with("edge")).collect()
}

const USUAL: [&str; 3] = ["session 200", "subdomain 200", "upload 200"];

fn with_faults(rows: &[(&[&str], &str)]) -> Value {
    let rows = rows.iter();
    let steps =
        rows.flat_map(|(faults, _)| [json!({"do": "faults", "faults": faults}), json!({"do": "start"})]);
    steps.collect()
}

#[tokio::test]
async fn failures_that_pass_are_lived_through() -> Result<()> {
    let rows: [(&[&str], &str); 7] = [
        (&[], "session 200, subdomain 200, upload 200"),
        (
            &["session:status=503*2"],
            "session 503, session 503, session 200, subdomain 200, upload 200",
        ),
        (
            &["session:status=429/2*1"],
            "session 429, session 200, subdomain 200, upload 200",
        ),
        (
            &["session:reset*1"],
            "session 502, session 200, subdomain 200, upload 200",
        ),
        // A later step of the unit repeats the earlier one.
        (
            &["subdomain:reset*1"],
            "session 200, subdomain 502, session 200, subdomain 200, upload 200",
        ),
        (
            &["upload:status=502*1"],
            "session 200, subdomain 200, upload 502, upload 200",
        ),
        (
            &["upload:code=10049*1"],
            "session 200, subdomain 200, upload 400, session 200, subdomain 200, upload 200",
        ),
    ];
    let done = steps(&[], Sent::Right, with_faults(&rows)).await?;
    for ((faults, calls), step) in rows.iter().zip(done.iter().skip(1).step_by(2)) {
        assert_eq!(step["ok"], true, "{faults:?}: {step}");
        assert_eq!(api(step).join(", "), *calls, "{faults:?}");
    }
    let took = |row: usize| done[row * 2 + 1]["ms"].as_u64().unwrap();
    assert!(took(1) >= 1000, "the third attempt waits a second: {}", done[3]);
    assert!(took(2) >= 2000, "`Retry-After` is obeyed: {}", done[5]);
    Ok(())
}

#[tokio::test]
async fn failures_that_stay_end_the_start() -> Result<()> {
    let rows: [(&[&str], &str); 10] = [
        // Unlike in the other steps, any answer is final here, whatever its status.
        (&["subdomain:code=10013/500*1"], "session 200, subdomain 500"),
        (&["session:code=10000*1"], "session 403"),
        (&["session:code=9106*1"], "session 400"),
        (&["session:code=10405*1"], "session 405"),
        (&["session:html*1"], "session 200"),
        (&["session:status=503*3"], "session 503, session 503, session 503"),
        (&["session:status=429/61*1"], "session 429"),
        (&["upload:code=10063*1"], "session 200, subdomain 200, upload 403"),
        (&["upload:code=10021*1"], "session 200, subdomain 200, upload 400"),
        (&["subdomain:code=10000*1"], "session 200, subdomain 403"),
    ];
    let done = steps(&[], Sent::Right, with_faults(&rows)).await?;
    for ((faults, calls), step) in rows.iter().zip(done.iter().skip(1).step_by(2)) {
        assert_eq!(step["ok"], false, "{faults:?}: {step}");
        assert_eq!(api(step).join(", "), *calls, "{faults:?}");
    }
    for (row, says) in [
        (1, "could not be authenticated"),
        (2, "could not be authenticated"),
        (4, "malformed response"),
    ] {
        let error = done[row * 2 + 1]["error"].as_str().context("an error")?;
        assert!(error.contains(says), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_an_account_is_found() -> Result<()> {
    let done = steps(
        &[],
        Sent::Right,
        json!([{"do": "start", "token": "wrong"}, {"do": "start", "discover": true}]),
    )
    .await?;
    assert_eq!(
        (&done[0]["ok"], api(&done[0])),
        (&json!(false), vec!["session 403"]),
        "{}",
        done[0]
    );
    assert_eq!(done[1]["ok"], true, "{}", done[1]);
    let mut calls = api(&done[1]);
    // The two lists are asked for together.
    calls[..2].sort_unstable();
    assert_eq!(calls, [&["accounts 200", "memberships 200"][..], &USUAL].concat());
    Ok(())
}

#[tokio::test]
async fn a_subdomain_is_registered_where_there_is_none() -> Result<()> {
    let done = steps(
        &["--unregistered"],
        Sent::Right,
        json!([{"do": "start"}, {"do": "request"}, {"do": "start"}]),
    )
    .await?;
    assert_eq!(
        api(&done[0]),
        ["session 200", "subdomain 404", "register 200", "upload 200"]
    );
    assert_eq!(done[1]["result"]["status"], 418, "{}", done[1]);
    assert_eq!(api(&done[2]), USUAL);
    Ok(())
}

#[tokio::test]
async fn session_tokens_are_exchanged_and_failures_of_it_are_silent() -> Result<()> {
    let exchanged = |outcome| ["session 200", outcome, "subdomain 200", "upload 200"];
    let script = json!([
        {"do": "start"}, {"do": "request"},
        {"do": "faults", "faults": ["exchange:status=500*1"]}, {"do": "start"},
        {"do": "faults", "faults": ["exchange:html*1"]}, {"do": "start"},
        {"do": "faults", "faults": ["exchange:reset*1"]}, {"do": "start"},
    ]);
    let done = steps(&["--exchange"], Sent::Right, script).await?;
    assert_eq!(api(&done[0]), exchanged("exchange 200"));
    assert_eq!(done[1]["result"]["status"], 418, "{}", done[1]);
    for (row, outcome) in [(3, "exchange 500"), (5, "exchange 200"), (7, "exchange 502")] {
        assert_eq!(
            (&done[row]["ok"], api(&done[row])),
            (&json!(true), exchanged(outcome).to_vec())
        );
    }
    // Access guards the exchange: without a token it refuses, and the first token does.
    let done = steps(&["--exchange"], Sent::Wrong, json!([{"do": "start"}])).await?;
    assert_eq!(
        (&done[0]["ok"], api(&done[0])),
        (&json!(true), exchanged("exchange 403").to_vec())
    );
    Ok(())
}

#[tokio::test]
async fn expired_tokens_are_noticed_on_the_data_path() -> Result<()> {
    let script = json!([
        {"do": "start"}, {"do": "request"}, {"do": "upgrade"},
        {"do": "expire", "what": "previews"}, {"do": "request"}, {"do": "until"},
        {"do": "expire", "what": "previews"}, {"do": "upgrade"}, {"do": "until"},
        {"do": "faults", "faults": ["edge:gone*1"]}, {"do": "request"}, {"do": "until"},
        {"do": "faults", "faults": ["edge:reset*1"]}, {"do": "request", "method": "POST"}, {"do": "request"},
        {"do": "expire", "what": "previews"}, {"do": "together", "count": 5}, {"do": "until"},
    ]);
    let done = steps(&[], Sent::Right, script).await?;
    let result = |row: usize| &done[row]["result"];
    assert_eq!(
        (&result(1)["status"], &result(1)["marked"]),
        (&json!(418), &json!("true"))
    );
    assert_eq!(result(2)["open"], true);
    // The refusal is handed on, unmarked, and not repeated; the session comes back by itself.
    assert_eq!(
        (&result(4)["status"], &result(4)["marked"]),
        (&json!(400), &json!(null))
    );
    assert!(
        result(4)["body"]
            .as_str()
            .unwrap()
            .contains("Invalid Workers Preview configuration")
    );
    assert_eq!(result(5)["status"], 418, "{}", done[5]);
    // On rpc no more is seen than that the upgrade failed, and the refresh is started all the same.
    assert_eq!(result(7)["open"], false);
    assert_eq!(result(8)["status"], 418, "{}", done[8]);
    let refreshed = [api(&done[7]), api(&done[8])].concat();
    assert!(refreshed.contains(&"session 200"), "{refreshed:?}");
    // A product's own session, through the binding: marked, and a refresh, too.
    assert_eq!(
        (&result(10)["status"], &result(10)["marked"]),
        (&json!(400), &json!("true"))
    );
    assert_eq!(result(10)["body"], "error code: 1031");
    assert_eq!(result(11)["status"], 418, "{}", done[11]);
    // One request fails with its connection, the next makes another.
    assert_eq!(result(13)["status"], 500, "{}", done[13]);
    assert_eq!(result(14)["status"], 418, "{}", done[14]);
    // Five failures are five refreshes: a weakness of this connector, which the stand-in bears.
    assert_eq!(result(17)["status"], 418, "{}", done[17]);
    Ok(())
}

#[tokio::test]
async fn an_edge_that_is_not_trusted_is_noticed_by_calls_alone() -> Result<()> {
    let script = json!([{"do": "start"}, {"do": "request"}, {"do": "upgrade", "within": 3000}]);
    let mut project = Project::new(&[upstream::http_echo().await?.to_string()])?;
    project.variables.push(("E2E_UNTRUSTING", "1".to_owned()));
    let done = steps_in(&project, &["--access", "off"], Sent::Right, script).await?;
    assert_eq!((&done[0]["ok"], api(&done[0])), (&json!(true), USUAL.to_vec()));
    assert_eq!(done[1]["result"]["status"], 500, "{}", done[1]);
    assert_ne!(done[2]["result"]["open"], true, "{}", done[2]);
    Ok(())
}

/// Its timer of 50 minutes, and the one of a minute after a failure, are made seconds.
#[tokio::test]
async fn a_session_is_refreshed_before_it_ends() -> Result<()> {
    let script = json!([
        {"do": "start"}, {"do": "hear", "what": "upload 200"},
        {"do": "faults", "faults": ["session:status=503*3"]}, {"do": "hear", "what": "upload 200"},
    ]);
    let mut project = Project::new(&[upstream::http_echo().await?.to_string()])?;
    project.variables.push(("E2E_HASTE", "1".to_owned()));
    let done = steps_in(&project, &[], Sent::Right, script).await?;
    // While it is refreshed, and when that fails, the old token is used.
    assert_eq!(done[1]["result"], json!({"api": USUAL, "statuses": [418]}));
    let calls = [&["session 503"; 3][..], &USUAL].concat();
    assert_eq!(done[3]["result"], json!({"api": calls, "statuses": [418]}));
    assert!(done[3]["ms"].as_u64().unwrap() >= 1500, "{}", done[3]);
    Ok(())
}

#[tokio::test]
async fn bindings_change_within_a_session() -> Result<()> {
    let script = json!([
        {"do": "start"},
        {"do": "update", "bindings": ["PLAIN", "SVC"]}, {"do": "request"},
        {"do": "expire", "what": "sessions"}, {"do": "update", "bindings": ["PLAIN"]}, {"do": "request"},
        {"do": "faults", "faults": ["upload:code=10021*1"]}, {"do": "update", "bindings": ["PLAIN", "SVC"]},
        {"do": "request", "within": 3000},
        {"do": "update", "bindings": ["PLAIN"]}, {"do": "request"},
        {"do": "update", "bindings": []}, {"do": "request"},
    ]);
    let done = steps(&[], Sent::Right, script).await?;
    assert_eq!(api(&done[1]), ["upload 200"]);
    assert_eq!(done[2]["result"]["status"], 418, "{}", done[2]);
    // An expired session token is found out by the upload.
    assert_eq!(api(&done[4]), [&["upload 400"][..], &USUAL].concat());
    assert_eq!(done[5]["result"]["status"], 418, "{}", done[5]);
    // After an update that failed, this connector holds requests until one succeeds.
    assert_eq!(done[7]["ok"], false, "{}", done[7]);
    assert_eq!(done[8]["ok"], false, "{}", done[8]);
    assert_eq!(done[10]["result"]["status"], 418, "{}", done[10]);
    // What was taken out is not there any more.
    assert_eq!(done[12]["result"]["status"], 400, "{}", done[12]);
    assert!(
        done[12]["result"]["body"].as_str().unwrap().contains("PLAIN"),
        "{}",
        done[12]
    );
    Ok(())
}

#[tokio::test]
async fn a_hung_upload_is_given_up_and_tried_again() -> Result<()> {
    let script = json!([{"do": "faults", "faults": ["upload:hang*1"]}, {"do": "start"}, {"do": "request"}]);
    let done = steps(&[], Sent::Right, script).await?;
    assert_eq!(done[1]["ok"], true, "{}", done[1]);
    assert!(done[1]["ms"].as_u64().unwrap() >= 30_000, "{}", done[1]);
    assert_eq!(done[2]["result"]["status"], 418, "{}", done[2]);
    Ok(())
}

#[tokio::test]
async fn bindings_that_are_not_there_are_named() -> Result<()> {
    let script = json!([{"do": "start", "bindings": ["PLAIN", "NOWHERE"]}]);
    let done = steps(&[], Sent::Right, script).await?;
    let error = done[0]["error"].as_str().context("an error")?;
    assert!(
        error.contains("NOWHERE") && error.contains("bowline.jsonc"),
        "{error}"
    );
    Ok(())
}
