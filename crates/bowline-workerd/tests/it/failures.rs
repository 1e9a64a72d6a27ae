//! What cannot run says why.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bowline_workerd::{RunnerError, Toolchain, ToolchainError, ToolchainOptions};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use crate::support::{CONFIG, Far, Folder, get, toolchain};

const WORKER: &str =
    r#"export default { async fetch() { console.error("the last words"); return new Response("ok"); } };"#;

#[tokio::test]
async fn a_killed_workerd_is_told_with_what_it_printed() {
    let folder = Folder::new(CONFIG, WORKER);
    let runner = folder.start(&Arc::new(Far::default())).await.unwrap();
    assert_eq!(get(&runner, "/").await.1, "ok");
    let pid = Pid::from_raw(runner.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let error = tokio::time::timeout(Duration::from_secs(10), runner.wait())
        .await
        .unwrap();
    assert!(matches!(&error, RunnerError::Exited { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("signal: 9") && text.contains("the last words"),
        "{text}"
    );
}

#[tokio::test]
async fn a_stopped_workerd_is_gone() {
    let folder = Folder::new(CONFIG, WORKER);
    let runner = folder.start(&Arc::new(Far::default())).await.unwrap();
    let pid = Pid::from_raw(runner.pid().cast_signed()).unwrap();
    runner.stop().await;
    assert!(rustix::process::test_kill_process(pid).is_err());
}

fn script(folder: &Path, name: &str, commands: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, format!("#!/bin/sh\n{commands}\n")).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    file
}

/// Not a test by itself: the parent that the next test kills.
#[tokio::test]
async fn a_parent() {
    if std::env::var_os("BOWLINE_TEST_PARENT").is_none() {
        return;
    }
    let folder = Folder::new(CONFIG, WORKER);
    let runner = folder.start(&Arc::new(Far::default())).await.unwrap();
    println!("url {}", runner.url());
    runner.wait().await;
}

#[tokio::test]
async fn workerd_does_not_outlive_a_killed_parent() {
    toolchain().await;
    // What the killed parent leaves behind lies in here.
    let left = tempfile::tempdir().unwrap();
    let mut parent = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "failures::a_parent", "--nocapture"])
        .env("BOWLINE_TEST_PARENT", "1")
        .env("TMPDIR", left.path())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = tokio::io::BufReader::new(parent.stdout.take().unwrap()).lines();
    let url = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some((_, url)) = line.split_once("url ") {
            break url.to_owned();
        }
    };
    // An idle connection to workerd: it ends when workerd does.
    let authority = url.trim_start_matches("http://").trim_end_matches('/');
    let mut connection = tokio::net::TcpStream::connect(authority).await.unwrap();
    connection
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    parent.kill().await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), connection.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "workerd still runs");
}

#[tokio::test]
async fn what_workerd_refuses_is_an_error_with_its_words() {
    for (config, main, says) in [
        (CONFIG, "export default {", "SyntaxError"),
        (CONFIG, "import './missing.js'; export default {};", "missing.js"),
        (
            r#"{"main": "src/index.js", "compatibility_date": "tomorrow"}"#,
            WORKER,
            "compatibility",
        ),
    ] {
        let folder = Folder::new(config, main);
        let error = folder.start(&Arc::new(Far::default())).await.err().unwrap();
        assert!(matches!(&error, RunnerError::Rejected { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn what_we_refuse_names_the_file_and_the_cure() {
    for (config, says) in [
        (r#"{"compatibility_date": "2026-11-17"}"#, "`main` is missing"),
        (r#"{"main": "src/index.js"}"#, "`compatibility_date` is missing"),
        (
            r#"{"main": "src/index.ts", "compatibility_date": "2026-11-17"}"#,
            "bundle it first",
        ),
        (
            r#"{"main": "src/none.js", "compatibility_date": "2026-11-17"}"#,
            "none.js",
        ),
    ] {
        let folder = Folder::new(config, WORKER);
        let error = folder.start(&Arc::new(Far::default())).await.err().unwrap();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_workerd_that_does_not_listen_is_not_waited_for_for_ever() {
    let folder = Folder::new(CONFIG, WORKER);
    let silent = script(
        folder.path(),
        "silent",
        "echo 'still thinking' >&2; exec sleep 60",
    );
    let toolchain = Toolchain {
        workerd: silent,
        ..toolchain().await
    };
    let error = folder
        .start_with(&Arc::new(Far::default()), toolchain, Duration::from_secs(1))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(&error, RunnerError::NotReady { seconds: 1, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("still thinking"), "{error}");
}

#[tokio::test]
async fn the_projects_own_workerd_comes_first_and_what_is_missing_is_told() {
    let folder = Folder::new(CONFIG, WORKER);
    let mut options = ToolchainOptions {
        project: folder.path().to_owned(),
        workerd: Some(folder.path().join("none")),
        cache_dir: folder.path().join("cache"),
        npm: folder.path().join("no-npm"),
        capnweb: false,
        progress: Arc::new(|_| {}),
    };
    let error = Toolchain::find(&options).await.unwrap_err();
    assert!(
        matches!(&error, ToolchainError::NotABinary(path) if path.ends_with("none")),
        "{error}"
    );

    options.workerd = None;
    let error = Toolchain::find(&options).await.unwrap_err();
    assert!(matches!(error, ToolchainError::NoNpm), "{error}");
    options.npm = script(folder.path(), "npm", "echo 'no such registry' >&2; exit 7");
    let error = Toolchain::find(&options).await.unwrap_err().to_string();
    assert!(
        error.contains("exit status: 7") && error.contains("no such registry"),
        "{error}"
    );
    // What a failed installation began is gone.
    assert_eq!(std::fs::read_dir(&options.cache_dir).unwrap().count(), 0);

    let installed = toolchain().await;
    options.project = installed
        .workerd
        .ancestors()
        .nth(5)
        .unwrap()
        .join("node_modules/capnweb/dist");
    assert_eq!(
        Toolchain::find(&options).await.unwrap().workerd,
        installed.workerd
    );
}
