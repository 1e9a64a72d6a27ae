//! The part of the demo with git: the guestbook's versions are commits in Artifacts.
//!
//! ```text
//! POST /versions ─▶ Worker ─ rpc ─▶ Artifacts: a repository, and a token for git
//! git clone, commit, push ─────────▶ its git endpoint
//! GET /versions  ─▶ Worker ─ rpc ─▶ Artifacts: what git wrote
//! ```

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use http::Method;
use serde_json::Value;
use tokio::process::Command;

use super::{Case, Check, Credentials, call};

/// One run of git.
const GIT: Duration = Duration::from_secs(30);
/// What git writes and the Worker reads.
const FILE: &str = "entries.json";
const ENTRIES: &str = r#"[{"author":"Ada","message":"The knot holds."}]"#;

const OPEN: Case = Case {
    flow: "git",
    binding: "ART",
    method: Method::POST,
    path: "/versions",
    body: "",
    says: "\"remote\":",
};

/// Asks the Worker for a repository, and lets git clone it, commit to it and push.
pub(super) async fn written(folder: &Path, worker: &str) -> Check {
    let copy = folder.join("versions");
    let work = async {
        let (remote, token) = open(worker).await?;
        git(folder, &token, &["clone", "--quiet", &remote, "versions"]).await?;
        tokio::fs::write(copy.join(FILE), ENTRIES).await?;
        git(&copy, &token, &["add", FILE]).await?;
        git(&copy, &token, &["commit", "--quiet", "--message=Opened"]).await?;
        git(&copy, &token, &["push", "--quiet", "origin", "HEAD"]).await?;
        anyhow::Ok(format!("clone, commit and push to {remote}"))
    };
    checked(work).await
}

/// Clones the repository anew and looks at what is in it.
pub(super) async fn cloned(folder: &Path, worker: &str) -> Check {
    let copy = folder.join("versions-again");
    let work = async {
        let (remote, token) = open(worker).await?;
        git(folder, &token, &["clone", "--quiet", &remote, "versions-again"]).await?;
        let found = tokio::fs::read_to_string(copy.join(FILE)).await?;
        ensure!(found == ENTRIES, "{FILE} says {found}");
        let log = git(&copy, &token, &["log", "--format=%h %an: %s"]).await?;
        anyhow::Ok(format!("git clone {remote} && git log: {log}"))
    };
    checked(work).await
}

async fn checked(work: impl Future<Output = anyhow::Result<String>>) -> Check {
    let started = Instant::now();
    let outcome = work.await;
    Check {
        case: &OPEN,
        credentials: Credentials::Valid,
        access: true,
        ok: outcome.is_ok(),
        status: u16::from(outcome.is_err()),
        elapsed: started.elapsed(),
        detail: outcome.unwrap_or_else(|error| format!("{error:#}")),
    }
}

/// The repository's URL, and a token for git.
async fn open(worker: &str) -> anyhow::Result<(String, String)> {
    let (status, text) = tokio::time::timeout(super::CALL, call(&OPEN, worker)).await??;
    // A good answer has a token in it; what failed says why.
    ensure!(status == 200, "{} {}: {status} {text}", OPEN.method, OPEN.path);
    let answer: Value = serde_json::from_str(&text)?;
    let member = |name: &str| {
        answer[name]
            .as_str()
            .with_context(|| format!("no `{name}` in the answer"))
    };
    Ok((member("remote")?.to_owned(), member("token")?.to_owned()))
}

/// Runs git with nobody's configuration, the token in its environment only.
async fn git(at: &Path, token: &str, arguments: &[&str]) -> anyhow::Result<String> {
    // What follows says when it ends.
    let plain = token.split('?').next().unwrap_or_default();
    let mut command = Command::new("git");
    command
        .current_dir(at)
        .args([
            "-c",
            "user.name=Guestbook",
            "-c",
            "user.email=guestbook@example.com",
        ])
        .args(arguments)
        .env("HOME", at)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "http.extraHeader")
        .env("GIT_CONFIG_VALUE_0", format!("Authorization: Bearer {plain}"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(GIT, command.output())
        .await
        .with_context(|| format!("git {} did not end within {} s", arguments[0], GIT.as_secs()))?
        .context("run git")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "git {} ended with {}: {}",
            arguments[0],
            output.status,
            said.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
