//! What cannot run says why.

use std::sync::Arc;
use std::time::Duration;

use bowline_workerd::{RunnerError, Toolchain, ToolchainError, ToolchainOptions};
use rustix::process::{Pid, Signal, kill_process};

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
    let silent = folder.path().join("silent");
    std::fs::write(&silent, "#!/bin/sh\necho 'still thinking' >&2\nexec sleep 60\n").unwrap();
    std::fs::set_permissions(&silent, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
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
async fn the_projects_own_workerd_comes_first_and_a_wrong_path_is_told() {
    let folder = Folder::new(CONFIG, WORKER);
    let mut options = ToolchainOptions {
        project: folder.path().to_owned(),
        workerd: Some(folder.path().join("none")),
        cache_dir: folder.path().join("cache"),
        capnweb: false,
        progress: Arc::new(|_| {}),
    };
    let error = Toolchain::find(&options).await.unwrap_err();
    assert!(
        matches!(&error, ToolchainError::NotABinary(path) if path.ends_with("none")),
        "{error}"
    );

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
