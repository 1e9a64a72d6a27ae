//! `cargo xtask conformance AREA…`: the cases of an area against the freshly built program.

use std::process::Stdio;

use anyhow::{Context, bail};
use clap::Args;

use crate::run::cargo;
use crate::test::{ENVIRONMENT, FEATURES, build_for_tests};

/// An area is a name prefix of end-to-end tests.
const AREAS: &[(&str, &str)] = &[
    ("line", "test(elimination) | test(wire) | test(refusal)"),
    (
        "bindings",
        "test(miniflare) | test(/^ai::/) | test(/^artifacts::/) | test(/^d1::/) | test(service) | package(bowline-ai) | package(bowline-ai-gateway) | package(bowline-artifacts) | package(bowline-d1) | package(bowline-vectorize) | package(bowline-send-email) | package(bowline-vpc-network) | package(bowline-service) | package(bowline-dispatch) | test(/^images::/) | package(bowline-images)",
    ),
    ("ai", "test(/^ai::/) | package(bowline-ai)"),
    ("ai-gateway", "test(/^ai::/) | package(bowline-ai-gateway)"),
    ("artifacts", "test(/^artifacts::/) | package(bowline-artifacts)"),
    ("d1", "test(miniflare) | test(/^d1::/) | package(bowline-d1)"),
    (
        "vectorize",
        "test(miniflare) | test(vectorize) | package(bowline-vectorize)",
    ),
    (
        "service",
        "test(service) | package(bowline-service) | (package(bowline-workerd) & test(host))",
    ),
    (
        "dispatch",
        "test(service_and_dispatch) | test(/^edge::dispatch/) | package(bowline-dispatch)",
    ),
    ("images", "test(/^images::/) | package(bowline-images)"),
    ("client", "test(rust_client) | package(bowline-client)"),
    ("send-email", "test(miniflare) | package(bowline-send-email)"),
    ("vpc-network", "test(miniflare) | package(bowline-vpc-network)"),
    (
        "access",
        "test(elimination) | test(refusal) | test(/^access::/) | test(/^access_client::/) | test(/^wrangler_access::/) | test(/^chromium::access/) | package(/^bowline-access/) | package(bowline-gateway) | package(bowline-credentials) | package(bowline-proxy)",
    ),
    // The last are clients and servers of npm's in Node and in workerd, both ways, and raw conversations.
    (
        "capnweb",
        "package(capnweb) | package(capnweb-proto) | test(capnweb)",
    ),
    (
        "session",
        "test(/^edge::/) | test(/^session::/) | test(/^refresh::/) | test(/^kills::/) | test(/^deployed::/) | test(/^proxy_worker::/) | package(bowline-edge) | package(bowline-api) | package(bowline-session)",
    ),
    ("workerd", "package(bowline-workerd)"),
    ("recipes", "test(/^recipes::/)"),
];

#[derive(Debug, Args)]
pub(crate) struct ConformanceArgs {
    /// One or more areas.
    #[arg(required = true, value_parser = AREAS.iter().map(|(name, _)| *name).collect::<Vec<_>>())]
    area: Vec<String>,
}

/// Runs the areas and ends with the line `N passed, N failed`.
pub(crate) fn run(args: &ConformanceArgs) -> anyhow::Result<()> {
    build_for_tests()?;
    let filter = AREAS
        .iter()
        .filter(|(name, _)| args.area.iter().any(|area| area == name))
        .map(|(_, filter)| format!("({filter})"))
        .collect::<Vec<_>>()
        .join(" | ");
    let output = cargo([
        "nextest",
        "run",
        "--workspace",
        "--features",
        FEATURES,
        "--no-fail-fast",
        // Some tests are lists of cases and say how many.
        "--success-output",
        "final",
        "--color",
        "never",
        "-E",
        &filter,
    ])
    .envs(ENVIRONMENT)
    .stdout(Stdio::inherit())
    .stderr(Stdio::piped())
    .output()
    .context("start cargo nextest")?;
    let log = String::from_utf8_lossy(&output.stderr);
    eprint!("{log}");
    let summary = log
        .lines()
        .rev()
        .find(|line| line.trim_start().starts_with("Summary"))
        .unwrap_or_default();
    let count = |word: &str| -> u32 {
        let before = summary
            .split(word)
            .next()
            .filter(|before| before.len() < summary.len());
        before
            .and_then(|before| before.split_whitespace().next_back()?.parse().ok())
            .unwrap_or(0)
    };
    let (passed, failed) = (count(" passed"), count(" failed") + count(" timed out"));
    println!("{passed} passed, {failed} failed");
    if !output.status.success() || passed == 0 {
        bail!("conformance of {} failed", args.area.join(", "));
    }
    Ok(())
}
