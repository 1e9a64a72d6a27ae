//! `cargo xtask test`: every test.

use clap::Args;

use crate::run::{cargo, check, debian, works};

/// Run every test.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Arguments for the runner, such as a filter.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    runner: Vec<String>,
}

/// Builds everything once, then runs unit, integration and end-to-end tests with nextest, and doc tests.
pub(crate) fn run(args: &TestArgs) -> anyhow::Result<()> {
    debian(&[("node", "nodejs"), ("npm", "npm"), ("git", "git")])?;
    if !works("cargo", &["nextest", "--version"]) {
        check(&mut cargo(["install", "cargo-nextest", "--locked"]))?;
    }
    // The end-to-end tests run the program itself.
    check(&mut cargo(["build", "--workspace"]))?;
    check(cargo(["nextest", "run", "--workspace"]).args(&args.runner))?;
    if args.runner.is_empty() {
        check(&mut cargo(["test", "--workspace", "--doc", "--quiet"]))?;
    }
    Ok(())
}
