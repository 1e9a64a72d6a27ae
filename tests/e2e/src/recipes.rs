//! The recipes of `docs/recipes.md`, written to a project as they stand, and the unmodified tools that run them.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::client::Outgoing;
use crate::edge;
use crate::peers::{self, Miniflare};
use crate::program;
use crate::project::{Credentials, Project};
use crate::worker::TestWorker;

const DOCUMENT: &str = include_str!("../../../docs/recipes.md");
/// How long a tool may take to what is waited for. Generous: the machine may be busy with other tests.
const READY: Duration = Duration::from_secs(90);
/// How long one may take to end.
const END: Duration = Duration::from_secs(30);

/// The files of the document: every block with a title.
pub fn files() -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut lines = DOCUMENT.lines();
    while let Some(line) = lines.next() {
        let Some((_, title)) = line
            .strip_prefix("```")
            .and_then(|fence| fence.split_once("title=\""))
        else {
            continue;
        };
        let text: String = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .flat_map(|line| [line, "\n"])
            .collect();
        found.push((title.trim_end_matches('"'), text));
    }
    found
}

/// A project with the recipes in it and the packages they name installed.
#[derive(Debug)]
pub struct Kitchen<'a> {
    project: &'a Project,
    remote: String,
    path: std::ffi::OsString,
}

impl<'a> Kitchen<'a> {
    /// Puts the recipes into a project. They import `miniflare`, which is of the version given.
    pub async fn new(project: &'a Project, remote: &str, miniflare: Miniflare) -> Result<Self> {
        let (miniflares, tools) = (peers::installed().await?, edge::installed().await?);
        let (miniflares, tools) = (miniflares.join("node_modules"), tools.join("node_modules"));
        let modules = project.folder().join("node_modules");
        let package = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../npm/bowline")
            .canonicalize()?;
        let miniflare = match miniflare {
            Miniflare::V4 => "miniflare-4",
            Miniflare::V5 => "miniflare-5",
        };
        for folder in ["@cloudflare", ".bin"] {
            std::fs::create_dir_all(modules.join(folder))?;
        }
        let mut links: Vec<(PathBuf, &str)> = vec![
            (package.join("bin/bowline-wrangler.js"), ".bin/bowline-wrangler"),
            (tools.join("wrangler/bin/wrangler.js"), ".bin/wrangler"),
            (tools.join("vite/bin/vite.js"), ".bin/vite"),
            (tools.join("vitest/vitest.mjs"), ".bin/vitest"),
            (package, "bowline"),
            (miniflares.join(miniflare), "miniflare"),
        ];
        for name in [
            "wrangler",
            "vite",
            "vitest",
            "@cloudflare/vite-plugin",
            "@cloudflare/vitest-pool-workers",
        ] {
            links.push((tools.join(name), name));
        }
        for (to, name) in links {
            std::os::unix::fs::symlink(to, modules.join(name)).with_context(|| name.to_owned())?;
        }
        for (name, text) in files() {
            std::fs::write(project.folder().join(name), text)?;
        }
        // A tool of wrangler's takes any free port.
        let file = project.folder().join("wrangler.jsonc");
        let mut wrangler: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        wrangler["dev"] = json!({"ip": "127.0.0.1", "port": 0, "inspector_port": 0});
        std::fs::write(file, wrangler.to_string())?;
        let mut path = tools.join("node/bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        Ok(Self {
            project,
            remote: remote.to_owned(),
            path,
        })
    }

    /// A command as a user would type it in the project's folder, with everything the document says to set.
    pub fn command(&self, credentials: &Credentials, command: &[&str]) -> Result<Command> {
        let (program, arguments) = command.split_first().context("a command has a program")?;
        let mut command = Command::new("/usr/bin/env");
        command
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", &self.path)
            .env("BOWLINE_BIN", program::bowline()?)
            .env("BOWLINE_REMOTE", &self.remote)
            .env("HOME", self.project.folder())
            .env("CI", "true")
            // Nothing here is to reach beyond this machine.
            .env("WRANGLER_SEND_METRICS", "false")
            .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
            .env("WRANGLER_REGISTRY_PATH", self.project.folder().join("registry"))
            .current_dir(self.project.folder());
        if let Some(id) = &credentials.id {
            command.env("CLOUDFLARE_ACCESS_CLIENT_ID", id);
        }
        if let Some(secret) = &credentials.secret {
            command.env("CLOUDFLARE_ACCESS_CLIENT_SECRET", secret);
        }
        Ok(command)
    }

    /// Starts a recipe that serves the Worker, and waits until it says where.
    pub async fn serve(&self, credentials: &Credentials, command: &[&str]) -> Result<Served> {
        let mut child = self
            .command(credentials, command)?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let (send, lines) = mpsc::unbounded_channel();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        forward(stdout.context("standard output is piped")?, send.clone());
        forward(stderr.context("standard error is piped")?, send);
        let mut served = Served {
            child,
            lines,
            said: Vec::new(),
            url: String::new(),
        };
        let line = served
            .heard(|line| {
                line.contains("http://127.0.0.1:") && (line.contains("eady on") || line.contains("Local:"))
            })
            .await?;
        let url = line
            .find("http://")
            .map(|start| &line[start..])
            .unwrap_or_default();
        served.url = url.trim().trim_end_matches('/').to_owned();
        Ok(served)
    }

    /// Runs a recipe to its end.
    pub async fn run(&self, credentials: &Credentials, command: &[&str]) -> Result<std::process::Output> {
        program::run(self.command(credentials, command)?, READY).await
    }
}

/// A tool that serves the test Worker. It ends with its whole process group when dropped.
#[derive(Debug)]
pub struct Served {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    said: Vec<String>,
    url: String,
}

impl Served {
    /// Waits for a line, without its colours, and returns it. Fails when the tool ends without.
    pub async fn heard(&mut self, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let waiting = async {
            while let Some(line) = self.lines.recv().await {
                let line = plain(&line);
                self.said.push(line.clone());
                if wanted(&line) {
                    return Some(line);
                }
            }
            None
        };
        match tokio::time::timeout(READY, waiting).await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => bail!("the tool ended; it said:\n{}", self.said.join("\n")),
            Err(_) => bail!(
                "the tool did not say it in time; it said:\n{}",
                self.said.join("\n")
            ),
        }
    }

    /// SIGINT to the tool and its children, as a terminal sends it; then everything it said.
    pub async fn interrupt(mut self) -> Result<(ExitStatus, String)> {
        let group = self.child.id().context("the tool has ended already")?;
        signal_group("INT", group)?;
        let status = tokio::time::timeout(END, self.child.wait())
            .await
            .with_context(|| format!("the tool did not end; it said:\n{}", self.said.join("\n")))??;
        while let Ok(Some(line)) = tokio::time::timeout(Duration::from_secs(2), self.lines.recv()).await {
            self.said.push(plain(&line));
        }
        Ok((status, self.said.join("\n")))
    }
}

impl TestWorker for Served {
    async fn call(&mut self, call: &str, args: Value) -> Result<Value> {
        let answer = Outgoing::new(Method::POST, &format!("{}/", self.url))
            .body(json!({"call": call, "args": args}).to_string())
            .send()
            .await
            .with_context(|| format!("{call} {args}"))?;
        serde_json::from_slice(&answer.body)
            .with_context(|| format!("{call} {args}: {}\n{}", answer.text(), self.said.join("\n")))
    }
}

impl Drop for Served {
    /// A test that fails leaves no tool behind.
    fn drop(&mut self) {
        if let Some(group) = self.child.id() {
            let _ = signal_group("KILL", group);
        }
    }
}

fn signal_group(name: &str, group: u32) -> Result<()> {
    let status = std::process::Command::new("kill")
        .args([&format!("-{name}"), "--", &format!("-{group}")])
        .status()?;
    ensure!(status.success(), "kill -{name} -{group}: {status}");
    Ok(())
}

fn forward(from: impl AsyncRead + Unpin + Send + 'static, to: mpsc::UnboundedSender<String>) {
    let mut lines = BufReader::new(from).lines();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if to.send(line).is_err() {
                break;
            }
        }
    });
}

/// A line without the sequences that colour it.
pub fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut parts = line.split("\x1b[");
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|letter: char| letter.is_ascii_alphabetic());
        text.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    text
}
