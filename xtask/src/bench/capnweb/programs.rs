//! The servers and clients under measurement, as processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::run::{cargo, check, npm, root, target};

const PACKAGE: &str = include_str!("package.json");
const LOCK: &str = include_str!("package-lock.json");
const FILES: [(&str, &str); 2] = [
    ("server.js", include_str!("server.js")),
    ("client.js", include_str!("client.js")),
];
/// How long a server may take to listen.
const START: Duration = Duration::from_secs(20);
/// How long a client may take for its rounds.
const ROUND: Duration = Duration::from_secs(60);

/// A command line, to which the ends add theirs.
pub(crate) struct Program {
    path: PathBuf,
    args: Vec<String>,
}

/// Two programs that speak to each other.
pub(crate) struct Pair {
    pub(crate) server: Program,
    pub(crate) client: Program,
}

/// The bare echo in two manners.
pub(crate) struct Echo {
    pub(crate) plain: Pair,
    pub(crate) coalesced: Pair,
}

/// Installs npm's pair into the target folder, once for each change of the lock.
pub(crate) fn js() -> anyhow::Result<Pair> {
    let folder = target()?.join("bench-capnweb");
    fs::create_dir_all(&folder)?;
    for (name, text) in FILES {
        fs::write(folder.join(name), text)?;
    }
    npm(&folder, PACKAGE, LOCK)?;
    let script = |name| Program {
        path: folder.join("node_modules/node/bin/node"),
        args: vec![folder.join(name).display().to_string()],
    };
    Ok(Pair {
        server: script("server.js"),
        client: script("client.js"),
    })
}

/// Builds the examples of the Rust crate as users build theirs.
pub(crate) fn rust() -> anyhow::Result<Pair> {
    for example in ["benchserver", "benchclient"] {
        let source = root().join(format!("crates/capnweb/examples/{example}.rs"));
        ensure!(source.exists(), "there is no {}", source.display());
    }
    check(&mut cargo([
        "build",
        "--release",
        "--quiet",
        "--example",
        "benchserver",
        "--example",
        "benchclient",
        "--package",
        "capnweb",
    ]))?;
    let folder = target()?.join("release/examples");
    let example = |name| Program {
        path: folder.join(name),
        args: Vec::new(),
    };
    Ok(Pair {
        server: example("benchserver"),
        client: example("benchclient"),
    })
}

/// Builds this very program for release: chores run without optimisation, which would make the echo a low bar.
pub(crate) fn echo() -> anyhow::Result<Echo> {
    check(&mut cargo([
        "build",
        "--release",
        "--quiet",
        "--package",
        "xtask",
    ]))?;
    let path = target()?.join("release/xtask");
    let pair = |manner: &[&str]| {
        let program = |end: &str| Program {
            path: path.clone(),
            args: ["bench", end]
                .iter()
                .chain(manner)
                .map(|arg| (*arg).to_owned())
                .collect(),
        };
        Pair {
            server: program("echo-server"),
            client: program("echo-client"),
        }
    };
    Ok(Echo {
        plain: pair(&[]),
        coalesced: pair(&["--coalesce"]),
    })
}

/// A running process; killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running server.
pub(crate) struct Server {
    process: Process,
    pub(crate) address: SocketAddr,
    /// Kept open, for whatever else it says.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn id(&self) -> u32 {
        self.process.0.id()
    }
}

impl Program {
    /// Starts it as a server, on a port of its choice.
    pub(crate) fn start(&self) -> anyhow::Result<Server> {
        let mut command = Command::new(&self.path);
        command.args(&self.args).args(["--listen", "127.0.0.1:0"]);
        let (process, stdout, line) = first_line(command, START)?;
        let address = line
            .strip_prefix("listening ")
            .with_context(|| format!("{} says {line:?} and not where it listens", self.path.display()))?;
        Ok(Server {
            address: address.trim().parse()?,
            process,
            _stdout: stdout,
        })
    }

    /// Runs it as a client, for one round of a row after one to warm up, and reads the rate.
    pub(crate) fn rate(
        &self,
        server: &Server,
        row: &str,
        unit: &str,
        core: Option<&str>,
    ) -> anyhow::Result<f64> {
        let shown = format!("{} --row {row}", self.path.display());
        let mut command = match core {
            None => Command::new(&self.path),
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", core]).arg(&self.path);
                command
            }
        };
        command.args(&self.args).args([
            "--ws",
            &format!("ws://{}/ws", server.address),
            "--http",
            &format!("http://{}/batch", server.address),
            "--row",
            row,
            "--rounds",
            "1",
        ]);
        let (mut process, _stdout, line) = first_line(command, ROUND)?;
        let said: Value =
            serde_json::from_str(&line).with_context(|| format!("{shown} says {line:?} and no figures"))?;
        let status = process.0.wait()?;
        ensure!(status.success(), "{shown} ended with {status}");
        ensure!(
            said["row"] == row && said["unit"] == unit,
            "{shown} says {said} and was asked for {unit}"
        );
        said["rate"]
            .as_f64()
            .with_context(|| format!("no rate in {said}"))
    }
}

/// Starts a program and waits for the first line it says, which is empty if it ends without one.
fn first_line(
    mut command: Command,
    patience: Duration,
) -> anyhow::Result<(Process, BufReader<ChildStdout>, String)> {
    let shown = format!("{command:?}");
    let mut process = Process(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {shown}"))?,
    );
    let mut stdout = BufReader::new(process.0.stdout.take().context("no standard output")?);
    let (sender, receiver) = mpsc::channel();
    // Ends with the process, which the guard ends.
    thread::spawn(move || {
        let mut line = String::new();
        let read = stdout.read_line(&mut line);
        let _ = sender.send(read.map(|_| (stdout, line)));
    });
    match receiver.recv_timeout(patience) {
        Ok(read) => {
            let (stdout, line) = read.with_context(|| format!("read what {shown} says"))?;
            Ok((process, stdout, line))
        }
        Err(_) => bail!("{shown} said nothing within {} s", patience.as_secs()),
    }
}
