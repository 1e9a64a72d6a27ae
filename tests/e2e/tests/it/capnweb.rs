//! The Rust Cap'n Web against npm's, both ways.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bowline_e2e::{peers, program};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const PACKAGE: &str = include_str!("../../../capnweb/package.json");
const LOCK: &str = include_str!("../../../capnweb/package-lock.json");

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../capnweb")
}

/// A command that runs one of the JavaScript programs.
pub(super) async fn js(script: &str) -> Result<Command> {
    let folder = copied_scripts().await?;
    let mut command = program::cleared(&folder.join("node_modules/node/bin/node"));
    command.arg(folder.join(script)).current_dir(&folder);
    Ok(command)
}

/// The folder with the scripts beside the modules that they look for.
pub(super) async fn copied_scripts() -> Result<PathBuf> {
    let folder = peers::install("bowline-capnweb-peers", PACKAGE, LOCK).await?;
    copy_scripts(&scripts(), &folder)?;
    Ok(folder)
}

fn copy_scripts(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() && name != "node_modules" {
            copy_scripts(&path, &to.join(name))?;
        } else if matches!(extension, Some("mjs")) {
            // By rename: another test may be starting the same script.
            let fresh = to.join(format!(".{}-{}", std::process::id(), name.display()));
            std::fs::copy(&path, &fresh)?;
            std::fs::rename(&fresh, to.join(name))?;
        }
    }
    Ok(())
}

pub(super) struct Server {
    _child: Option<Child>,
    address: String,
}

impl Server {
    async fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().context("standard output is piped")?);
        tokio::time::timeout(Duration::from_secs(30), stdout.read_line(&mut line)).await??;
        let address = line.trim().strip_prefix("listening ");
        let address = address
            .with_context(|| format!("`{line}` names no address"))?
            .to_owned();
        Ok(Self {
            _child: Some(child),
            address,
        })
    }

    /// One that runs already.
    pub(super) fn at(address: &str) -> Self {
        Self {
            _child: None,
            address: address.to_owned(),
        }
    }

    pub(super) async fn rust() -> Result<Self> {
        Self::start(program::cleared(&program::example("capnweb", "testserver")?)).await
    }

    pub(super) async fn javascript() -> Result<Self> {
        Self::start(js("server.mjs").await?).await
    }

    pub(super) fn arguments(&self) -> [String; 4] {
        let Self { address, .. } = self;
        [
            "--ws".into(),
            format!("ws://{address}/ws"),
            "--http".into(),
            format!("http://{address}/batch"),
        ]
    }
}

async fn lines(mut command: Command) -> Result<Vec<Value>> {
    command.stderr(Stdio::inherit());
    let output = program::run(command, Duration::from_secs(300)).await?;
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

#[expect(clippy::print_stdout, reason = "conformance shows how many cases there were")]
async fn suite(version: &str) -> Result<()> {
    let server = Server::rust().await?;
    let mut client = js("client.mjs").await?;
    client.args(server.arguments()).args(["--capnweb", version]);
    let lines = lines(client).await?;
    let failed: Vec<_> = lines.iter().filter(|line| line["ok"] == false).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let summary = lines.last().context("a summary")?;
    println!("{summary}");
    assert!(
        summary["passed"].as_u64() > Some(20) && summary["failed"] == 0,
        "{summary}"
    );
    Ok(())
}

#[tokio::test]
async fn the_javascript_client_finds_nothing_missing() -> Result<()> {
    suite("0.12").await
}

#[tokio::test]
async fn the_old_javascript_client_works() -> Result<()> {
    suite("0.5").await
}

/// The results of the scenarios named, or of all.
pub(super) async fn scenarios(server: &Server, only: &[&str]) -> Result<BTreeMap<String, Value>> {
    let mut client = program::cleared(&program::example("capnweb", "testclient")?);
    client.args(server.arguments());
    if !only.is_empty() {
        client.args(["--only", &only.join(",")]);
    }
    let lines = lines(client).await?;
    let mut results = BTreeMap::new();
    for line in lines {
        assert_eq!(line["ok"], true, "{line}");
        let name = line["scenario"].as_str().context("a scenario has a name")?;
        results.insert(name.to_owned(), line["result"].clone());
    }
    Ok(results)
}

/// Every scenario against the JavaScript server, and what it can do against ours: the results are the same.
#[tokio::test]
async fn the_rust_client_sees_the_same_everywhere() -> Result<()> {
    let (javascript, rust) = (Server::javascript().await?, Server::rust().await?);
    let theirs = scenarios(&javascript, &[]).await?;
    for (name, expected) in [
        ("square", json!(25)),
        ("pipeline-deep", json!([2, 5, 102])),
        ("stub-home", json!([7, 1])),
        ("map", json!([0, 1, 1, 4, 9, 25])),
        ("send-stream", json!(4950)),
        ("batch", json!([36, 5, 9])),
        ("sink-fail", json!("Write limit exceeded")),
        (
            "peer-proto-keys",
            json!({"value": {"t": "obj", "v": [["normal", {"t": "str", "v": "kept"}]]}}),
        ),
    ] {
        assert_eq!(theirs[name], expected, "{name}");
    }
    // JavaScript's server sends as many before the first acknowledgement.
    let flow = theirs["send-stream-flow"].as_u64();
    assert!((Some(5)..=Some(10)).contains(&flow), "{flow:?}");
    // Only the JavaScript server plays scripts and broken batches.
    let scripted = [
        "peer-",
        "send-stream-flow",
        "batch-status",
        "batch-empty",
        "batch-garbage",
    ];
    let mut client = program::cleared(&program::example("capnweb", "testclient")?);
    let names: Vec<&str> = theirs
        .keys()
        .map(String::as_str)
        .filter(|name| !scripted.iter().any(|scripted| name.starts_with(scripted)))
        .collect();
    client.args(rust.arguments()).args(["--only", &names.join(",")]);
    for line in lines(client).await? {
        let name = line["scenario"].as_str().context("a scenario has a name")?;
        let (mut ours, mut theirs) = (line["result"].clone(), theirs[name].clone());
        // JavaScript puts integer-like keys first; and counts the running call itself or not.
        for result in [&mut ours, &mut theirs] {
            if let Some(order) = result
                .pointer_mut("/object-order/v")
                .and_then(Value::as_array_mut)
            {
                order.sort_by_key(|member| member[0].to_string());
            }
            if name == "stats-clean" {
                assert_eq!(result["before"], result["after"]);
                *result = result["local"].take();
            }
        }
        assert_eq!(ours, theirs, "{name}: {line}");
    }
    Ok(())
}

/// Puts promise exports that were settled in the place where they stand, and drops their own messages: a server may do
/// either.
fn inlined(frames: &[Value]) -> Vec<String> {
    let settled: BTreeMap<i64, Value> = frames
        .iter()
        .filter(|frame| frame[0] == "resolve")
        .filter_map(|frame| Some((frame[1].as_i64().filter(|id| *id < 0)?, frame[2].clone())))
        .collect();
    fn fill(value: &mut Value, settled: &BTreeMap<i64, Value>) {
        let promised = (value[0] == "promise").then(|| value[1].as_i64()).flatten();
        if let Some(result) = promised.and_then(|id| settled.get(&id)) {
            *value = result.clone();
            return fill(value, settled);
        }
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| fill(item, settled)),
            Value::Object(members) => members.values_mut().for_each(|member| fill(member, settled)),
            _ => {}
        }
    }
    let mut frames: Vec<String> = frames
        .iter()
        .filter(|frame| frame[0] != "resolve" || frame[1].as_i64() > Some(0))
        .map(|frame| {
            let mut frame = frame.clone();
            fill(&mut frame, &settled);
            frame.to_string()
        })
        .collect();
    frames.sort();
    frames
}

/// The recorded conversations, frame by frame.
#[tokio::test]
async fn the_recorded_conversations_hold() -> Result<()> {
    use bowline_e2e::client::{Outgoing, Upgraded};
    use bowline_e2e::flow::next;
    use futures_util::SinkExt;
    use tokio_tungstenite::tungstenite::Message;

    let server = Server::rust().await?;
    let mut played = 0;
    for entry in std::fs::read_dir(scripts().join("vectors"))? {
        let path = entry?.path();
        let vector: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let Some(steps) = vector["steps"].as_array() else {
            continue;
        };
        let url = format!("http://{}/ws", server.address);
        let Upgraded::Socket(mut socket, _) = Outgoing::new(http::Method::GET, &url).upgrade().await? else {
            anyhow::bail!("no session at {url}")
        };
        for step in steps {
            for frame in step["send"].as_array().into_iter().flatten() {
                socket.send(Message::text(frame.to_string())).await?;
            }
            let expected = inlined(step["receive"].as_array().map_or(&[], Vec::as_slice));
            let mut received = Vec::new();
            while inlined(&received).len() < expected.len() {
                match next(&mut socket)
                    .await
                    .with_context(|| format!("{}: {received:?} of {expected:?}", path.display()))?
                {
                    Message::Text(text) => received.push(serde_json::from_str(&text)?),
                    other => {
                        anyhow::bail!("{}: {other:?} after {received:?} of {expected:?}", path.display())
                    }
                }
            }
            assert_eq!(inlined(&received), expected, "{}", path.display());
            if let Some(code) = step["close"]["code"].as_u64() {
                let Message::Close(Some(frame)) = next(&mut socket).await? else {
                    anyhow::bail!("{}: no close", path.display())
                };
                assert_eq!(u64::from(u16::from(frame.code)), code);
                assert_eq!(frame.reason.as_str(), step["close"]["reason"]);
            }
        }
        played += 1;
    }
    assert!(played >= 14, "{played} conversations were played");
    Ok(())
}

/// Every kind of value: the exact expression, and what the server reads in it.
#[tokio::test]
async fn the_recorded_expressions_hold() -> Result<()> {
    use bowline_e2e::client::Outgoing;

    let server = Server::rust().await?;
    let file = std::fs::read(scripts().join("vectors/15-values.json"))?;
    let vector: Value = serde_json::from_slice(&file)?;
    let mut asked = 0;
    for (kind, expression) in vector["make"].as_object().context("kinds")? {
        // One exchange each, so that whatever a value exports has the same ids.
        let described = &vector["describe"][kind];
        let mut body = format!(
            "{}\n[\"pull\",1]",
            json!(["push", ["pipeline", 0, ["make"], [kind]]])
        );
        if !described.is_null() {
            let push = json!(["push", ["pipeline", 0, ["describe"], [expression]]]);
            body.push_str(&format!("\n{push}\n[\"pull\",2]"));
        }
        let url = format!("http://{}/batch", server.address);
        let answer = Outgoing::new(http::Method::POST, &url).body(body).send().await?;
        let answers: Vec<Value> = answer
            .text()
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .with_context(|| answer.text())?;
        let find = |id: i64| {
            answers
                .iter()
                .find(|answer| answer[1] == id)
                .map(|answer| &answer[2])
        };
        let same = |ours: Option<&Value>, theirs: &Value| {
            // JavaScript's numbers have one type.
            ours.is_some_and(|ours| {
                ours == theirs || ours.as_f64().is_some_and(|ours| Some(ours) == theirs.as_f64())
            })
        };
        assert!(same(find(1), expression), "{kind}: {answers:?} for {expression}");
        if !described.is_null() {
            assert_eq!(
                find(2).map(ToString::to_string),
                Some(described.to_string()),
                "{kind}"
            );
        }
        asked += 1;
    }
    assert!(asked > 50, "{asked} kinds");
    Ok(())
}

/// Raw frames, honest and hostile: both servers answer the same. What is to differ is named where the frames are.
#[tokio::test]
async fn raw_frames_are_answered_alike() -> Result<()> {
    let (javascript, rust) = (Server::javascript().await?, Server::rust().await?);
    let mut player = js("differential.mjs").await?;
    player.args(["--theirs", &javascript.address, "--ours", &rust.address]);
    let lines = lines(player).await?;
    let (summary, differing) = lines.split_last().context("a summary")?;
    println!("{summary}");
    assert!(
        differing.is_empty() && summary["passed"].as_u64() > Some(4000),
        "{summary} {differing:#?}"
    );
    Ok(())
}

/// What the example of the typed layer sees of a server.
async fn typed_client(server: &Server) -> Result<String> {
    let mut client = program::cleared(&program::example("capnweb", "typed")?);
    client.args(["connect", &format!("ws://{}/", server.address)]);
    client.stderr(Stdio::inherit());
    let output = program::run(client, Duration::from_secs(60)).await?;
    ensure!(output.status.success(), "the client failed: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Typed Rust, as the client of npm's server and of its own: it sees the same.
#[tokio::test]
async fn the_typed_client_sees_the_same_everywhere() -> Result<()> {
    let javascript = Server::start(js("notebook-server.mjs").await?).await?;
    let mut rust = program::cleared(&program::example("capnweb", "typed")?);
    rust.arg("serve");
    let rust = Server::start(rust).await?;
    let (theirs, ours) = (typed_client(&javascript).await?, typed_client(&rust).await?);
    assert_eq!(theirs, ours);
    assert!(ours.ends_with("heard true\n"), "{ours}");
    Ok(())
}

/// Typed Rust, as the server of npm's client.
#[tokio::test]
async fn the_javascript_client_knows_no_types() -> Result<()> {
    let mut rust = program::cleared(&program::example("capnweb", "typed")?);
    rust.arg("serve");
    let rust = Server::start(rust).await?;
    let mut client = js("notebook-client.mjs").await?;
    client.arg(&rust.address);
    let lines = lines(client).await?;
    let passed = lines.last().and_then(|line| line["passed"].as_u64());
    assert_eq!(passed, Some(22), "{lines:?}");
    Ok(())
}
