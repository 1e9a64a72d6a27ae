//! `cargo xtask test`: every test.

use clap::Args;

use crate::run::{cargo, check, test_peers, works};

/// What builds the models that run in the process.
const EMBEDDED: &str = "bowline-models/candle,bowline-ai/embedded";

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
    // The end-to-end tests run the program itself.
    check(&mut cargo(["build", "--workspace"]))?;
    check(cargo(["nextest", "run", "--workspace"]).args(&args.runner))?;
    if args.runner.is_empty() {
        // Real models, which only this feature builds. One thread: their workers spin and would starve each other.
        check(
            cargo([
                "nextest",
                "run",
                "-p",
                "bowline-models",
                "-p",
                "bowline-ai",
                "--features",
                EMBEDDED,
            ])
            .env("RAYON_NUM_THREADS", "1"),
        )?;
        // And the program with them, for what the end-to-end tests do only with models.
        check(&mut cargo([
            "build",
            "--workspace",
            "--features",
            "bowline/embedded-models",
        ]))?;
        check(
            cargo(["nextest", "run", "--workspace", "-E", "test(with_models)"]).env("RAYON_NUM_THREADS", "1"),
        )?;
        check(&mut cargo(["test", "--workspace", "--doc", "--quiet"]))?;
    }
    Ok(())
}
