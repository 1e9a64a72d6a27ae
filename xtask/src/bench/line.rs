//! What a call costs on a line with a round trip: `bowline connect` with its warm connections against a bare nginx that adds
//! the same headers, in one run. Calls of rpc open a WebSocket each, as workerd does.

use std::time::Duration;

use anyhow::Context;

use super::{Goal, Row, interleave, median, peers, relay, upstream};
use crate::run::debian;

/// Round trips of the line, ms.
const LINES: [u64; 3] = [0, 20, 50];
/// Rounds; each goes to all three targets in turn.
const ROUNDS: usize = 3;
/// Calls per target and round.
const CALLS: usize = 40;

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    debian(&[("nginx", "nginx-light")])?;
    let (program, nginx) = (peers::build()?, peers::nginx_program()?);
    let folder = tempfile::tempdir()?;
    let upstream = upstream::start()?;
    let mut rows = Vec::new();
    for round_trip in LINES {
        let far = relay::start(upstream, Duration::from_millis(round_trip))?;
        let bowline = peers::bowline(&program, &format!("http://{far}/"))?;
        let nginx = peers::nginx(nginx, folder.path(), far)?;
        let targets = [&bowline.target, &nginx.target, &nginx.target];
        let milliseconds = |latencies: &[Duration]| -> f64 {
            median(latencies.iter().map(|one| one.as_secs_f64() * 1000.0).collect())
        };
        // Goals of the issue, for the line of 50 ms; the same slack on the others.
        let row = |flow: &str, slack: u64, [ours, theirs, _]: &[Vec<Duration>; 3]| Row {
            row: format!("{flow} p50, line of {round_trip} ms"),
            peer: "nginx",
            ours: milliseconds(ours),
            theirs: milliseconds(theirs),
            unit: "ms",
            goal: Goal::Below((round_trip + slack) as f64),
        };
        let fetch = interleave(ROUNDS, targets, |target| target.fetch_latencies(CALLS)).context("fetch")?;
        rows.push(row("fetch", 2, &fetch));
        let rpc = interleave(ROUNDS, targets, |target| target.call_latencies(CALLS)).context("rpc")?;
        rows.push(row("rpc", 5, &rpc));
    }
    Ok(rows)
}
