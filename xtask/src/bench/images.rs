//! Pictures read, resized and written by a remote's Images against sharp (libvips) called in process.
//!
//! Ours is asked over the wire, form and all. Both sides take one core a picture, and turns are taken, so that what else the
//! machine does falls on both alike.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{Goal, Row, peers};
use crate::run::{npm, target};

const MEASURE: &str = include_str!("images/measure.mjs");
const PACKAGE: &str = include_str!("../../../tests/e2e/package.json");
const LOCK: &str = include_str!("../../../tests/e2e/package-lock.json");

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let program = peers::build()?;
    let packages = target()?.join("tmp/bowline-e2e-peers");
    npm(&packages, PACKAGE, LOCK)?;
    let folder = tempfile::tempdir().context("make a folder")?;
    let wrangler = json!({"name": "bench", "images": {"binding": "IMAGES", "remote": true}});
    std::fs::write(folder.path().join("wrangler.jsonc"), wrangler.to_string())?;
    let script = folder.path().join("measure.mjs");
    std::fs::write(&script, MEASURE)?;
    let mut command = Command::new(program);
    command
        .args(["serve", "--json", "--listen", "127.0.0.1:0", "--access", "off"])
        .current_dir(folder.path());
    let remote = peers::announced(command)?;
    let output = Command::new(packages.join("node_modules/node/bin/node"))
        .arg(script)
        .arg(&packages)
        .arg(format!("http://{}{}", remote.target.address, remote.target.path))
        .stderr(Stdio::inherit())
        .output()
        .context("start node")?;
    ensure!(
        output.status.success(),
        "the measurement ended with {}",
        output.status
    );
    let said = String::from_utf8(output.stdout)?;
    said.lines()
        .map(|line| {
            let said: Value = serde_json::from_str(line).with_context(|| format!("read {line:?}"))?;
            let rate = |who: &str| said[who].as_f64().context("a rate is missing");
            Ok(Row {
                row: said["row"].as_str().unwrap_or_default().to_owned(),
                peer: "sharp",
                ours: rate("ours")?,
                theirs: rate("theirs")?,
                unit: "1/s",
                goal: Goal::AtLeast(0.8),
            })
        })
        .collect()
}
