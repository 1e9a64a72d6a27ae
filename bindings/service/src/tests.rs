//! The binding on real upstreams.

use std::sync::{Arc, Mutex};

use bowline_binding::{
    Binding, BindingError, BoxDuplex, CallContext, FetchReply, FetchRequest, Resources, WorkerHost,
    WorkerSpec, collect, full,
};
use capnweb::SessionOptions;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn build(entry: Value, resources: &Resources) -> Result<Arc<dyn Binding>, String> {
    (crate::DESCRIPTOR.build)(&entry, resources).map_err(|error| error.to_string())
}

fn cx() -> CallContext {
    CallContext::new("SVC", "test")
}

fn post(url: &str, body: &'static str) -> FetchRequest {
    FetchRequest {
        method: Method::POST,
        url: url.to_owned(),
        headers: HeaderMap::new(),
        body: full(body),
        upgrade: None,
    }
}

#[tokio::test]
async fn an_http_upstream_is_asked_below_its_path() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let count = stream.read(&mut head).await.unwrap();
        *seen.lock().unwrap() = String::from_utf8_lossy(&head[..count]).to_lowercase();
        let answer =
            b"HTTP/1.1 302 Elsewhere\r\nlocation: http://other.example/\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(answer).await.unwrap();
    });
    let entry = json!({"binding": "SVC", "service": "s", "url": format!("http://{address}/base/")});
    let binding = build(entry, &Resources::new(std::env::temp_dir())).unwrap();
    let reply = binding
        .fetch(&cx(), post("https://user.example/a?b=c", "x"))
        .await
        .unwrap();
    let FetchReply::Response(response) = reply else {
        panic!("an upgrade")
    };
    // Redirects are answers.
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(response.headers()["location"], "http://other.example/");
    assert_eq!(collect(response.into_body(), 10).await.unwrap(), "ok");
    let head = heads.lock().unwrap().clone();
    assert!(head.starts_with("post /base/a?b=c http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
    assert!(
        head.contains("x-forwarded-host: user.example\r\n") && head.contains("x-forwarded-proto: https\r\n")
    );
    // No session: the missing key is named.
    let error = binding.session(&cx()).unwrap().await.err().unwrap();
    assert!(error.message.contains("`capnweb`"), "{error}");
}

#[tokio::test]
async fn a_cap_n_web_upstream_is_spliced() {
    struct Adder;
    impl capnweb::Target for Adder {
        fn call(&self, call: capnweb::Call) -> capnweb::Answer {
            let sum = call
                .args
                .iter()
                .filter_map(|arg| {
                    if let capnweb::Value::Number(n) = arg {
                        Some(*n)
                    } else {
                        None
                    }
                })
                .sum::<f64>();
            capnweb::Value::from(sum).into()
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(|request| async {
                let main: Arc<dyn capnweb::Target> = Arc::new(Adder);
                Ok::<_, std::convert::Infallible>(capnweb::server::upgrade(
                    request,
                    SessionOptions::default(),
                    |_| main,
                ))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                    .with_upgrades(),
            );
        }
    });
    let entry = json!({"binding": "SVC", "service": "s", "capnweb": format!("ws://{address}/rpc")});
    let binding = build(entry, &Resources::new(std::env::temp_dir())).unwrap();
    let duplex = binding.session(&cx()).unwrap().await.unwrap();
    let main = capnweb::connect_upgraded(duplex, SessionOptions::default()).await;
    assert_eq!(main.call("add", [1.into(), 2.into()]).await.unwrap(), 3.into());
    let error = binding.fetch(&cx(), post("http://x/", "")).await.err().unwrap();
    assert!(error.message.contains("`url`"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let entry =
        json!({"service": "s", "url": format!("http://{address}"), "capnweb": format!("ws://{address}")});
    let binding = build(entry, &Resources::new(std::env::temp_dir())).unwrap();
    let error = binding.fetch(&cx(), post("http://x/", "")).await.err().unwrap();
    assert!(
        error.message.contains(&format!("{address} does not answer")),
        "{error}"
    );
    let error = binding.session(&cx()).unwrap().await.err().unwrap();
    assert!(
        error.message.contains(&format!("{address} does not answer")),
        "{error}"
    );
}

/// Notes what it was asked for.
#[derive(Debug, Default)]
struct Host(Mutex<Vec<WorkerSpec>>);

#[async_trait::async_trait]
impl WorkerHost for Host {
    async fn fetch(&self, worker: &WorkerSpec, _: FetchRequest) -> Result<FetchReply, BindingError> {
        self.0.lock().unwrap().push(worker.clone());
        Ok(http::Response::new(full("from the Worker")).into())
    }

    async fn session(&self, worker: &WorkerSpec) -> Result<BoxDuplex, BindingError> {
        self.0.lock().unwrap().push(worker.clone());
        Ok(Box::new(tokio::io::duplex(1).0))
    }
}

#[tokio::test]
async fn a_worker_is_named_with_entrypoint_and_props() {
    let folder = std::env::temp_dir();
    let host = Arc::new(Host::default());
    let resources = Resources {
        workers: Some(host.clone()),
        ..Resources::new(&folder)
    };
    let entry = json!({"service": "s", "worker": ".", "entrypoint": "Admin", "props": {"a": 1}});
    let binding = build(entry, &resources).unwrap();
    binding.fetch(&cx(), post("http://x/", "")).await.unwrap();
    binding.session(&cx()).unwrap().await.unwrap();
    let spec = WorkerSpec {
        project: folder.join("."),
        entrypoint: Some("Admin".to_owned()),
        props: Some(json!({"a": 1})),
        outbound: None,
    };
    assert_eq!(*host.0.lock().unwrap(), [spec.clone(), spec]);
}

#[test]
fn what_is_no_target() {
    let resources = Resources {
        workers: Some(Arc::new(Host::default())),
        ..Resources::new(std::env::temp_dir())
    };
    for (entry, part) in [
        (json!({"service": "s"}), "has no target"),
        (json!({"service": 1}), "`service`: must be a text"),
        (json!({"worker": "no/such/folder"}), "does not exist"),
        (json!({"worker": ".", "url": "http://x"}), "answers both flows"),
        (json!({"worker": ".", "props": []}), "`props`: must be an object"),
        (json!({"url": "ftp://x"}), "must be a http URL"),
        (
            json!({"url": "http://user:secret@x"}),
            "must not hold credentials",
        ),
        (json!({"url": "nonsense"}), "is not a URL"),
        (json!({"capnweb": "https://x"}), "must be a ws URL"),
        (
            json!({"url": "http://x", "entrypoint": "E"}),
            "`entrypoint`: needs a `worker`",
        ),
        (
            json!({"url": "http://x", "props": {}}),
            "`props`: needs a `worker`",
        ),
    ] {
        let error = build(entry.clone(), &resources).err().unwrap();
        assert!(error.contains(part), "{entry}: {error}");
        assert!(!error.contains("secret"));
    }
    let error = build(json!({"worker": "."}), &Resources::new(std::env::temp_dir()))
        .err()
        .unwrap();
    assert!(error.contains("nothing here runs Workers"), "{error}");
}
