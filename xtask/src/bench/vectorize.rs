//! Vectorize against a scan written by hand and against hnsw_rs used directly, in one process (the binding's example
//! `bench`, which also says what the vectors are).
//!
//! Ours is called as a Worker calls it, JSON and all; the peers are called as functions.

use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{Goal, Row};
use crate::run::cargo;

const DIMENSIONS: usize = 768;

pub(crate) fn run(vectors: usize, alone: bool) -> anyhow::Result<Vec<Row>> {
    let mut command = cargo([
        "run",
        "--release",
        "--quiet",
        "--package",
        "bowline-vectorize",
        "--example",
        "bench",
        "--",
    ]);
    command.args([vectors.to_string(), DIMENSIONS.to_string()]);
    if alone {
        command.arg("alone");
    }
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("start the bench example")?;
    ensure!(
        output.status.success(),
        "the bench example ended with {}",
        output.status
    );
    let report: Value = serde_json::from_slice(&output.stdout).context("read the example's report")?;
    let number = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    let title = |what: &str| format!("{vectors} x {DIMENSIONS}: {what}");
    let row = |what: &str, peer, ours, theirs, unit, goal| Row {
        row: title(what),
        peer,
        ours,
        theirs,
        unit,
        goal,
    };

    let mut rows = Vec::new();
    // Within 1.2 times of its time.
    let scan = Goal::AtLeast(1.0 / 1.2);
    if !alone {
        let by_hand = number("scan_by_hand_qps");
        let direct = number("hnsw_rs_qps");
        rows.extend([
            row("exact", "scan", number("scan_qps"), by_hand, "q/s", scan),
            row(
                "index",
                "scan",
                number("graph_qps"),
                by_hand,
                "q/s",
                Goal::AtLeast(10.0),
            ),
            row("index", "hnsw_rs", number("graph_qps"), direct, "q/s", Goal::None),
            row(
                "recall@10",
                "hnsw_rs",
                number("graph_recall"),
                number("hnsw_rs_recall"),
                "",
                Goal::None,
            ),
            row(
                "index build beside hnsw_rs",
                "hnsw_rs",
                number("graph_build_s"),
                number("hnsw_rs_build_s"),
                "s",
                Goal::None,
            ),
        ]);
    }
    rows.push(row(
        "index",
        "own exact",
        number("graph_qps"),
        number("scan_qps"),
        "q/s",
        Goal::AtLeast(10.0),
    ));
    rows.push(row(
        "recall@10",
        "exact",
        number("graph_recall"),
        1.0,
        "",
        Goal::AtLeast(0.97),
    ));
    let values = (vectors * DIMENSIONS * 4) as f64 / 1e6;
    for (what, key) in [
        ("memory, exact", "memory_scan_mb"),
        ("memory, with index", "memory_graph_mb"),
        ("disk", "disk_mb"),
    ] {
        rows.push(row(what, "values", number(key), values, "MB", Goal::None));
    }
    for (what, key, unit) in [
        ("exact, p50", "scan_p50_ms", "ms"),
        ("index, p50", "graph_p50_ms", "ms"),
        ("insert all", "insert_s", "s"),
        ("restart", "open_s", "s"),
        ("index build", "graph_build_s", "s"),
    ] {
        rows.push(row(what, "none", number(key), f64::NAN, unit, Goal::None));
    }
    let rate = vectors as f64 / number("insert_s");
    rows.push(row("insert", "none", rate, f64::NAN, "/s", Goal::None));
    Ok(rows)
}
