//! One Worker, run by `bowline dev` and by miniflare, under the same loads.
//!
//! A load runs inside the Worker, so that a figure is what user code waits for. Rounds are interleaved, so that what else
//! the machine does falls on all alike.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::{Goal, Row, median, peers};
use crate::run::{npm, target};

const WORKER: &str = include_str!("worker/worker.js");
const MINIFLARE: &str = include_str!("worker/miniflare.js");
/// The peers of the end-to-end tests, in the same folder.
const PACKAGE: &str = include_str!("../../../tests/e2e/package.json");
const LOCK: &str = include_str!("../../../tests/e2e/package-lock.json");
/// Rounds of each load; each goes to all runtimes in turn.
const ROUNDS: usize = 9;
/// How long a round may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One load, and how often it runs in a round.
struct Load {
    name: &'static str,
    count: u32,
    unit: &'static str,
    goal: Goal,
}

/// D1 placed `local` against miniflare's own.
pub(crate) fn d1() -> anyhow::Result<Vec<Row>> {
    let bench = Bench::new()?;
    let ours = bench.dev("local", &[])?;
    let theirs = bench.miniflare()?;
    let load = |name, count, unit| Load {
        name,
        count,
        unit,
        goal: Goal::AtLeast(3.0),
    };
    for runtime in [&ours, &theirs] {
        runtime.run("prepare", 1)?;
    }
    let mut rows = rows(
        "d1",
        &[
            load("point", 400, "queries/s"),
            load("insert", 200, "inserts/s"),
            load("batch of queries", 20, "batches/s"),
            load("batch of inserts", 20, "batches/s"),
        ],
        &ours,
        &theirs,
        "miniflare",
    )?;
    // What workerd itself takes for a call is the bound of what a binding outside of it can reach.
    for (load, row) in [("point", 0), ("insert", 1)] {
        const COUNT: u32 = 3000;
        let before = ours.workerd_seconds()?;
        ours.run(load, COUNT)?;
        rows.push(Row {
            row: format!("d1, {load}, if the binding took no time"),
            ours: f64::from(COUNT) / (ours.workerd_seconds()? - before),
            goal: Goal::None,
            ..rows[row]
        });
    }
    Ok(rows)
}

/// A Worker called through the line (`dev`, Access, `serve`, workerd) against the same Worker called in process.
pub(crate) fn service() -> anyhow::Result<Vec<Row>> {
    let bench = Bench::new()?;
    let remote = bench.serve()?;
    let (id, secret) = bench.token()?;
    let credentials = [
        ("CLOUDFLARE_ACCESS_CLIENT_ID", id.as_str()),
        ("CLOUDFLARE_ACCESS_CLIENT_SECRET", secret.as_str()),
    ];
    let through = bench.dev(&remote.url, &credentials)?;
    let inside = bench.miniflare()?;
    let load = |name, unit| Load {
        name,
        count: 300,
        unit,
        goal: Goal::None,
    };
    rows(
        "service",
        &[load("rpc", "calls/s"), load("fetch", "fetches/s")],
        &through,
        &inside,
        "in process",
    )
}

fn rows(
    area: &str,
    loads: &[Load],
    ours: &Runtime,
    theirs: &Runtime,
    peer: &'static str,
) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for load in loads {
        let mut rates = [Vec::new(), Vec::new()];
        // The first round opens connections and warms caches.
        for round in 0..=ROUNDS {
            for turn in 0..2 {
                let which = (round + turn) % 2;
                let took = [ours, theirs][which].run(load.name, load.count)?;
                if round > 0 {
                    rates[which].push(f64::from(load.count) / took.as_secs_f64());
                }
            }
        }
        let [ours, theirs] = rates.map(median);
        rows.push(Row {
            row: format!("{area}, {}", load.name),
            peer,
            ours,
            theirs,
            unit: load.unit,
            goal: load.goal,
        });
    }
    Ok(rows)
}

/// A running Worker.
struct Runtime {
    child: Child,
    url: String,
    /// The process id of workerd, where it is told.
    workerd: Option<u64>,
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // The end of standard input ends miniflare, SIGTERM ends bowline; each takes its workerd along.
        drop(self.child.stdin.take());
        let _ = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        let patience = Instant::now() + Duration::from_secs(10);
        while Instant::now() < patience && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Runtime {
    fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let out = child.stdout.take().context("no standard output")?;
        let mut runtime = Self {
            child,
            url: String::new(),
            workerd: None,
        };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let said: Value =
            serde_json::from_str(&line).with_context(|| format!("{command:?} said {line:?}"))?;
        runtime.url = said["url"]
            .as_str()
            .context("no url in the ready line")?
            .to_owned();
        runtime.workerd = said["workerd_pid"].as_u64();
        Ok(runtime)
    }

    /// Seconds for which workerd has had a processor.
    fn workerd_seconds(&self) -> anyhow::Result<f64> {
        let process = self.workerd.context("no workerd_pid in the ready line")?;
        let mut nanoseconds = 0.0;
        for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
            let told = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let running = told.split_whitespace().next().context("an empty schedstat")?;
            nanoseconds += running.parse::<f64>()?;
        }
        Ok(nanoseconds / 1e9)
    }

    /// Runs a load and says how long it took.
    fn run(&self, load: &str, count: u32) -> anyhow::Result<Duration> {
        let address = self.url.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let body = json!({"load": load, "count": count}).to_string();
        let start = Instant::now();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let took = start.elapsed();
        if !answer.starts_with("HTTP/1.1 200") || !answer.contains("done") {
            bail!("{load} at {address}: {answer}");
        }
        Ok(took)
    }
}

/// The folder of all, and the program.
struct Bench {
    folder: PathBuf,
    program: PathBuf,
    peers: PathBuf,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let program = peers::build()?;
        let peers = target()?.join("tmp/bowline-e2e-peers");
        npm(&peers, PACKAGE, LOCK)?;
        let folder = std::env::temp_dir().join(format!("bowline-bench-worker-{}", std::process::id()));
        for (project, name) in [("caller", "caller"), ("callee", "callee")] {
            let project = folder.join(project);
            std::fs::create_dir_all(&project)?;
            std::fs::write(project.join("worker.js"), WORKER)?;
            let mut wrangler = json!({"name": name, "main": "worker.js", "compatibility_date": "2026-07-01"});
            if name == "caller" {
                wrangler["d1_databases"] = json!([{"binding": "DB", "database_id": "bench"}]);
                wrangler["services"] =
                    json!([{"binding": "SVC", "service": "callee", "entrypoint": "Callee", "remote": true}]);
                let bowline = json!({"bindings": {"SVC": {"worker": "../callee"}}});
                std::fs::write(project.join("bowline.jsonc"), bowline.to_string())?;
            }
            std::fs::write(project.join("wrangler.jsonc"), wrangler.to_string())?;
        }
        std::fs::write(folder.join("miniflare.js"), MINIFLARE)?;
        std::fs::write(folder.join("package.json"), "{\"type\":\"module\"}")?;
        Ok(Self {
            folder,
            program,
            peers,
        })
    }

    fn bowline(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.folder.join("caller"));
        command
    }

    /// The Worker under `bowline dev`, its `remote: true` bindings at a remote, or here for `local`.
    fn dev(&self, remote: &str, credentials: &[(&str, &str)]) -> anyhow::Result<Runtime> {
        let mut command = self.bowline(&["dev", "--json", "--port", "0", "--state"]);
        command
            .arg(self.folder.join("dev"))
            .envs(credentials.iter().copied());
        if remote != "local" {
            command.args(["--remote", remote]);
        }
        Runtime::start(command)
    }

    fn serve(&self) -> anyhow::Result<Runtime> {
        let mut command = self.bowline(&["serve", "--json", "--listen", "127.0.0.1:0", "--state"]);
        command.arg(self.folder.join("serve"));
        Runtime::start(command)
    }

    fn token(&self) -> anyhow::Result<(String, String)> {
        let output = self
            .bowline(&["access", "token", "create", "bench", "--json", "--state"])
            .arg(self.folder.join("serve"))
            .output()?;
        ensure!(output.status.success(), "make a token: {}", output.status);
        let token: Value = serde_json::from_slice(&output.stdout)?;
        let text = |key: &str| {
            token[key]
                .as_str()
                .map(str::to_owned)
                .context("a token has two halves")
        };
        Ok((text("client_id")?, text("client_secret")?))
    }

    fn miniflare(&self) -> anyhow::Result<Runtime> {
        let mut command = Command::new(self.peers.join("node_modules/node/bin/node"));
        let worker: &Path = &self.folder.join("caller/worker.js");
        command
            .arg(self.folder.join("miniflare.js"))
            .arg(&self.peers)
            .arg(worker)
            .arg(self.folder.join("miniflare"));
        Runtime::start(command)
    }
}
