//! `cargo xtask test`: every test.

use clap::Args;

use crate::run::{cargo, check, test_peers, works};

/// What builds the models that run in the process.
const EMBEDDED: &str = "bowline/embedded-models";

/// Run every test.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Arguments for the runner, such as a filter.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    runner: Vec<String>,
}

/// Builds everything once, then runs unit, integration and end-to-end tests with nextest, and doc tests.
pub(crate) fn run(args: &TestArgs) -> anyhow::Result<()> {
    test_peers()?;
    if !works("cargo", &["nextest", "--version"]) {
        check(&mut cargo(["install", "cargo-nextest", "--locked"]))?;
    }
    // The end-to-end tests run the program itself, which nextest does not build. With the tests, so that dependencies have the
    // features they have there and are compiled once.
    check(&mut cargo(["build", "--workspace", "--bins", "--tests"]))?;
    check(cargo(["nextest", "run", "--workspace"]).args(&args.runner))?;
    if args.runner.is_empty() {
        // What only runs with real models, and what is built otherwise then.
        check(&mut cargo([
            "build",
            "--workspace",
            "--bins",
            "--tests",
            "--features",
            EMBEDDED,
        ]))?;
        // One thread: their workers spin and would starve each other.
        check(
            cargo(["nextest", "run", "--workspace", "--features", EMBEDDED])
                .args([
                    "-E",
                    "test(with_models) | package(bowline-models) | package(bowline-ai)",
                ])
                .env("RAYON_NUM_THREADS", "1"),
        )?;
        check(&mut cargo(["test", "--workspace", "--doc", "--quiet"]))?;
    }
    Ok(())
}
