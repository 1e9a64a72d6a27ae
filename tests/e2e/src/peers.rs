//! The unmodified peers from npm, installed once into the target folder, and the driver that runs them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::program::{self, Output};
use crate::worker::TestWorker;

const PACKAGE: &str = include_str!("../package.json");
const LOCK: &str = include_str!("../package-lock.json");
/// How long npm or pip may take with an empty cache.
const INSTALL: Duration = Duration::from_secs(600);
/// How long one call may take in the driver, and then how much more its answer may.
const CALL: Duration = Duration::from_secs(20);
const SLACK: Duration = Duration::from_secs(10);
/// How long miniflare may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// The folder with the installed miniflares.
pub async fn installed() -> Result<PathBuf> {
    install("bowline-e2e-peers", PACKAGE, LOCK).await
}

/// A folder with the packages of a lock file. Tests in other processes wait for the one that installs.
pub async fn install(name: &str, package: &str, lock: &str) -> Result<PathBuf> {
    let (folder, _locked) = locked(name).await?;
    let stamp = folder.join(".installed");
    let wanted = format!("{package}{lock}");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    fs::write(folder.join("package.json"), package)?;
    fs::write(folder.join("package-lock.json"), lock)?;
    // npm keeps its environment: it knows the registry and the certificates of this machine.
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder);
    let output = program::run(npm, INSTALL)
        .await
        .context("the end-to-end tests install their peers with npm")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "npm ci ended with {}:\n{said}",
        output.status
    );
    fs::write(stamp, wanted)?;
    Ok(folder)
}

/// The interpreter of a Python with the packages of a requirements file.
pub async fn python(name: &str, requirements: &str) -> Result<PathBuf> {
    let (folder, _locked) = locked(name).await?;
    let (python, stamp) = (folder.join("bin/python"), folder.join(".installed"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements) {
        return Ok(python);
    }
    let file = folder.join("requirements.txt");
    fs::write(&file, requirements)?;
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&folder);
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ])
    .arg(file);
    // Both keep their environment: they know the registry of this machine.
    for command in [venv, pip] {
        let output = program::run(command, INSTALL).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "installing PyPI's peers ended with {}:\n{said}",
            output.status
        );
    }
    fs::write(stamp, requirements)?;
    Ok(python)
}

/// A folder that outlives the tests, held until the file is closed, also by a process that is killed.
async fn locked(name: &str) -> Result<(PathBuf, File)> {
    let folder = program::cache()?.join(name);
    fs::create_dir_all(&folder)?;
    let file = File::create(folder.join(".lock"))?;
    let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await?;
    Ok((folder, locked.context("wait for another test's install")?))
}

/// Which miniflare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miniflare {
    /// The last of the old options.
    V4,
    /// The one with a configuration per Worker.
    V5,
}

/// The test Worker under one miniflare.
#[derive(Debug)]
pub struct Driver {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    /// What Node, miniflare and workerd wrote to standard error.
    pub stderr: Output,
}

impl Driver {
    /// Starts miniflare with a connection string.
    pub async fn start(version: Miniflare, connection: &str) -> Result<Self> {
        Self::start_with(version, "connection", connection).await
    }

    /// Starts miniflare with a D1 of its own, kept in a folder, and no other binding.
    pub async fn with_own_d1(version: Miniflare, folder: &Path) -> Result<Self> {
        Self::start_with(version, "d1", folder.to_str().context("a folder's name is text")?).await
    }

    /// Starts miniflare 5 with an Artifacts of its own, kept in a folder, and no other binding.
    pub async fn with_own_artifacts(folder: &Path) -> Result<Self> {
        Self::start_with(
            Miniflare::V5,
            "artifacts",
            folder.to_str().context("a folder's name is text")?,
        )
        .await
    }

    async fn start_with(version: Miniflare, key: &str, value: &str) -> Result<Self> {
        let peers = installed().await?;
        let node = peers.join("node_modules/node/bin/node");
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("driver/driver.mjs");
        let mut child = program::cleared(&node)
            .arg(driver)
            .env("HOME", &peers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", node.display()))?;
        let stderr = Output::default();
        stderr.collect(child.stderr.take().context("standard error is piped")?);
        let stdin = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("standard output is piped")?).lines();
        let mut driver = Self {
            child,
            stdin,
            answers,
            stderr,
        };
        let number = match version {
            Miniflare::V4 => 4,
            Miniflare::V5 => 5,
        };
        let setup = json!({
            "miniflare": number, "peers": peers, key: value, "deadline_ms": START.as_millis() as u64,
        });
        driver.write(&setup).await?;
        let ready = driver.read(START + SLACK).await?;
        ensure!(
            ready["ready"] == true,
            "miniflare {number} did not start: {ready}"
        );
        Ok(driver)
    }

    /// Kills the running workerd by its process id.
    pub async fn kill_workerd(&self) -> Result<()> {
        program::kill_child(self.child.id().context("the driver has ended")?, "workerd").await?;
        Ok(())
    }

    /// Stops miniflare and waits for its end.
    pub async fn stop(mut self) -> Result<()> {
        drop(self.stdin.take());
        tokio::time::timeout(SLACK, self.child.wait())
            .await
            .context("the driver did not end in time")??;
        Ok(())
    }

    async fn write(&mut self, document: &Value) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the driver was stopped")?;
        stdin
            .write_all(format!("{document}\n").as_bytes())
            .await
            .context("write to the driver")
    }

    async fn read(&mut self, deadline: Duration) -> Result<Value> {
        let line = tokio::time::timeout(deadline, self.answers.next_line()).await;
        let Ok(line) = line else {
            bail!(
                "the driver said nothing in time; standard error:\n{}",
                self.stderr.text()
            )
        };
        let Some(line) = line? else {
            bail!("the driver ended; standard error:\n{}", self.stderr.text())
        };
        serde_json::from_str(&line).with_context(|| format!("`{line}` is no JSON"))
    }
}

impl TestWorker for Driver {
    async fn call(&mut self, call: &str, args: Value) -> Result<Value> {
        let deadline = CALL.as_millis() as u64;
        self.write(&json!({"call": call, "args": args, "deadline_ms": deadline}))
            .await?;
        self.read(CALL + SLACK)
            .await
            .with_context(|| format!("{call} {args}"))
    }
}

impl Drop for Driver {
    /// A test that fails leaves neither Node nor workerd behind.
    fn drop(&mut self) {
        let Some(id) = self.child.id() else { return };
        let children = program::children(id).unwrap_or_default();
        let _ = self.child.start_kill();
        for (id, name) in children {
            if name == "workerd" {
                let _ = std::process::Command::new("kill")
                    .arg("-KILL")
                    .arg(id.to_string())
                    .status();
            }
        }
    }
}
