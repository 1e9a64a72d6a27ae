//! `cargo xtask test`: every test.

use clap::Args;

use crate::run::{cargo, check, test_peers, works};

/// Everything is tested with the models that run in the process. Without them the dependencies have other features, and all of
/// the workspace would be compiled twice; what is different then is linted.
pub(crate) const FEATURES: &str = "bowline/embedded-models";
/// Threads of models spin while they wait, and would starve each other.
pub(crate) const ENVIRONMENT: [(&str, &str); 1] = [("RAYON_NUM_THREADS", "1")];

/// Run every test.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Arguments for the runner, such as a filter.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    runner: Vec<String>,
}

/// Builds everything once, then runs unit, integration and end-to-end tests with nextest, and doc tests.
pub(crate) fn run(args: &TestArgs) -> anyhow::Result<()> {
    build_for_tests()?;
    if !works("cargo", &["nextest", "--version"]) {
        check(&mut cargo(["install", "cargo-nextest", "--locked"]))?;
    }
    check(
        cargo(["nextest", "run", "--workspace", "--features", FEATURES])
            .args(&args.runner)
            .envs(ENVIRONMENT),
    )?;
    if args.runner.is_empty() {
        check(&mut cargo([
            "test",
            "--workspace",
            "--doc",
            "--quiet",
            "--features",
            FEATURES,
        ]))?;
    }
    Ok(())
}

/// Builds the program and every test, and meanwhile installs what the tests talk to.
///
/// The end-to-end tests run the program itself, which nextest does not build. It is built with the tests, so that dependencies
/// have the features they have there and are compiled once.
pub(crate) fn build_for_tests() -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let peers = scope.spawn(test_peers);
        check(&mut cargo([
            "build",
            "--workspace",
            "--bins",
            "--tests",
            "--features",
            FEATURES,
        ]))?;
        peers
            .join()
            .map_err(|_| anyhow::anyhow!("installing what the tests need panicked"))?
    })
}
