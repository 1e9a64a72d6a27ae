//! Unmodified tools of Cloudflare's inside `bowline edge run`.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::mpsc;

use crate::client::{Answer, Outgoing};
use crate::peers;
use crate::program;
use crate::project::Project;
use crate::worker::TestWorker;

const PACKAGE: &str = include_str!("../wrangler/package.json");
const LOCK: &str = include_str!("../wrangler/package-lock.json");
/// What runs the tools, or is run by them, in the project's folder.
const SCRIPTS: [(&str, &str); 5] = [
    ("session.mjs", include_str!("../wrangler/session.mjs")),
    ("platform.mjs", include_str!("../wrangler/platform.mjs")),
    ("vite.config.mjs", include_str!("../wrangler/vite.config.mjs")),
    ("vitest.config.mjs", include_str!("../wrangler/vitest.config.mjs")),
    ("remote.test.mjs", include_str!("../wrangler/remote.test.mjs")),
];
/// The API token of every stand-in here.
const API_TOKEN: &str = "e2e-api-token";
/// The port of a tool's Worker. It is inside, so that any number of tools may have it at the same time.
const PORT: u16 = 8787;
/// How long a tool may take to what is waited for. Generous: the machine may be busy with other tests.
const READY: Duration = Duration::from_secs(90);
/// How long one may take to end.
const END: Duration = Duration::from_secs(30);

/// What a tool sends to Access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The service token that passes.
    Right,
    /// One with another secret.
    Wrong,
    /// None.
    Nothing,
}

/// The folder with the tools.
pub async fn installed() -> Result<PathBuf> {
    peers::install("bowline-e2e-wrangler", PACKAGE, LOCK).await
}

/// A tool inside a stand-in of its own. Killed when dropped.
#[derive(Debug)]
pub struct Inside {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    /// Every line so far that was waited past.
    said: Vec<String>,
    worker: String,
    control: String,
}

impl Inside {
    /// Starts `wrangler dev` on a project, and waits until it is ready.
    pub async fn wrangler_dev(project: &Project, edge: &[&str], sent: Sent) -> Result<Self> {
        let mut inside = Self::start(project, edge, sent, &["wrangler", "dev"]).await?;
        inside.heard("Ready on").await?;
        Ok(inside)
    }

    /// Starts a program of the installed tools, such as `["wrangler", "dev"]`, or a script of `wrangler/`, `["script.mjs"]`.
    pub async fn start(project: &Project, edge: &[&str], sent: Sent, tool: &[&str]) -> Result<Self> {
        let tools = installed().await?.join("node_modules");
        for (name, source) in SCRIPTS {
            std::fs::write(project.folder().join(name), source)?;
        }
        let link = project.folder().join("node_modules");
        if !link.exists() {
            std::os::unix::fs::symlink(&tools, link)?;
        }
        let mut command = project.with_toolchain(&["edge", "run", "--control", "127.0.0.1:0"])?;
        command
            .args(edge)
            .args(["--publish", &format!("0:{PORT}")])
            .arg("--config")
            .arg(project.folder())
            .arg("--state")
            .arg(project.state())
            .arg("--");
        match sent {
            Sent::Right => {}
            Sent::Wrong => {
                command.args(["env", "CLOUDFLARE_ACCESS_CLIENT_SECRET=wrong"]);
            }
            Sent::Nothing => {
                command.args([
                    "env",
                    "-u",
                    "CLOUDFLARE_ACCESS_CLIENT_ID",
                    "-u",
                    "CLOUDFLARE_ACCESS_CLIENT_SECRET",
                ]);
            }
        }
        command.arg(tools.join("node/bin/node"));
        match tool {
            ["wrangler", rest @ ..] => command.arg(tools.join("wrangler/bin/wrangler.js")).args(rest),
            ["vite", rest @ ..] => command.arg(tools.join("vite/bin/vite.js")).args(rest),
            ["vitest", rest @ ..] => command.arg(tools.join("vitest/vitest.mjs")).args(rest),
            [script, rest @ ..] => command.arg(project.folder().join(script)).args(rest),
            [] => bail!("no tool was named"),
        };
        if let ["wrangler", "dev", ..] = tool {
            command.args(["--ip", "127.0.0.1", "--port", &PORT.to_string()]);
        }
        let mut child = command
            .env("CLOUDFLARE_API_TOKEN", API_TOKEN)
            .env("CI", "true")
            .env("NO_COLOR", "1")
            .env("WRANGLER_CACHE_DIR", project.folder().join("cache"))
            .env("HOME", project.folder())
            .env("WRANGLER_REGISTRY_PATH", project.folder().join("registry"))
            .env("WRANGLER_HIDE_BANNER", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let (send, lines) = mpsc::unbounded_channel();
        forward(
            child.stdout.take().context("standard output is piped")?,
            send.clone(),
        );
        forward(child.stderr.take().context("standard error is piped")?, send);
        let mut inside = Self {
            child,
            lines,
            said: Vec::new(),
            worker: String::new(),
            control: String::new(),
        };
        let control = inside.heard("the stand-in is controlled at ").await?;
        inside.control = control.rsplit(' ').next().unwrap_or_default().to_owned();
        let published = inside.heard("is the command's port").await?;
        inside.worker = published.split_whitespace().next().unwrap_or_default().to_owned();
        Ok(inside)
    }

    /// Waits for a line with these words, and returns it. Fails when the tool ends without.
    pub async fn heard(&mut self, words: &str) -> Result<String> {
        let waiting = async {
            while let Some(line) = self.lines.recv().await {
                self.said.push(line.clone());
                if line.contains(words) {
                    return Some(line);
                }
            }
            None
        };
        match tokio::time::timeout(READY, waiting).await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => bail!(
                "the tool ended without saying \"{words}\"; it said:\n{}",
                self.said.join("\n")
            ),
            Err(_) => bail!(
                "the tool did not say \"{words}\" within {} s; it said:\n{}",
                READY.as_secs(),
                self.said.join("\n")
            ),
        }
    }

    /// Waits for the tool to end by itself: its status, and all it said.
    pub async fn ended(&mut self) -> Result<(ExitStatus, String)> {
        let status = tokio::time::timeout(READY, self.child.wait())
            .await
            .with_context(|| format!("it did not end within {} s", READY.as_secs()))??;
        // A grandchild may hold the pipe open a little longer.
        let rest = async {
            while let Some(line) = self.lines.recv().await {
                self.said.push(line);
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), rest).await;
        Ok((status, self.said.join("\n")))
    }

    /// Sends a signal to `bowline`, which passes it on, and waits for the end.
    pub async fn signal(&mut self, name: &str) -> Result<ExitStatus> {
        let id = self.child.id().context("the tool has ended already")?;
        program::signal(name, id).await?;
        let status = tokio::time::timeout(END, self.child.wait())
            .await
            .with_context(|| format!("it did not end within {} s of {name}", END.as_secs()))??;
        Ok(status)
    }

    /// A call of the control interface.
    pub async fn control(&self, method: Method, path: &str, body: &str) -> Result<Value> {
        let answer = Outgoing::new(method.clone(), &format!("{}{path}", self.control))
            .header("authorization", format!("Bearer {API_TOKEN}"))
            .body(body.to_owned())
            .send()
            .await?;
        ensure!(
            answer.status == 200,
            "{method} {path}: {}: {}",
            answer.status,
            answer.text()
        );
        serde_json::from_slice(&answer.body).context("the control interface answers JSON")
    }

    /// What came to the stand-in since the last time this was asked, one text each: `session 200`, `upload 200`,
    /// `edge DB 200`, `edge upgrade SVC 101`.
    pub async fn log(&self) -> Result<Vec<String>> {
        let entries = self.control(Method::DELETE, "/log", "").await?;
        let entries = entries.as_array().context("a list")?;
        Ok(entries.iter().map(told).collect())
    }

    /// What user code answers to a plain request.
    pub async fn request(&self, call: &str, args: &Value) -> Result<Answer> {
        Outgoing::new(Method::POST, &self.worker)
            .body(json!({"call": call, "args": args}).to_string())
            .send()
            .await
            .with_context(|| format!("{call} {args}"))
    }
}

impl TestWorker for Inside {
    async fn call(&mut self, call: &str, args: Value) -> Result<Value> {
        let answer = self.request(call, &args).await?;
        serde_json::from_slice(&answer.body).with_context(|| format!("{call} {args}: {}", answer.text()))
    }
}

fn told(entry: &Value) -> String {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    match entry["at"].as_str() {
        Some("api") => format!("{} {}", text("call"), entry["status"]),
        Some("edge") if entry["upgrade"] == true => {
            format!("edge upgrade {} {}", text("binding"), entry["status"])
        }
        Some("edge") => format!("edge {} {}", text("binding"), entry["status"]),
        _ => format!("{} {}", text("at"), entry["status"]),
    }
}

fn forward(from: impl AsyncRead + Unpin + Send + 'static, to: mpsc::UnboundedSender<String>) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if to.send(line).is_err() {
                return;
            }
        }
    });
}
