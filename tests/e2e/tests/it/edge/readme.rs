//! The command of the README that runs `wrangler dev`, as it stands there.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bowline_e2e::client::Outgoing;
use bowline_e2e::edge;
use bowline_e2e::program;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const README: &str = include_str!("../../../../../README.md");
const EXAMPLE: &str = "examples/wrangler";

#[tokio::test]
async fn its_command_gets_right_answers() -> Result<()> {
    let line = README
        .lines()
        .find_map(|line| line.strip_prefix("cargo run -p bowline -- edge run "))
        .context("the README has the command")?;
    ensure!(line.contains("--publish 8787 "), "{line}");
    // Others may have that port of this machine.
    let line = line.replace("--publish 8787 ", "--publish 0:8787 ");

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let checkout = tempfile::tempdir()?;
    let example = checkout.path().join(EXAMPLE);
    std::fs::create_dir_all(&example)?;
    for name in ["package.json", "wrangler.jsonc", "worker.js"] {
        std::fs::copy(root.join(EXAMPLE).join(name), example.join(name))?;
    }
    // What its own lock pins is what the tests have installed.
    let tools = edge::installed().await?;
    let dependencies = |folder: &Path| -> Result<Value> {
        let package: Value = serde_json::from_slice(&std::fs::read(folder.join("package.json"))?)?;
        Ok(package["dependencies"].clone())
    };
    let (own, installed) = (dependencies(&example)?, dependencies(&tools)?);
    for name in ["node", "wrangler"] {
        assert_eq!(own[name], installed[name], "{name}");
    }
    std::os::unix::fs::symlink(tools.join("node_modules"), example.join("node_modules"))?;

    let mut child = Command::new(program::bowline()?)
        .args(["edge", "run"])
        .args(line.split_whitespace())
        .current_dir(checkout.path())
        .env("HOME", checkout.path())
        .env("CI", "true")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let _group = Group(child.id().context("it runs")?);
    let mut said = BufReader::new(child.stderr.take().context("standard error is piped")?).lines();
    let published = loop {
        let line = said.next_line().await?.context("it ended")?;
        if line.contains("is the command's port") {
            break line.split_whitespace().next().unwrap_or_default().to_owned();
        }
    };
    // Nobody hears of it when it is ready.
    let began = Instant::now();
    let answer = loop {
        match Outgoing::new(Method::GET, &published).send().await {
            Ok(answer) => break answer,
            Err(error) => ensure!(began.elapsed() < Duration::from_secs(90), "{error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let answer: Value = serde_json::from_slice(&answer.body).with_context(|| answer.text())?;
    // More than one if the first visit took too long on a busy machine.
    assert!(
        answer["visits"].as_u64().is_some_and(|visits| visits >= 1),
        "{answer}"
    );
    assert_eq!(answer["repositories"], json!(["first"]), "{answer}");
    Ok(())
}

/// The processes of the command. How it ends by itself is tested in `commands`; here all of it is killed, since npm passes a
/// signal on to a shell at most.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("-{}", self.0);
        let _ = std::process::Command::new("kill")
            .args(["-KILL", "--", &group])
            .status();
    }
}
