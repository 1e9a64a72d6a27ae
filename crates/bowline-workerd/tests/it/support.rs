//! A project in a folder, and a service that answers every flow and counts upgrades.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_binding::{Body, BoxFuture, Descriptor, WireService, collect, full};
use bowline_config::{BindingKey, Project};
use bowline_wire::flow::{Flow, classify};
use bowline_wire::request;
use bowline_workerd::{Output, Runner, RunnerError, RunnerOptions, Toolchain, ToolchainOptions};
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// What the remote answers for, as a project's keys.
pub(crate) fn keys() -> Vec<BindingKey> {
    let key = |kind: &Descriptor| BindingKey {
        kind: kind.kind,
        wrangler_key: kind.wrangler_key,
        name_key: kind.name_key,
    };
    bowline_remote::REGISTRY.iter().map(key).collect()
}

pub(crate) const CONFIG: &str = r#"{
    "name": "app", "main": "src/index.js", "compatibility_date": "2026-11-17",
    "vars": {"QUOTED": "a\"b\\c\né", "OBJECT": {"x": [1]}},
    "d1_databases": [{"binding": "DB", "database_id": "x", "remote": true}],
    "vectorize": [{"binding": "VEC", "index_name": "x", "remote": true}],
    "send_email": [{"name": "MAIL", "remote": true}],
    "vpc_networks": [{"binding": "VPC", "network_id": "x", "remote": true}]
}"#;

/// Answers every flow of every binding.
#[derive(Default)]
pub(crate) struct Far {
    pub(crate) upgrades: AtomicUsize,
    /// What upgrades are refused with.
    pub(crate) refuse: Option<&'static str>,
    /// Every fetch: URL, inner headers, body.
    pub(crate) seen: Mutex<Vec<Value>>,
    /// The path of every Cap'n Web call.
    pub(crate) calls: Mutex<Vec<String>>,
    /// Every line workerd printed.
    pub(crate) printed: Mutex<Vec<String>>,
}

impl Far {
    pub(crate) fn upgrades(&self) -> usize {
        self.upgrades.load(Ordering::SeqCst)
    }
}

/// [`Far`] under an `Arc`, as a service.
pub(crate) struct Service(pub(crate) Arc<Far>);

impl WireService for Service {
    fn call(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>> {
        let far = self.0.clone();
        Box::pin(answer(far, request))
    }
}

async fn answer(far: Arc<Far>, mut request: Request<Incoming>) -> Response<Body> {
    let call = classify(request.uri(), request.headers()).unwrap();
    if call.upgrade {
        far.upgrades.fetch_add(1, Ordering::SeqCst);
        if let Some(text) = far.refuse {
            let mut response = Response::new(full(text));
            *response.status_mut() = StatusCode::FORBIDDEN;
            return response;
        }
        let key = derive_accept_key(request.headers()["sec-websocket-key"].as_bytes());
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let stream = TokioIo::new(upgrade.await.unwrap());
            let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
            match call.flow {
                Flow::Rpc => rpc(&far, socket).await,
                Flow::Connect => echo(socket, &format!("{}|", call.address.unwrap_or_default())).await,
                Flow::Fetch => echo(socket, "ws|").await,
            }
        });
        return Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-accept", key)
            .body(bowline_binding::empty())
            .unwrap();
    }
    let url = request::url(request.headers()).unwrap();
    let headers: serde_json::Map<String, Value> = request::unwrap(request.headers())
        .unwrap()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let method = request.method().to_string();
    let outer: Vec<String> = request.headers().keys().map(|name| name.to_string()).collect();
    let body = collect(request.into_body(), 1 << 20).await.unwrap();
    let body = String::from_utf8_lossy(&body).into_owned();
    let seen = json!({"binding": call.binding, "method": method, "url": url, "headers": headers, "body": body, "outer": outer});
    far.seen.lock().unwrap().push(seen.clone());
    let answer = match call.binding.as_str() {
        "DB" => {
            json!([{"success": true, "results": {"columns": ["one"], "rows": [[1]]}, "meta": {"duration": 0}}])
        }
        "VEC" => json!({"count": 1, "matches": [{"id": "a", "score": 0.5}]}),
        _ => seen,
    };
    let mut response = Response::builder()
        .status(if call.binding == "VPC" { 302 } else { 200 })
        .header("location", "http://elsewhere/")
        .header("mf-forwarded-response", "true")
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2")
        .body(full(answer.to_string()))
        .unwrap();
    response
        .extensions_mut()
        .insert(hyper::ext::ReasonPhrase::from_static(b"As Told"));
    response
}

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// The least of Cap'n Web: every call answers with its path and its arguments; streams are taken to their end.
async fn rpc(far: &Far, mut socket: Socket) {
    let mut pushed = 0;
    let mut calls = HashMap::new();
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        let message: Value = serde_json::from_str(&text).unwrap();
        let reply = match message[0].as_str().unwrap() {
            "push" => {
                pushed += 1;
                far.calls.lock().unwrap().push(message[1][2].to_string());
                calls.insert(pushed, message[1].clone());
                continue;
            }
            "pipe" => {
                pushed += 1;
                continue;
            }
            "stream" => {
                pushed += 1;
                json!(["resolve", pushed, ["undefined"]])
            }
            "pull" => {
                let id = message[1].as_i64().unwrap();
                let call = &calls[&id];
                let raw = call[3][0].get("EmailMessage::raw").is_some();
                json!(["resolve", id, {"path": call[2].to_string(), "raw": raw, "arguments": call[3].to_string()}])
            }
            _ => continue,
        };
        socket.send(Message::text(reply.to_string())).await.unwrap();
    }
}

async fn echo(mut socket: Socket, prefix: &str) {
    while let Some(Ok(message)) = socket.next().await {
        let reply = match message {
            Message::Text(text) => Message::text(format!("{prefix}{text}")),
            Message::Binary(bytes) => Message::binary([prefix.as_bytes(), &bytes].concat()),
            _ => continue,
        };
        socket.send(reply).await.unwrap();
    }
}

/// A project in a folder that is deleted with it.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new(config: &str, main: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        std::fs::write(folder.path().join("wrangler.jsonc"), config).unwrap();
        std::fs::write(folder.path().join("src/index.js"), main).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) async fn start(&self, far: &Arc<Far>) -> Result<Runner, RunnerError> {
        self.start_with(far, toolchain().await, Duration::from_secs(30))
            .await
    }

    pub(crate) async fn start_with(
        &self,
        far: &Arc<Far>,
        toolchain: Toolchain,
        ready_within: Duration,
    ) -> Result<Runner, RunnerError> {
        let project = Project::load(self.path(), &keys()).unwrap();
        start_within(project, far, toolchain, ready_within).await
    }
}

/// Starts a project with `far` behind every binding.
pub(crate) async fn start(
    project: Project,
    far: &Arc<Far>,
    toolchain: Toolchain,
) -> Result<Runner, RunnerError> {
    start_within(project, far, toolchain, Duration::from_secs(30)).await
}

async fn start_within(
    project: Project,
    far: &Arc<Far>,
    toolchain: Toolchain,
    ready_within: Duration,
) -> Result<Runner, RunnerError> {
    let service: Arc<dyn WireService> = Arc::new(Service(far.clone()));
    let printed = far.clone();
    let names = project.bindings.iter().map(|binding| binding.name.clone());
    Runner::start(RunnerOptions {
        services: names.map(|name| (name, service.clone())).collect(),
        project,
        forms: |kind| {
            bowline_remote::REGISTRY
                .kind(kind)
                .map(|descriptor| descriptor.worker)
        },
        fetches: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        callee: None,
        toolchain,
        temp_dir: std::env::temp_dir(),
        ready_within,
        output: Arc::new(move |line| {
            let (Output::Out(line) | Output::Err(line)) = line;
            printed.printed.lock().unwrap().push(line.to_owned());
        }),
    })
    .await
}

/// Where workerd is installed once for all tests.
pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("toolchain")
}

/// The pinned toolchain, installed once below the target folder.
pub(crate) async fn toolchain() -> Toolchain {
    Toolchain::find(&ToolchainOptions {
        project: PathBuf::from("/nonexistent"),
        workerd: None,
        cache_dir: cache(),
        npm: "npm".into(),
        capnweb: true,
        progress: Arc::new(|_| {}),
    })
    .await
    .unwrap()
}

/// Waits until workerd printed a line that contains `text`.
pub(crate) async fn printed(far: &Far, text: &str) {
    let seen = async {
        while !far.printed.lock().unwrap().iter().any(|line| line.contains(text)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen).await.unwrap();
}

/// Asks the Worker for `path`: the status and the body as JSON (as a text when it is none).
pub(crate) async fn get(runner: &Runner, path: &str) -> (u16, Value) {
    let url = runner.url();
    let authority = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let stream = tokio::net::TcpStream::connect(&authority).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", authority)
        .body(bowline_binding::empty())
        .unwrap();
    let response = tokio::time::timeout(Duration::from_secs(20), sender.send_request(request))
        .await
        .unwrap()
        .unwrap();
    let status = response.status().as_u16();
    let body = collect(response.into_body(), 1 << 20).await.unwrap();
    let body =
        serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into());
    (status, body)
}
