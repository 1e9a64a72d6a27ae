//! `bowline` itself inside `bowline edge run`: `connect` with a preview session, and other commands of it.

use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::client::{Answer, Outgoing};
use crate::program::{self, Program};
use crate::project::Project;

/// The API token of every stand-in here.
pub const API_TOKEN: &str = "e2e-session-api-token";
/// How long something may take that needs no more than a few calls.
const SOON: Duration = Duration::from_secs(30);
/// How long a session may take to end.
const END: Duration = Duration::from_secs(5);

/// A session, and the stand-in it is made at.
#[derive(Debug)]
pub struct Session {
    /// `bowline edge run`, whose ready line is the one of its command.
    pub program: Program,
    control: String,
}

impl Drop for Session {
    /// `bowline edge run` passes SIGTERM on to its command and ends with it; killed, it would leave the command behind.
    fn drop(&mut self) {
        let Some(id) = self.program.id() else { return };
        let told = std::process::Command::new("kill").arg(id.to_string()).status();
        let patience = Instant::now() + END;
        while told.is_ok() && program::running(id) && Instant::now() < patience {
            // Nobody can await here, and the kernel tells nobody but a parent that awaits.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Session {
    /// Starts a session for the project's configuration. `edge` are further arguments of the stand-in.
    pub async fn start(project: &Project, edge: &[&str]) -> Result<Self> {
        let program = program::bowline()?;
        let folder = project.folder();
        Self::of(project, edge, |port| {
            let listen = format!("127.0.0.1:{port}");
            let connect = [
                program.as_os_str(),
                "connect".as_ref(),
                "--json".as_ref(),
                "--listen".as_ref(),
                listen.as_ref(),
                "--config".as_ref(),
                folder.as_os_str(),
            ];
            connect.map(OsStr::to_owned).into()
        })
        .await
    }

    /// Starts a command inside that serves the port it is given, and says so as `bowline connect --json` does.
    pub async fn of(
        project: &Project,
        edge: &[&str],
        inside: impl FnOnce(u16) -> Vec<OsString>,
    ) -> Result<Self> {
        // The endpoint knows itself by its port, which therefore has to be the same inside and outside.
        let port = {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            listener.local_addr()?.port()
        };
        let mut command = project.with_toolchain(&["edge", "run", "--control", "127.0.0.1:0"])?;
        command
            .args(edge)
            .args(["--publish", &format!("{port}:{port}")])
            .arg("--config")
            .arg(project.folder())
            .arg("--state")
            .arg(project.state())
            .arg("--")
            .args(inside(port))
            .env("HOME", project.folder())
            .env("CLOUDFLARE_API_TOKEN", API_TOKEN);
        let program = Program::start(command).await?;
        let said = program.stderr.text();
        let control = said
            .lines()
            .find_map(|line| line.split_once("the stand-in is controlled at "))
            .with_context(|| format!("no control interface in {said}"))?
            .1
            .to_owned();
        Ok(Self { program, control })
    }

    /// The connection string.
    pub fn url(&self) -> &str {
        self.program.url()
    }

    /// A call of the control interface.
    pub async fn control(&self, method: Method, path: &str, body: &str) -> Result<Value> {
        let answer = Outgoing::new(method, &format!("{}{path}", self.control))
            .header("authorization", format!("Bearer {API_TOKEN}"))
            .header("content-length", body.len().to_string())
            .body(body.to_owned())
            .send()
            .await?;
        ensure!(
            answer.status.is_success(),
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
        Ok(serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    /// Sets the stand-in's faults.
    pub async fn faults(&self, faults: &[&str]) -> Result<()> {
        self.control(Method::PUT, "/faults", &faults.join("\n")).await?;
        Ok(())
    }

    /// Ends all tokens of a kind: `sessions` or `previews`.
    pub async fn expire(&self, kind: &str) -> Result<()> {
        self.control(Method::POST, &format!("/expire/{kind}"), "").await?;
        Ok(())
    }

    /// How often the API was called for something since the last time this was asked: `session`, `upload` …
    pub async fn calls(&self, wanted: &str) -> Result<usize> {
        let entries = self.control(Method::DELETE, "/log", "").await?;
        let entries = entries.as_array().context("a list")?;
        let count = entries
            .iter()
            .filter(|entry| entry["at"] == "api" && entry["call"] == wanted);
        Ok(count.count())
    }

    /// What the API answered since the last time its log was taken, one text a call: `session 200`, `upload 502` …
    pub async fn api(&self) -> Result<Vec<String>> {
        let entries = self.control(Method::DELETE, "/log", "").await?;
        let entries = entries.as_array().context("a list")?;
        let calls = entries.iter().filter(|entry| entry["at"] == "api");
        Ok(calls
            .map(|entry| {
                format!(
                    "{} {}",
                    entry["call"].as_str().unwrap_or_default(),
                    entry["status"]
                )
            })
            .collect())
    }

    /// One statement on the D1 binding `DB`, as workerd sends it.
    pub async fn sql(&self, statement: &str) -> Result<Answer> {
        Outgoing::new(Method::POST, self.url())
            .header("mf-binding", "DB")
            .header("mf-url", "http://d1/query?resultsFormat=ARRAY_OF_OBJECTS")
            .header("mf-header-content-type", "application/json")
            .body(json!({"sql": statement, "params": []}).to_string())
            .send()
            .await
    }

    /// The same, which must succeed.
    pub async fn ok(&self) -> Result<()> {
        let answer = self.sql("SELECT 1 AS one").await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        Ok(())
    }

    /// Waits for words on standard error.
    pub async fn said(&self, words: &str) -> Result<()> {
        self.until(&format!("\"{words}\" to be said"), async || {
            Ok(self.program.stderr.text().contains(words))
        })
        .await
    }

    /// Waits until something is so, asking again and again: nobody tells it.
    pub async fn until(&self, what: &str, mut so: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
        let asking = async {
            while !so().await? {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        match tokio::time::timeout(SOON, asking).await {
            Ok(done) => done,
            Err(_) => bail!(
                "waited in vain for {what}; it said:\n{}",
                self.program.stderr.text()
            ),
        }
    }
}
