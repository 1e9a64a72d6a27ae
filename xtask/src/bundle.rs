//! `cargo xtask bundle`: the proxy Worker in one module, from its sources and npm capnweb.
//!
//! The result lies in the repository, so that building Bowline needs no Node.js and the program carries what it uploads.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::Args;

use crate::run::{npm, root, target};

const FOLDER: &str = "crates/bowline-session/worker";
/// The sources, each at its own path: comments in the bundle name them.
const SOURCES: [&str; 3] = [
    "crates/bowline-session/worker/proxy-worker.js",
    "crates/bowline-session/worker/access.js",
    "crates/bowline-workerd/shim/tunnel.js",
];

#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// Change nothing, and fail when the bundle in the repository is not what its sources make.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &BundleArgs) -> anyhow::Result<()> {
    let file = root().join(FOLDER).join("bundle.js");
    let bundle = make()?;
    if !args.check {
        std::fs::write(&file, bundle)?;
        return Ok(());
    }
    let kept = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    ensure!(
        kept == bundle,
        "{} is not what its sources make: run `cargo xtask bundle`",
        file.display()
    );
    Ok(())
}

fn make() -> anyhow::Result<String> {
    let folder = target()?.join("tmp/proxy-worker");
    npm(
        &folder,
        include_str!("../../crates/bowline-session/worker/package.json"),
        include_str!("../../crates/bowline-session/worker/package-lock.json"),
    )?;
    for source in SOURCES {
        let copy = folder.join(source);
        std::fs::create_dir_all(copy.parent().unwrap_or(Path::new(".")))?;
        std::fs::copy(root().join(source), copy)?;
    }
    let licence = std::fs::read_to_string(folder.join("node_modules/capnweb/LICENSE"))
        .or_else(|_| std::fs::read_to_string(folder.join("node_modules/capnweb/LICENSE.txt")))
        .context("read npm capnweb's licence")?;
    let banner = format!(
        "// Made by `cargo xtask bundle`; change the sources, not this.\n/*! With npm capnweb:\n\n{}\n*/",
        licence.trim()
    );
    let output = Command::new(folder.join("node_modules/.bin/esbuild"))
        .current_dir(&folder)
        .args([
            SOURCES[0],
            "--bundle",
            "--format=esm",
            "--target=es2022",
            "--platform=neutral",
        ])
        .args([
            "--conditions=workerd",
            "--external:cloudflare:*",
            "--legal-comments=inline",
        ])
        .arg(format!("--banner:js={banner}"))
        .output()
        .context("start esbuild")?;
    if !output.status.success() {
        bail!(
            "esbuild: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}
