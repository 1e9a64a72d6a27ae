//! `bowline connect` against a bare nginx that adds the same two headers, and against no proxy at all.
//!
//! Rounds are interleaved, so that what else the machine does falls on all alike. "Added" is a proxy's latency less
//! the latency without one, from the same rounds.
//!
//! Latency is measured with everyone on one core, and again with load and upstream on one and the proxy on another. Left
//! to the scheduler, a round trip takes 14 µs or 44 µs by where it puts the processes, which is more than a proxy adds:
//! a proxy then comes out faster than none.

use std::time::Duration;

use anyhow::{Context, bail};

use super::client::Target;
use super::{Goal, Row, interleave, median, peers, upstream};
use crate::run::debian;

/// Starts per proxy.
const STARTS: usize = 15;
/// Rounds of each load; each goes to all three targets in turn.
const ROUNDS: usize = 15;
/// Latencies per target and round.
const CALLS: usize = 1000;
/// Connections at a time under load.
const CONNECTIONS: usize = 16;
/// Messages of a WebSocket throughput round, 16 KiB each.
const MESSAGES: usize = 4000;

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    debian(&[("nginx", "nginx-light"), ("taskset", "util-linux")])?;
    let cores = std::thread::available_parallelism()
        .context("count the cores")?
        .get();
    if cores < 2 {
        bail!("this needs two cores: one for the load and one for the proxy");
    }
    let (program, nginx) = (peers::build()?, peers::nginx_program()?);
    let folder = Folder::new()?;
    let upstream = upstream::start()?;
    let remote = format!("http://{upstream}/");
    let direct = Target {
        address: upstream,
        path: "/".into(),
        proxied: false,
    };

    let (mut ours, mut ours_tls, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        ours.push(peers::bowline(&program, &remote)?.ready);
        // Nothing is sent: this is what a remote behind TLS costs at start.
        ours_tls.push(peers::bowline(&program, &format!("https://{upstream}/"))?.ready);
        theirs.push(peers::nginx(nginx, &folder.0, upstream)?.ready);
    }
    let start = |row: &str, ours: Vec<Duration>, theirs: &[Duration]| Row {
        row: row.into(),
        peer: "nginx",
        ours: at(ours, 0.5) / 1000.0,
        theirs: at(theirs.to_vec(), 0.5) / 1000.0,
        unit: "ms",
        goal: Goal::Below(70.0),
    };
    let mut rows = vec![
        start("time to ready", ours, &theirs),
        start("time to ready, https remote", ours_tls, &theirs),
    ];

    let (bowline, nginx) = (
        peers::bowline(&program, &remote)?,
        peers::nginx(nginx, &folder.0, upstream)?,
    );
    let memory = |row: &str| -> anyhow::Result<Row> {
        let (ours, theirs) = (bowline.memory()?, nginx.memory()?);
        Ok(Row {
            row: row.into(),
            peer: "nginx",
            ours,
            theirs,
            unit: "MB",
            goal: Goal::Below(16.0),
        })
    };
    rows.push(memory("resident memory when ready")?);
    let targets = [&bowline.target, &nginx.target, &direct];

    for (placement, load, proxy) in [("one core", "0", "0"), ("two cores", "0", "1")] {
        peers::pin(std::process::id(), load)?;
        for peer in [&bowline, &nginx] {
            peer.pin(proxy)?;
        }
        let fetch =
            interleave(ROUNDS, targets, |target| target.fetch_latencies(CALLS)).context("fetch latency")?;
        rows.extend(latency_rows(&format!("fetch, {placement},"), fetch));
        let socket = interleave(ROUNDS, targets, |target| target.socket_latencies(CALLS))
            .context("WebSocket latency")?;
        rows.extend(latency_rows(&format!("websocket, {placement},"), socket));
    }
    // Throughput is for the scheduler to arrange.
    let all = format!("0-{}", cores - 1);
    peers::pin(std::process::id(), &all)?;
    for peer in [&bowline, &nginx] {
        peer.pin(&all)?;
    }
    let rate = interleave(ROUNDS, targets, |target| {
        target
            .fetch_rate(CONNECTIONS, Duration::from_millis(300))
            .map(|rate| vec![rate])
    })
    .context("fetch throughput")?;
    rows.extend(rate_rows("fetch throughput, 16 connections", "req/s", rate));
    let download =
        interleave(ROUNDS, targets, |target| target.download().map(|rate| vec![rate])).context("download")?;
    rows.extend(rate_rows("fetch throughput, 64 MiB body", "MB/s", download));
    let socket = interleave(ROUNDS, targets, |target| {
        target.socket_rate(MESSAGES).map(|rate| vec![rate])
    })
    .context("WebSocket throughput")?;
    rows.extend(rate_rows("websocket throughput, 16 KiB echoed", "MB/s", socket));
    rows.push(memory("resident memory after the load")?);
    Ok(rows)
}

fn latency_rows(flow: &str, [ours, nginx, direct]: [Vec<Duration>; 3]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, part, goal) in [("p50", 0.5, Goal::Ratio(1.1)), ("p99", 0.99, Goal::None)] {
        let (ours, nginx, direct) = (
            at(ours.clone(), part),
            at(nginx.clone(), part),
            at(direct.clone(), part),
        );
        let row = |what: &str, peer, ours, theirs, goal| Row {
            row: format!("{flow} {name}{what}"),
            peer,
            ours,
            theirs,
            unit: "µs",
            goal,
        };
        rows.push(row(" added", "nginx", ours - direct, nginx - direct, goal));
        rows.push(row("", "nginx", ours, nginx, Goal::None));
        rows.push(row("", "none", ours, direct, Goal::None));
    }
    rows
}

fn rate_rows(name: &str, unit: &'static str, [ours, nginx, direct]: [Vec<f64>; 3]) -> Vec<Row> {
    let row = |peer, theirs| Row {
        row: name.to_owned(),
        peer,
        ours: median(ours.clone()),
        theirs,
        unit,
        goal: Goal::None,
    };
    vec![row("nginx", median(nginx)), row("none", median(direct))]
}

/// The value at `part` of a sorted sample, µs.
fn at(mut sample: Vec<Duration>, part: f64) -> f64 {
    sample.sort_unstable();
    let index = ((sample.len() as f64 * part) as usize).min(sample.len().saturating_sub(1));
    sample
        .get(index)
        .map_or(f64::NAN, |value| value.as_secs_f64() * 1e6)
}

/// A folder of nginx's own, removed in the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("bowline-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
