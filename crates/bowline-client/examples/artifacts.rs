//! Makes a repository, lets git clone it, commit and push, and reads the commit back through the binding.
//!
//! `cargo run -p bowline-client --example artifacts -- URL BINDING`; a service token is taken from
//! `CLOUDFLARE_ACCESS_CLIENT_ID` and `CLOUDFLARE_ACCESS_CLIENT_SECRET`.
#![expect(clippy::print_stdout, reason = "an example is a program")]

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use bowline_client::Secret;
use bowline_client::artifacts::{LogOptions, RepoOptions};

#[path = "shared/connect.rs"]
mod connect;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (client, binding) = connect::from_command_line()?;
    let artifacts = client.artifacts(binding);
    // Left over from a run that broke off.
    artifacts.delete("knots").await?;
    let made = artifacts.create("knots", &RepoOptions::default()).await?;

    let folder = tempfile::tempdir()?;
    let (remote, copy) = (made.remote.clone(), folder.path().to_owned());
    let git = tokio::task::spawn_blocking(move || {
        git(&copy, &made.token, &["clone", "--quiet", &remote, "."])?;
        std::fs::write(copy.join("bowline.txt"), "the king of knots\n")?;
        git(&copy, &made.token, &["add", "."])?;
        git(
            &copy,
            &made.token,
            &["commit", "--quiet", "--message=The first knot"],
        )?;
        git(&copy, &made.token, &["push", "--quiet", "origin", "HEAD"])
    });
    git.await??;

    let repo = artifacts.get("knots").await?;
    for commit in repo.log(&LogOptions::default()).await? {
        println!("{}: {}", commit.author.name, commit.message);
    }
    let file = repo
        .read_file("HEAD", "bowline.txt")
        .await?
        .context("the file is there")?;
    print!("{}", String::from_utf8_lossy(&file.bytes));
    println!("deleted: {}", artifacts.delete("knots").await?);
    Ok(())
}

/// Runs git with a token in its environment, where neither its arguments nor its configuration show it.
fn git(folder: &Path, token: &Secret, arguments: &[&str]) -> anyhow::Result<()> {
    let plain = token.expose().split('?').next().unwrap_or_default();
    let status = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
        .args(arguments)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "http.extraHeader")
        .env("GIT_CONFIG_VALUE_0", format!("Authorization: Bearer {plain}"))
        .status()
        .context("run git")?;
    ensure!(status.success(), "git {} ended with {status}", arguments[0]);
    Ok(())
}
