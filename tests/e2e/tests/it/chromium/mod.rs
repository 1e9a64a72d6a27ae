//! Pages in real Chromium: Debian's, driven by npm's playwright-core.
//!
//! A test is a script beside this file: a module whose default export gets the page, the URL and a few helpers (`run.mjs`
//! says which), asserts with `node:assert`, and returns what Rust should know. A script fails, too, if the page logs an
//! error or leaves one uncaught.

mod access;
mod handbook;
mod images;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bowline_e2e::{peers, program};
use serde_json::{Value, json};

/// A whole script, on a machine that is busy with other tests.
const SCRIPT: Duration = Duration::from_secs(120);
/// Where Debian's package puts it.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Runs a script on the page at `url`. Its screenshots are kept in [`shots`].
async fn run(script: &str, url: &str) -> Result<Value> {
    run_with(script, url, Value::Null).await
}

/// The same, for a script that has to know more.
async fn run_with(script: &str, url: &str, more: Value) -> Result<Value> {
    ensure!(
        Path::new(CHROMIUM).exists(),
        "there is no {CHROMIUM}: install Debian's package `chromium`, as `cargo xtask test` does"
    );
    let peers = peers::installed().await?;
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/chromium");
    let home = tempfile::tempdir()?;
    let setup = json!({
        "peers": peers, "chromium": CHROMIUM, "script": here.join(script), "url": url, "shots": shots()?,
        "more": more,
    });
    let mut node = program::cleared(&peers.join("node_modules/node/bin/node"));
    node.arg(here.join("run.mjs"))
        .arg(setup.to_string())
        // Its profile and its caches end with the test.
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .stdin(Stdio::null());
    let output = program::run(node, SCRIPT).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{script}: {}\n{said}", output.status);
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("what {script} returned; it said:\n{said}"))
}

/// The folder for screenshots, for people to look at.
fn shots() -> Result<PathBuf> {
    let folder = program::cache()?.join("screenshots");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
