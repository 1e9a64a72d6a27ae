//! D1 against miniflare's own, and against the power cord.

use std::time::Duration;

use anyhow::{Context, Result};
use bowline_e2e::client::Outgoing;
use bowline_e2e::peers::{Driver, Miniflare};
use bowline_e2e::project::{Access, Project};
use bowline_e2e::worker::TestWorker;
use http::Method;
use serde_json::{Value, json};

/// Calls of the test Worker, in order, on one database.
const CALLS: &str = include_str!("../../driver/d1_calls.json");

/// Where our answer is another.
struct Exception {
    /// A part of the call.
    part: &'static str,
    /// What may differ.
    differs: Differs,
    why: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Differs {
    /// Counts of rows read and written.
    Counts,
    /// The text of a failure both have.
    Text,
    /// Anything.
    Outcome,
    /// Anything, from miniflare 4: the newer one agrees with us.
    OutcomeOfFour,
}

const EXCEPTIONS: &[Exception] = &[
    counts("DROP TABLE", "the rows of schema tables are not counted"),
    counts("INTO f VALUES", "FTS5 writes to tables of its own"),
    counts("VALUES (?, ?, ?)", "a key looked for and not found is not seen"),
    counts("id = 99", "a row looked for and not found is not seen"),
    counts("WHERE a = ?", "the index entry that ends a search is not seen"),
    counts(
        "PRAGMA defer_foreign_keys",
        "a key looked for and not found is not seen",
    ),
    counts(
        "count(*) AS n FROM t",
        "a count of all rows is one step, which reads pages and not rows",
    ),
    counts("INTO w VALUES ('b', 2)", "of a trigger's changes each counts one"),
    differing("PRAGMA", Differs::Text, "our texts say what is refused"),
    differing("ATTACH", Differs::Text, "our texts say what is refused"),
    differing("CREATE TEMP", Differs::Text, "our texts say what is refused"),
    differing(
        "max(1,",
        Differs::Outcome,
        "32 arguments are documented as the most",
    ),
    differing(
        "tomorrow",
        Differs::Outcome,
        "what is no constraint and no bookmark is told",
    ),
    differing(
        "-- ",
        Differs::OutcomeOfFour,
        "a comment alone is no failure in exec() any more",
    ),
];

const fn counts(part: &'static str, why: &'static str) -> Exception {
    differing(part, Differs::Counts, why)
}

const fn differing(part: &'static str, differs: Differs, why: &'static str) -> Exception {
    Exception { part, differs, why }
}

async fn differs_only_where_told(version: Miniflare) -> Result<()> {
    let project = Project::new(&[])?;
    let remote = project.serve(Access::Off).await?;
    let folder = tempfile::tempdir()?;
    let mut ours = Driver::start(version, remote.url()).await?;
    let mut theirs = Driver::with_own_d1(version, folder.path()).await?;
    let calls: Vec<(String, Value)> = serde_json::from_str(CALLS)?;
    let mut differences = Vec::new();
    let mut used = vec![false; EXCEPTIONS.len()];
    for (call, args) in calls {
        let mut answers = [
            ours.call(&call, args.clone()).await?,
            theirs.call(&call, args.clone()).await?,
        ];
        answers.iter_mut().for_each(compared);
        if answers[0] == answers[1] {
            continue;
        }
        let text = args.to_string();
        let same_but = |names: &[&str]| without(&answers[0], names) == without(&answers[1], names);
        let allowed = EXCEPTIONS.iter().position(|exception| {
            text.contains(exception.part)
                && match exception.differs {
                    Differs::Counts => same_but(&["rows_read", "rows_written"]),
                    Differs::Text => same_but(&["message", "cause"]),
                    Differs::Outcome => true,
                    Differs::OutcomeOfFour => version == Miniflare::V4,
                }
        });
        match allowed {
            Some(index) => used[index] = true,
            None => differences.push(format!(
                "{call} {text}\n  ours   {}\n  theirs {}",
                answers[0], answers[1]
            )),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let unused = EXCEPTIONS.iter().zip(used).filter(|(exception, used)| {
        !used && (exception.differs != Differs::OutcomeOfFour || version == Miniflare::V4)
    });
    let unused: Vec<_> = unused
        .map(|(exception, _)| (exception.part, exception.why))
        .collect();
    assert!(unused.is_empty(), "no exception is needed for {unused:?}");
    ours.stop().await?;
    theirs.stop().await
}

/// Leaves what is comparable: not who served it, how long it took, how large a file is, nor which bookmark it got.
fn compared(answer: &mut Value) {
    match answer {
        Value::Object(members) => {
            for name in [
                "served_by",
                "served_by_region",
                "served_by_colo",
                "served_by_primary",
                "timings",
                "duration",
                "size_after",
                "total_attempts",
            ] {
                members.remove(name);
            }
            if let Some(Value::Array(bookmarks)) = members.get_mut("bookmarks") {
                bookmarks
                    .iter_mut()
                    .skip(1)
                    .for_each(|bookmark| *bookmark = bookmark.is_string().into());
            }
            members.values_mut().for_each(compared);
        }
        Value::Array(items) => items.iter_mut().for_each(compared),
        _ => {}
    }
}

/// The same without some members, wherever they are.
fn without(answer: &Value, names: &[&str]) -> Value {
    match answer {
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !names.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), without(value, names)))
            .collect(),
        Value::Array(items) => items.iter().map(|item| without(item, names)).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn d1_as_in_miniflare_four() -> Result<()> {
    differs_only_where_told(Miniflare::V4).await
}

#[tokio::test]
async fn d1_as_in_miniflare_five() -> Result<()> {
    differs_only_where_told(Miniflare::V5).await
}

/// Rounds of writing until the remote is killed.
const ROUNDS: u64 = 200;

#[tokio::test]
async fn d1_loses_no_acknowledged_write_to_a_kill() -> Result<()> {
    let project = Project::new(&[])?;
    let query = async |url: &str, sql: String, params: Value| -> Result<Value> {
        let answer = Outgoing::new(Method::POST, url)
            .header("MF-Binding", "DB")
            .header("MF-URL", "http://d1/query?resultsFormat=ROWS_AND_COLUMNS")
            .body(json!({"sql": sql, "params": params}).to_string())
            .send()
            .await?;
        let body: Value = serde_json::from_slice(&answer.body)?;
        anyhow::ensure!(body[0]["success"] == true, "{body}");
        Ok(body[0]["results"]["rows"].clone())
    };
    let mut next = 1u64;
    let mut acknowledged = 0u64;
    for round in 0..ROUNDS {
        let mut remote = project.serve(Access::Off).await?;
        let url = remote.url().to_owned();
        query(
            &url,
            "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, pad BLOB)".into(),
            json!([]),
        )
        .await?;
        // Whatever was acknowledged is there; at most the one write nobody heard of may be there, too.
        let rows = query(&url, "SELECT count(*), max(id) FROM t".into(), json!([])).await?;
        let found = rows[0][0].as_u64().context("a count")?;
        assert_eq!(
            rows[0][1].as_u64().unwrap_or(0),
            found,
            "round {round}: a write in the middle is gone"
        );
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "round {round}: {acknowledged} writes were acknowledged, {found} are there"
        );
        acknowledged = found;
        next = next.max(found + 1);
        let writes = async {
            loop {
                let insert = "INSERT INTO t VALUES (?, randomblob(3000))".to_owned();
                if query(&url, insert, json!([next])).await.is_err() {
                    break;
                }
                acknowledged = next;
                next += 1;
            }
        };
        let kill = async {
            // A different moment each time: between a write's arrival and its answer lie some milliseconds.
            tokio::time::sleep(Duration::from_micros(500 + (round * 379) % 9_000)).await;
            remote.kill().await
        };
        let ((), killed) = tokio::join!(writes, kill);
        killed?;
    }
    assert!(
        acknowledged > ROUNDS / 2,
        "only {acknowledged} writes were acknowledged in all"
    );
    Ok(())
}
