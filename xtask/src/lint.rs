//! `cargo xtask lint`.

use crate::run::{cargo, check, works};
use crate::tidy;

pub(crate) fn run() -> anyhow::Result<()> {
    check(&mut cargo(["fmt", "--all", "--check"]))?;
    tidy::run()?;
    check(&mut cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    check(cargo(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    if works("cargo", &["deny", "--version"]) {
        // Advisories need a database from the network; the other checks do not.
        check(&mut cargo([
            "deny",
            "--offline",
            "check",
            "bans",
            "licenses",
            "sources",
        ]))?;
    } else {
        eprintln!("cargo-deny is not installed: bans are checked by tidy, licences are not");
    }
    Ok(())
}
