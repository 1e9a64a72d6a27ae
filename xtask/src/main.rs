//! Repository chores: `cargo xtask CHORE`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for a terminal")]

mod bench;
mod bundle;
mod conformance;
mod fuzz;
mod lint;
mod run;
mod test;
mod tidy;

use clap::{Parser, Subcommand};

/// Repository chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Run every test, after installing what the tests need.
    Test(test::TestArgs),
    /// Formatting, clippy, documentation, dependencies and the repository's own rules.
    Lint,
    /// The repository's own rules alone: what a diff cannot show.
    Tidy,
    /// Measure against peers, in one run.
    Bench(bench::BenchArgs),
    /// Run the conformance cases of an area against the freshly built program.
    Conformance(conformance::ConformanceArgs),
    /// Bundle the proxy Worker from its sources and npm capnweb.
    Bundle(bundle::BundleArgs),
    /// Run the fuzzers of the Cap'n Web protocol.
    Fuzz(fuzz::FuzzArgs),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().chore {
        Chore::Test(args) => test::run(&args),
        Chore::Lint => lint::run(),
        Chore::Tidy => tidy::run(),
        Chore::Bench(args) => bench::run(&args),
        Chore::Conformance(args) => conformance::run(&args),
        Chore::Bundle(args) => bundle::run(&args),
        Chore::Fuzz(args) => fuzz::run(&args),
    }
}
