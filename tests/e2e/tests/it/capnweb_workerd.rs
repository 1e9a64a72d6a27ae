//! npm capnweb inside real workerd, as a server for our client and as a client of our server.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use bowline_e2e::client::Outgoing;
use bowline_e2e::{peers, program};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::capnweb::{Server, copied_scripts, scenarios};

const MODULES: [&str; 12] = [
    "worker.mjs",
    "main.mjs",
    "suite.mjs",
    "values.mjs",
    "tags.mjs",
    "cases/calls.mjs",
    "cases/errors.mjs",
    "cases/order.mjs",
    "cases/session.mjs",
    "cases/streams.mjs",
    "cases/stubs.mjs",
    "cases/values.mjs",
];

struct Workerd {
    _child: Child,
    _config: tempfile::NamedTempFile,
    address: String,
}

impl Workerd {
    async fn start() -> Result<Self> {
        let folder = copied_scripts().await?;
        // Modules are embedded by their place beside the configuration.
        let config = tempfile::Builder::new().suffix(".capnp").tempfile_in(&folder)?;
        std::fs::write(config.path(), configuration())?;
        let binary = peers::installed()
            .await?
            .join("node_modules/@cloudflare/workerd-linux-64/bin/workerd");
        let mut command = program::cleared(&binary);
        let mut child = command
            .args(["serve", "--control-fd=1"])
            .arg(config.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start workerd")?;
        let mut line = String::new();
        let mut control = BufReader::new(child.stdout.take().context("standard output is piped")?);
        tokio::time::timeout(Duration::from_secs(60), control.read_line(&mut line)).await??;
        let listening: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        let port = listening["port"].as_u64().context("a port")?;
        Ok(Self {
            _child: child,
            _config: config,
            address: format!("127.0.0.1:{port}"),
        })
    }
}

fn configuration() -> String {
    let modules: String = MODULES
        .iter()
        .map(|name| format!("(name = \"{name}\", esModule = embed \"{name}\"),"))
        .collect();
    format!(
        r#"using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [
        {modules}
        (name = "capnweb", esModule = embed "node_modules/capnweb/dist/index-workers.js"),
      ],
      compatibilityDate = "2026-01-01",
      compatibilityFlags = ["nodejs_compat"],
      globalOutbound = "loopback",
    )),
    (name = "loopback", network = (allow = ["private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
"#
    )
}

#[tokio::test]
async fn the_client_inside_workerd_finds_nothing_missing() -> Result<()> {
    // Workers fill in the reason phrase of a status.
    const FILLED_IN: [&str; 4] = [
        "make-response",
        "describe-response",
        "echo-response",
        "describe-response-200",
    ];
    let (workerd, rust) = (Workerd::start().await?, Server::rust().await?);
    let [_, ws, _, http] = rust.arguments();
    let url = format!("http://{}/run", workerd.address);
    let run = Outgoing::new(http::Method::POST, &url).body(json!({"ws": ws, "http": http}).to_string());
    let answer = tokio::time::timeout(Duration::from_secs(240), run.send()).await??;
    let lines: Vec<Value> = answer
        .text()
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .with_context(|| answer.text())?;
    let failed: Vec<&Value> = lines
        .iter()
        .filter(|line| line["ok"] == false)
        .filter(|line| {
            let filled_in = line["case"]
                .as_str()
                .is_some_and(|name| FILLED_IN.contains(&name));
            !filled_in
                || line["error"]
                    .as_str()
                    .is_none_or(|error| !error.contains("statusText"))
        })
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    println!("{}", lines.last().context("a summary")?);
    assert!(lines.len() > 450, "{} cases", lines.len());
    Ok(())
}

#[tokio::test]
async fn the_rust_client_works_with_the_server_inside_workerd() -> Result<()> {
    let (workerd, javascript) = (Workerd::start().await?, Server::javascript().await?);
    let ours = Server::at(&workerd.address);
    let names =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/capnweb/examples/testclient/scenarios.rs");
    let source = std::fs::read_to_string(names)?;
    let scripted = [
        "peer-",
        "send-stream-flow",
        "batch-status",
        "batch-empty",
        "batch-garbage",
    ];
    let list = source
        .split_once("pub(crate) const NAMES: &[&str] = &[")
        .and_then(|(_, rest)| rest.split_once("];"))
        .context("the list of scenarios")?
        .0;
    let only: Vec<&str> = list
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|name| !scripted.iter().any(|scripted| name.starts_with(scripted)))
        .collect();
    let (inside, outside) = tokio::try_join!(scenarios(&ours, &only), scenarios(&javascript, &only))?;
    for (name, result) in &inside {
        // Workers fill in the reason phrase of a status.
        if !["decode", "encode"].contains(&name.as_str()) {
            assert_eq!(result, &outside[name], "{name}");
        }
    }
    println!("{} scenarios", inside.len());
    assert!(inside.len() > 50);
    Ok(())
}
