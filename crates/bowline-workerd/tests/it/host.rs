//! Workers that bindings call: bounds, and what callers are told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bowline_binding::{BindingError, ErrorKind, FetchReply, FetchRequest, WorkerHost, WorkerSpec};
use bowline_config::Project;
use bowline_workerd::{Host, HostOptions, Output, ToolchainOptions};
use http::{HeaderMap, Method};
use serde_json::json;

use crate::support::{cache, keys};

const CODE: &str = r#"
import { WorkerEntrypoint } from "cloudflare:workers";
export default class extends WorkerEntrypoint {
  fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/spin") for (;;) ;
    if (pathname === "/eat") { const kept = []; for (;;) kept.push(new Array(100_000).fill(Math.random())); }
    return new Response(JSON.stringify(this.ctx.props));
  }
  add(a, b) { return a + b; }
}
"#;

struct Workers {
    host: Host,
    folder: tempfile::TempDir,
}

impl Workers {
    fn new(most: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wrangler = json!({"name": "callee", "main": "index.js", "compatibility_date": "2026-07-01"});
        std::fs::write(folder.path().join("wrangler.jsonc"), wrangler.to_string()).unwrap();
        std::fs::write(folder.path().join("index.js"), CODE).unwrap();
        let host = Host::new(HostOptions {
            load: Box::new(|path| Ok((Project::load(path, &keys())?, Default::default()))),
            forms: |_| None,
            toolchain: ToolchainOptions {
                project: folder.path().to_owned(),
                workerd: None,
                cache_dir: cache(),
                npm: "npm".into(),
                capnweb: true,
                progress: Arc::new(|_| {}),
            },
            temp_dir: std::env::temp_dir(),
            ready_within: Duration::from_secs(60),
            most,
            heap_mb: 64,
            stuck_after: Duration::from_secs(3),
            output: Arc::new(|line| {
                let (Output::Out(_) | Output::Err(_)) = line;
            }),
        });
        Self { host, folder }
    }

    fn spec(&self, number: i32) -> WorkerSpec {
        WorkerSpec {
            project: self.folder.path().to_owned(),
            entrypoint: None,
            props: Some(json!({"number": number})),
            outbound: None,
        }
    }

    async fn get(&self, number: i32, path: &str) -> Result<String, BindingError> {
        let request = FetchRequest {
            method: Method::GET,
            url: format!("https://callee.example{path}"),
            headers: HeaderMap::new(),
            body: bowline_binding::empty(),
            upgrade: None,
        };
        match self.host.fetch(&self.spec(number), request).await? {
            FetchReply::Response(response) => {
                let body = bowline_binding::collect(response.into_body(), 1 << 16)
                    .await
                    .unwrap();
                Ok(String::from_utf8_lossy(&body).into_owned())
            }
            FetchReply::Upgrade { .. } => panic!("an upgrade"),
        }
    }
}

#[tokio::test]
async fn host_starts_one_process_for_each_entrypoint_and_props() {
    let workers = Workers::new(2);
    assert_eq!(workers.get(1, "/").await.unwrap(), r#"{"number":1}"#);
    assert_eq!(workers.get(2, "/").await.unwrap(), r#"{"number":2}"#);
    // The first is idle and makes room; it can be had again.
    assert_eq!(workers.get(3, "/").await.unwrap(), r#"{"number":3}"#);
    assert_eq!(workers.get(1, "/").await.unwrap(), r#"{"number":1}"#);
    // Sessions in use are not ended for another.
    let held = [
        workers.host.session(&workers.spec(1)).await.unwrap(),
        workers.host.session(&workers.spec(3)).await.unwrap(),
    ];
    let error = workers.get(4, "/").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::RateLimited, "{error}");
    drop(held);
    // What was dropped is let go by its tasks a moment later.
    let mut answer = workers.get(4, "/").await;
    for _ in 0..100 {
        if answer.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = workers.get(4, "/").await;
    }
    assert_eq!(answer.unwrap(), r#"{"number":4}"#);
}

#[tokio::test]
async fn host_speaks_cap_n_web_for_the_worker() {
    let workers = Workers::new(1);
    let duplex = workers.host.session(&workers.spec(1)).await.unwrap();
    let main = capnweb::connect_upgraded(duplex, capnweb::SessionOptions::default()).await;
    assert_eq!(main.call("add", [1.into(), 2.into()]).await.unwrap(), 3.into());
}

#[tokio::test]
async fn host_kills_what_never_gives_its_thread_back() {
    let workers = Workers::new(1);
    let error = workers.get(1, "/spin").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("gave no answer"), "{error}");
    assert_eq!(workers.get(1, "/").await.unwrap(), r#"{"number":1}"#);
}

#[tokio::test]
async fn host_bounds_the_heap() {
    let workers = Workers::new(1);
    let error = workers.get(1, "/eat").await.unwrap_err();
    assert!(error.message.contains("gave no answer"), "{error}");
    assert_eq!(workers.get(1, "/").await.unwrap(), r#"{"number":1}"#);
}

#[tokio::test]
async fn host_says_why_nothing_runs() {
    let workers = Workers::new(1);
    let file: PathBuf = workers.folder.path().join("index.js");
    std::fs::write(&file, "export default {").unwrap();
    let error = workers.get(1, "/").await.unwrap_err();
    assert!(
        error.message.contains("does not run") && error.message.contains("SyntaxError"),
        "{error}"
    );
    let missing = WorkerSpec {
        project: Path::new("/no/such/folder").to_owned(),
        ..workers.spec(1)
    };
    let error = workers.host.session(&missing).await.err().unwrap();
    assert!(error.message.contains("/no/such/folder"), "{error}");
}
