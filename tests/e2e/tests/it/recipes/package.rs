//! The package itself: how it starts and ends the program, how it fails, what it makes of a configuration, what it ships.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bowline_e2e::peers::Miniflare;
use bowline_e2e::program::{self, Program};
use bowline_e2e::project::{Access, Credentials, Project};
use bowline_e2e::recipes::Kitchen;
use serde_json::{Map, Value, json};
use tokio::process::Command;

const CONNECT: &str = include_str!("../../../recipes/connect.mjs");
const OPTIONS: &str = include_str!("../../../recipes/options.mjs");
const DEADLINE: Duration = Duration::from_secs(60);

/// `connect()` with these options, in a project's folder.
fn connect(project: &Project, kitchen: &Kitchen<'_>, options: &Value) -> Result<Command> {
    std::fs::write(project.folder().join("connect.mjs"), CONNECT)?;
    kitchen.command(
        &Credentials::default(),
        &["node", "connect.mjs", &options.to_string()],
    )
}

/// The one document of a command that ends well.
async fn document(command: Command) -> Result<Value> {
    let output = program::run(command, DEADLINE).await?;
    ensure!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))
}

/// A script in a project's folder, as the program to start.
fn script(project: &Project, text: &str) -> Result<String> {
    let file = project.folder().join("program.sh");
    std::fs::write(&file, format!("#!/bin/sh\n{text}\n"))?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
    Ok(file.to_str().context("a folder's name is text")?.to_owned())
}

#[tokio::test]
async fn a_start_that_fails_says_why() -> Result<()> {
    let project = Project::new(&[])?;
    let kitchen = Kitchen::new(&project, "http://127.0.0.1:1/", Miniflare::V5).await?;
    let remote = "http://127.0.0.1:1/";
    let error = async |options: Value, change: fn(&mut Command)| {
        let mut command = connect(&project, &kitchen, &options)?;
        change(&mut command);
        let failed = document(command).await?;
        assert_eq!(failed["error"]["name"], "BowlineError", "{failed}");
        Ok::<Value, anyhow::Error>(failed["error"].clone())
    };
    let message = |error: &Value| error["message"].as_str().unwrap_or_default().to_owned();

    let missing = error(json!({"remote": remote}), |command| {
        command.env_remove("BOWLINE_BIN");
    });
    let missing = message(&missing.await?);
    assert!(missing.contains("put it in PATH, set BOWLINE_BIN"), "{missing}");
    let wrong = message(&error(json!({"remote": remote, "bin": "/nowhere/bowline"}), |_| {}).await?);
    assert_eq!(
        wrong,
        "the option `bin` names /nowhere/bowline, which is no program that can be run"
    );

    let refused = error(json!({"remote": "ftp://bindings.example.com/"}), |_| {}).await?;
    assert_eq!(refused["exitCode"], 2, "{refused}");
    assert!(message(&refused).starts_with("error: "), "{refused}");

    let chatty = script(&project, "echo hello")?;
    let chatty = message(&error(json!({"remote": remote, "bin": chatty}), |_| {}).await?);
    assert!(
        chatty.contains("said `hello` where its ready line was expected"),
        "{chatty}"
    );
    // It ends with its standard input, which is closed when it is given up.
    let silent = script(&project, "echo thinking >&2; exec cat >/dev/null")?;
    let silent = error(json!({"remote": remote, "bin": silent, "timeoutMs": 500}), |_| {});
    let silent = message(&silent.await?);
    assert!(
        silent.contains("was not ready within 500 ms\nthinking"),
        "{silent}"
    );
    Ok(())
}

#[tokio::test]
async fn the_line_ends_with_its_parent() -> Result<()> {
    let project = Project::new(&[])?;
    let kitchen = Kitchen::new(&project, "http://127.0.0.1:1/", Miniflare::V5).await?;
    for then in ["close", "nothing"] {
        let options = json!({"remote": "http://127.0.0.1:1/", "then": then});
        let mut node = Program::start(connect(&project, &kitchen, &options)?).await?;
        assert!(node.ended().await?.success(), "{then}: {}", node.stderr.text());
        assert_eq!(node.stderr.text(), "", "{then}");
        // Nobody listens any more where it was.
        let address = node
            .url()
            .trim_start_matches("http://")
            .split('/')
            .next()
            .unwrap_or_default();
        assert!(tokio::net::TcpStream::connect(address).await.is_err(), "{then}");
    }
    // A parent that was killed could not say good-bye.
    let options = json!({"remote": "http://127.0.0.1:1/", "then": "wait"});
    let mut node = Program::start(connect(&project, &kitchen, &options)?).await?;
    let children = program::children(node.id().context("it waits")?)?;
    let (line, _) = children
        .iter()
        .find(|(_, name)| name == "bowline")
        .with_context(|| format!("{children:?}"))?;
    node.kill().await?;
    program::gone(*line).await
}

/// One binding of every kind, with what a configuration may say of it.
fn every_kind() -> Value {
    json!({
        "name": "every-kind", "main": "worker.mjs", "compatibility_date": "2026-07-01",
        "ai": {"binding": "AI"},
        "browser": {"binding": "BROWSER", "remote": true},
        "images": {"binding": "IMAGES", "remote": true},
        "media": {"binding": "MEDIA"},
        "stream": {"binding": "STREAM", "remote": true},
        "analytics": {"binding": "ANALYTICS"},
        "kv_namespaces": [
            {"binding": "KV", "id": "one", "remote": true}, {"binding": "KV_OF_NO_ID", "remote": true},
            {"binding": "KV_HERE", "id": "two"},
        ],
        "r2_buckets": [{"binding": "R2", "bucket_name": "bucket", "remote": true}],
        "d1_databases": [
            {"binding": "DB", "database_name": "main", "database_id": "main", "remote": true},
            {"binding": "PREVIEW", "database_name": "p", "database_id": "p", "preview_database_id": "q", "remote": true},
        ],
        "vectorize": [{"binding": "VEC", "index_name": "main", "remote": true}],
        "services": [
            {"binding": "SVC", "service": "callee", "entrypoint": "Admin", "props": {"a": 1}, "remote": true},
            {"binding": "PLAIN", "service": "plain", "remote": true},
        ],
        "dispatch_namespaces": [{"binding": "CUSTOMERS", "namespace": "customers", "remote": true}],
        "vpc_services": [{"binding": "VPC_SERVICE", "service_id": "s"}],
        "vpc_networks": [{"binding": "NETWORK", "network_id": "n"}, {"binding": "TUNNEL", "tunnel_id": "t"}],
        "mtls_certificates": [{"binding": "CERTIFICATE", "certificate_id": "c", "remote": true}],
        "artifacts": [{"binding": "ART", "namespace": "team", "remote": true}],
        "flagship": [{"binding": "FLAGS", "app_id": "app", "remote": true}],
        "pipelines": [
            {"binding": "PIPELINE", "pipeline": "p", "remote": true}, {"binding": "PIPE_STREAM", "stream": "s", "remote": true},
        ],
        "hyperdrive": [{"binding": "HYPERDRIVE", "id": "h", "remote": true}],
        "analytics_engine_datasets": [{"binding": "DATASET", "dataset": "d", "remote": true}],
        "agent_memory": [{"binding": "MEMORY", "namespace": "m"}],
        "ai_search": [{"binding": "SEARCH", "instance_name": "i"}],
        "ai_search_namespaces": [{"binding": "SEARCHES", "namespace": "ns"}],
        "k2": [{"binding": "K2", "stream": "s"}],
        "send_email": [
            {"name": "MAIL", "allowed_destination_addresses": ["to@example.com"], "remote": true},
            {"name": "MAIL_TO_ONE", "destination_address": "to@example.com", "remote": true},
        ],
    })
}

/// The parts of options that name the connection string.
fn remote_parts(options: &Value, url: &Value) -> Map<String, Value> {
    let is_remote = |value: &Value| value["remoteProxyConnectionString"] == *url;
    let mut parts = Map::new();
    for (option, value) in options.as_object().into_iter().flatten() {
        if is_remote(value) {
            parts.insert(option.clone(), value.clone());
        } else if option == "email" {
            let mails = value["send_email"].as_array().into_iter().flatten();
            for mail in mails.filter(|mail| is_remote(mail)) {
                let mut mail = mail.clone();
                mail.as_object_mut().map(|mail| mail.remove("remote"));
                let name = mail["name"]
                    .as_str()
                    .or(mail["binding"].as_str())
                    .unwrap_or_default()
                    .to_owned();
                parts.insert(format!("email.{name}"), mail);
            }
        } else {
            for (name, binding) in value.as_object().into_iter().flatten() {
                if is_remote(binding) {
                    parts.insert(format!("{option}.{name}"), binding.clone());
                }
            }
        }
    }
    parts
}

/// wrangler makes the same options of a configuration, binding by binding.
#[tokio::test]
async fn options_are_those_that_wrangler_makes() -> Result<()> {
    let project = Project::new(&[])?;
    let kitchen = Kitchen::new(&project, "http://127.0.0.1:1/", Miniflare::V5).await?;
    std::fs::write(project.folder().join("every.jsonc"), every_kind().to_string())?;
    std::fs::write(project.folder().join("options.mjs"), OPTIONS)?;
    let made = kitchen.command(&Credentials::default(), &["node", "options.mjs", "every.jsonc"])?;
    let made = document(made).await?;
    let ours = remote_parts(&made["ours"], &made["url"]);
    let wranglers = remote_parts(&made["wranglers"], &made["url"]);
    assert!(
        !ours.contains_key("kvNamespaces.KV_HERE") && ours.len() > 25,
        "{ours:?}"
    );
    assert_eq!(Value::from(ours), Value::from(wranglers));
    Ok(())
}

#[tokio::test]
async fn a_configuration_may_be_toml_and_have_environments() -> Result<()> {
    let project = Project::new(&[])?;
    let remote = project.serve(Access::Off).await?;
    let kitchen = Kitchen::new(&project, remote.url(), Miniflare::V5).await?;
    let toml = "name = \"t\"\n[env.far.ai]\nbinding = \"AI\"\n[[env.far.d1_databases]]\nbinding = \"DB\"\nremote = true\n";
    std::fs::write(project.folder().join("other.toml"), toml)?;
    let ask = "import { connect } from 'bowline';
        const remote = await connect({ remote: process.env.BOWLINE_REMOTE, project: '.' });
        const missing = await remote.bindings('other.toml', 'near').catch(({ message }) => message);
        const absent = await remote.bindings('absent.toml').catch(({ exitCode }) => exitCode);
        console.log(JSON.stringify([await remote.bindings('other.toml'), await remote.bindings('other.toml', 'far'), missing, absent, remote.url]));";
    let ask = ["node", "--input-type=module", "--eval", ask];
    let answer = document(kitchen.command(&Credentials::default(), &ask)?).await?;
    let url = &answer[4];
    let far = json!({
        "ai": {"binding": "AI", "remoteProxyConnectionString": url},
        "d1Databases": {"DB": {"id": "DB", "remoteProxyConnectionString": url}},
    });
    assert_eq!(
        (&answer[0], &answer[1], &answer[3]),
        (&json!({}), &far, &json!(3)),
        "{answer}"
    );
    assert!(
        answer[2]
            .as_str()
            .is_some_and(|text| text.ends_with("has no environment near")),
        "{answer}"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_shipped() -> Result<()> {
    let project = Project::new(&[])?;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../npm/bowline");
    let mut pack = program::cleared(std::path::Path::new("npm"));
    pack.args(["pack", "--dry-run", "--json"])
        .current_dir(&folder)
        .env("HOME", project.folder())
        .env("npm_config_update_notifier", "false");
    let output = program::run(pack, DEADLINE).await?;
    ensure!(output.status.success(), "{output:?}");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "",
        "nothing to complain about"
    );
    let packed: Value = serde_json::from_slice(&output.stdout)?;
    // npm 11 gives a list, npm 12 an object by the name of the package.
    let packed = packed.get(0).or(packed.get("bowline")).context("one package")?;
    let files: Vec<&str> = packed["files"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|file| file["path"].as_str())
        .collect();
    assert_eq!(
        files,
        [
            "README.md",
            "bin/bowline-wrangler.js",
            "package.json",
            "src/bindings.js",
            "src/connect.js",
            "src/error.js",
            "src/index.d.ts",
            "src/index.js",
            "src/plugin.js",
            "src/program.js",
            "src/wrangler.js",
        ]
    );
    let package: Value = serde_json::from_slice(&std::fs::read(folder.join("package.json"))?)?;
    assert_eq!(package.get("dependencies"), None);
    Ok(())
}
