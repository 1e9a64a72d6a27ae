//! A PostgreSQL of its own on a free loopback port, from Debian's package.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::program::{self, Output};

/// How long it may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// The account that Debian's package makes; PostgreSQL refuses to run as root.
const ACCOUNT: &str = "postgres";

/// A running server; ended with its data when dropped.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    folder: TempDir,
    port: u16,
    /// What the server logged since it was ready.
    pub log: Output,
}

impl Postgres {
    /// Makes a cluster and starts it.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bowline-postgres").tempdir()?;
        std::fs::write(folder.path().join("password"), Self::PASSWORD)?;
        if is_root() {
            let mut chown = Command::new("chown");
            chown.args(["-R", ACCOUNT]).arg(folder.path());
            ensure!(
                program::run(chown, READY).await?.status.success(),
                "give the folder to `{ACCOUNT}`"
            );
        }
        let mut initdb = command("initdb")?;
        initdb
            .args([
                "--auth=scram-sha-256",
                "--username=gate",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
                "-D",
            ])
            .arg(folder.path().join("data"))
            .arg("--pwfile")
            .arg(folder.path().join("password"));
        let output = program::run(initdb, READY).await?;
        ensure!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        // It cannot take port 0; it is told one that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (child, log) = run(folder.path(), port).await?;
        Ok(Self {
            child,
            folder,
            port,
            log,
        })
    }

    /// The password in [`Self::url`], to be searched for.
    pub const PASSWORD: &'static str = "gate-4c8f19e2b7d05a63";

    /// How to connect, password and all.
    pub fn url(&self) -> String {
        format!(
            "postgres://gate:{}@127.0.0.1:{}/postgres",
            Self::PASSWORD,
            self.port
        )
    }

    /// The folder with its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Stops it at once, connections and all; the data stays.
    pub async fn stop(&mut self) -> Result<()> {
        let id = self.child.id().context("it has ended already")?;
        program::signal("INT", id).await?;
        tokio::time::timeout(READY, self.child.wait())
            .await
            .context("PostgreSQL did not end in time")??;
        Ok(())
    }

    /// Starts it again on the same port.
    pub async fn start_again(&mut self) -> Result<()> {
        (self.child, self.log) = run(self.folder.path(), self.port).await?;
        Ok(())
    }
}

async fn run(folder: &Path, port: u16) -> Result<(Child, Output)> {
    let mut postgres = command("postgres")?;
    postgres
        .arg("-D")
        .arg(folder.join("data"))
        .args([
            "-p",
            &port.to_string(),
            "-h",
            "127.0.0.1",
            "-c",
            "fsync=off",
            "-c",
            "log_statement=all",
            "-k",
        ])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = postgres.spawn().context("start postgres")?;
    let mut stderr = BufReader::new(child.stderr.take().context("standard error is piped")?);
    let ready = async {
        let mut said = String::new();
        loop {
            if stderr.read_line(&mut said).await? == 0 {
                bail!("postgres ended before it was ready:\n{said}");
            }
            if said.contains("ready to accept connections") {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(READY, ready)
        .await
        .context("postgres was not ready in time")??;
    let log = Output::default();
    log.collect(stderr);
    Ok((child, log))
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT takes the server's own processes along, which SIGKILL would not.
        if let Some(id) = self.child.id() {
            let _ = std::process::Command::new("kill")
                .args(["-QUIT", &id.to_string()])
                .status();
        }
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// One of the server's programs, which Debian keeps in a folder per version.
fn command(name: &str) -> Result<Command> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .context("PostgreSQL is not installed; `cargo xtask test` does it")?;
    let program = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
        .find(|program| program.exists())
        .with_context(|| format!("PostgreSQL has no `{name}`"))?;
    if !is_root() {
        return Ok(program::cleared(&program));
    }
    let mut command = program::cleared(Path::new("setpriv"));
    command
        .args([
            &format!("--reuid={ACCOUNT}"),
            &format!("--regid={ACCOUNT}"),
            "--clear-groups",
            "--",
        ])
        .arg(program)
        .current_dir("/");
    Ok(command)
}
