//! `cargo xtask fuzz [TARGET]`: the fuzzers of `fuzz/`, seeded from the recorded conversations.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use clap::Args;
use serde_json::Value;

use crate::run::{cargo, check, root, works};

const TARGETS: [&str; 4] = ["json", "messages", "expression", "pair"];

#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// One fuzzer; without it, all of them one after the other.
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
    /// How long each runs.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Runs fuzzers. A crash fails, and says where the input lies that crashed.
pub(crate) fn run(args: &FuzzArgs) -> anyhow::Result<()> {
    if !works("cargo", &["fuzz", "--version"]) {
        check(&mut cargo(["install", "cargo-fuzz", "--locked"]))?;
    }
    let folder = root().join("fuzz");
    for target in TARGETS {
        if args.target.as_deref().is_some_and(|wanted| wanted != target) {
            continue;
        }
        seed(&folder.join("corpus").join(target), target)?;
        let mut fuzz = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        fuzz.current_dir(&folder)
            // The sanitizer's flags are for nightly compilers; the pinned one knows them too.
            .env("RUSTC_BOOTSTRAP", "1")
            // Its own build, in its own folder.
            .env_remove("CARGO_TARGET_DIR")
            .args(["fuzz", "run", "--fuzz-dir", ".", target, "--"])
            .args([
                format!("-max_total_time={}", args.seconds),
                "-timeout=10".into(),
                "-max_len=4096".into(),
                "-print_final_stats=1".into(),
            ]);
        check(&mut fuzz).with_context(|| format!("the fuzzer {target} found something"))?;
    }
    Ok(())
}

/// Writes what was recorded as a corpus to start from.
fn seed(corpus: &Path, target: &str) -> anyhow::Result<()> {
    fs::create_dir_all(corpus)?;
    let mut seeds: Vec<String> = Vec::new();
    for entry in fs::read_dir(root().join("tests/capnweb/vectors"))? {
        let vector: Value = serde_json::from_slice(&fs::read(entry?.path())?)?;
        if target == "expression" {
            let values = vector["make"].as_object();
            seeds.extend(values.into_iter().flatten().map(|(_, value)| value.to_string()));
            continue;
        }
        for step in vector["steps"].as_array().into_iter().flatten() {
            for side in ["send", "receive"] {
                let frames = step[side].as_array().into_iter().flatten();
                let lines: Vec<String> = frames.map(ToString::to_string).collect();
                seeds.push(lines.join("\n"));
            }
        }
    }
    for (index, seed) in seeds.iter().enumerate() {
        fs::write(corpus.join(format!("recorded-{index}")), seed)?;
    }
    Ok(())
}
