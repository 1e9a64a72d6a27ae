//! A preview session at the stand-in edge: wrangler's connector and `bowline connect --config` behind the same line, measured
//! by the same client through the connection string that each gives.
//!
//! The line is the stand-in's own (`bowline edge run --line`); it delays handshakes, too. Time to ready is from the start of
//! the process, which for wrangler is Node's.

mod client;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::{Value, json};

pub(crate) use self::client::{ClientArgs, run as client};
use super::{Goal, Row, median, peers};
use crate::run::{npm, target};

const PACKAGE: &str = include_str!("../../../tests/e2e/wrangler/package.json");
const LOCK: &str = include_str!("../../../tests/e2e/wrangler/package-lock.json");
/// wrangler's connector by itself, run in the project's folder.
const CONNECTOR: &str = include_str!("../../../tests/e2e/wrangler/connector.mjs");
/// Round trips of the line, ms. The goals are for the last.
const LINES: [u64; 3] = [0, 20, 50];
/// Runs of each connector on each line, in turn.
const ROUNDS: usize = 3;

/// `outage`: seconds for which the API is out in one further run of each connector.
pub(crate) fn run(outage: u64) -> anyhow::Result<Vec<Row>> {
    let program = peers::build()?;
    let tools = target()?.join("tmp/bowline-e2e-wrangler");
    npm(&tools, PACKAGE, LOCK)?;
    let folder = tempfile::tempdir()?;
    let wrangler = json!({
        "name": "bench", "compatibility_date": "2026-07-01",
        "d1_databases": [{"binding": "DB", "database_name": "main", "database_id": "main", "remote": true}],
        "artifacts": [{"binding": "ART", "namespace": "team", "remote": true}],
    });
    std::fs::write(folder.path().join("wrangler.jsonc"), wrangler.to_string())?;
    std::fs::write(folder.path().join("connector.mjs"), CONNECTOR)?;
    std::os::unix::fs::symlink(tools.join("node_modules"), folder.path().join("node_modules"))?;
    let node = tools.join("node_modules/node/bin/node");
    let theirs = [node.as_os_str(), "connector.mjs".as_ref()];
    let ours = [
        program.as_os_str(),
        "connect".as_ref(),
        "--json".as_ref(),
        "--config".as_ref(),
        "wrangler.jsonc".as_ref(),
    ];
    let client = std::env::current_exe().context("find this program")?;
    let measure = |connector: &[&std::ffi::OsStr], line: u64, outage: u64| -> anyhow::Result<Value> {
        let mut command = Command::new(&program);
        command
            .args(["edge", "run", "--line", &line.to_string(), "--"])
            .arg(&client)
            .args(["bench", "session-client", "--outage", &outage.to_string(), "--"])
            .args(connector);
        measured(command, folder.path())
    };

    let mut rows = Vec::new();
    for line in LINES {
        let (mut our_runs, mut their_runs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            our_runs.push(measure(&ours, line, 0)?);
            their_runs.push(measure(&theirs, line, 0)?);
        }
        let of = |runs: &[Value], pointer: &str| {
            let values = runs.iter().filter_map(|run| run.pointer(pointer)?.as_f64());
            median(values.collect())
        };
        let last = line == LINES[2];
        let goal = |goal| if last { goal } else { Goal::None };
        for (name, pointer, unit, goal) in [
            ("time to ready", "/ready", "ms", goal(Goal::Ratio(0.05))),
            ("time to first answer", "/first", "ms", Goal::None),
            ("resident memory", "/memory", "MB", goal(Goal::Ratio(0.05))),
            ("fetch p50", "/fetch/p50", "ms", goal(Goal::Below(52.0))),
            ("fetch p99", "/fetch/p99", "ms", Goal::None),
            ("rpc p50", "/rpc/p50", "ms", goal(Goal::Below(55.0))),
            ("rpc p99", "/rpc/p99", "ms", Goal::None),
            ("sockets to the edge per 100 calls", "/sockets", "", Goal::None),
            ("recovery after an expiry", "/expiry", "ms", Goal::None),
        ] {
            rows.push(Row {
                row: format!("{name}, line of {line} ms"),
                peer: "wrangler",
                ours: of(&our_runs, pointer),
                theirs: of(&their_runs, pointer),
                unit,
                goal,
            });
        }
    }
    if outage > 0 {
        let recovered = |connector| -> anyhow::Result<f64> {
            let run = measure(connector, 0, outage)?;
            run["outage"].as_f64().context("the recovery after an outage")
        };
        rows.push(Row {
            row: format!("recovery after an API outage of {outage} s"),
            peer: "wrangler",
            ours: recovered(&ours)?,
            theirs: recovered(&theirs)?,
            unit: "ms",
            goal: Goal::None,
        });
    }
    Ok(rows)
}

/// Runs one measurement and reads its line.
fn measured(mut command: Command, folder: &Path) -> anyhow::Result<Value> {
    let output = command
        .current_dir(folder)
        .env("HOME", folder)
        .env("CI", "true")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().find_map(|line| line.strip_prefix("measured "));
    let line = line.with_context(|| {
        let error = String::from_utf8_lossy(&output.stderr);
        format!(
            "{command:?} ended with {} and no measurement:\n{said}{error}",
            output.status
        )
    })?;
    serde_json::from_str(line).context("read the measurement")
}
