//! Which Worker a call is for.

use std::sync::{Arc, Mutex};

use bowline_binding::{
    Binding, BindingError, BoxDuplex, CallContext, FetchReply, FetchRequest, OutboundSpec, Resources,
    WorkerHost, WorkerSpec, empty, full,
};
use serde_json::{Value, json};

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

struct Namespace {
    folder: tempfile::TempDir,
    host: Arc<Host>,
}

impl Namespace {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["customers/one", "outbound"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("customers/file"), "").unwrap();
        Self {
            folder,
            host: Arc::default(),
        }
    }

    fn build(&self, entry: &Value) -> Result<Arc<dyn Binding>, String> {
        let resources = Resources {
            workers: Some(self.host.clone()),
            ..Resources::new(self.folder.path())
        };
        (crate::DESCRIPTOR.build)(entry, &resources).map_err(|error| error.to_string())
    }

    /// Calls both flows with the same options; they agree.
    async fn call(&self, binding: &Arc<dyn Binding>, options: Option<&str>) -> Result<WorkerSpec, String> {
        let cx = CallContext::new("D", "test").with_options(options);
        let request = FetchRequest {
            method: http::Method::GET,
            url: "http://x/".to_owned(),
            headers: http::HeaderMap::new(),
            body: empty(),
            upgrade: None,
        };
        let fetched = binding.fetch(&cx, request).await;
        let opened = binding.session(&cx).unwrap().await;
        match (fetched, opened) {
            (Ok(_), Ok(_)) => {
                let specs = std::mem::take(&mut *self.host.0.lock().unwrap());
                assert_eq!(specs[0], specs[1]);
                Ok(specs[0].clone())
            }
            (Err(one), Err(other)) => {
                assert_eq!(one.message, other.message);
                Err(one.message)
            }
            _ => panic!("the flows differ"),
        }
    }
}

#[tokio::test]
async fn names() {
    let namespace = Namespace::new();
    let entry = json!({"binding": "D", "namespace": "n", "folder": "customers"});
    let binding = namespace.build(&entry).unwrap();
    let found = |options: Value| {
        let (namespace, binding) = (&namespace, &binding);
        async move { namespace.call(binding, Some(&options.to_string())).await }
    };
    let spec =
        found(json!({"name": "one", "args": {}, "options": {"limits": {"cpuMs": 5, "subRequests": 1}}}))
            .await
            .unwrap();
    assert_eq!(spec.project, namespace.folder.path().join("customers/one"));
    assert_eq!(spec.outbound, None);
    let long = "x".repeat(64);
    for name in [
        "two",
        "file",
        "",
        ".",
        "..",
        "../outbound",
        "one/",
        "/etc",
        "o\0",
        &long,
    ] {
        assert_eq!(
            found(json!({"name": name})).await.unwrap_err(),
            "Worker not found.",
            "{name}"
        );
    }
    // An upload hides what the folder has, and is there at once.
    let uploads = crate::Uploads::new(namespace.folder.path());
    uploads.create("n").unwrap();
    uploads.put("n", "one", "v1", |_| Ok(())).unwrap();
    let spec = found(json!({"name": "one"})).await.unwrap();
    assert_eq!(spec.project, namespace.folder.path().join("dispatch/n/one/v1"));
    assert!(uploads.delete("n", "one").unwrap());
    let spec = found(json!({"name": "one"})).await.unwrap();
    assert_eq!(spec.project, namespace.folder.path().join("customers/one"));
    // What is added later is there.
    std::fs::create_dir(namespace.folder.path().join("customers/two")).unwrap();
    found(json!({"name": "two"})).await.unwrap();
    for (options, part) in [
        (json!({"name": "one", "args": {"a": 1}}), "`args` are not handed"),
        (
            json!({"name": "one", "options": {"limits": {"cpuMs": -1}}}),
            "`limits.cpuMs`",
        ),
        (
            json!({"name": "one", "options": {"limits": {"memory": 1}}}),
            "unknown field `memory`",
        ),
        (
            json!({"name": "one", "options": {"colour": 1}}),
            "unknown field `colour`",
        ),
        (
            json!({"name": "one", "options": {"outbound": {"p": 1}}}),
            "no outbound Worker",
        ),
        (json!({"name": 1}), "was given something else"),
        (json!([]), "was given something else"),
    ] {
        let error = found(options.clone()).await.unwrap_err();
        assert!(error.contains(part), "{options}: {error}");
    }
    assert!(
        namespace
            .call(&binding, None)
            .await
            .unwrap_err()
            .contains("get(name)")
    );
}

#[tokio::test]
async fn outbound() {
    let namespace = Namespace::new();
    let entry = json!({
        "namespace": "n", "folder": "customers", "outbound_worker": "outbound",
        "outbound": {"service": "out", "parameters": ["customer", "plan"]},
    });
    let binding = namespace.build(&entry).unwrap();
    let options = |outbound: Value| json!({"name": "one", "options": {"outbound": outbound}}).to_string();
    let spec = namespace
        .call(&binding, Some(&options(json!({"customer": "c-1"}))))
        .await
        .unwrap();
    let expected = OutboundSpec {
        project: namespace.folder.path().join("outbound"),
        params: json!({"customer": "c-1"}).as_object().unwrap().clone(),
    };
    assert_eq!(spec.outbound, Some(expected));
    let error = namespace
        .call(&binding, Some(&options(json!({"other": 1}))))
        .await
        .unwrap_err();
    assert!(error.contains("`outbound.other`"), "{error}");
}

#[test]
fn what_is_no_namespace() {
    let namespace = Namespace::new();
    crate::Uploads::new(namespace.folder.path())
        .create("made")
        .unwrap();
    namespace.build(&json!({"namespace": "made"})).unwrap();
    for (entry, part) in [
        (json!({"namespace": "n"}), "`folder`: is missing"),
        (json!({"folder": "nowhere"}), "does not exist"),
        (json!({"folder": 1}), "must be a text"),
        (
            json!({"folder": "customers", "outbound": {"service": "o"}}),
            "`outbound_worker`: is missing",
        ),
        (
            json!({"folder": "customers", "outbound": 1, "outbound_worker": "outbound"}),
            "must be an object",
        ),
        (
            json!({"folder": "customers", "outbound_worker": "outbound"}),
            "is of no use",
        ),
        (
            json!({"folder": "customers", "outbound": {"parameters": [1]}, "outbound_worker": "outbound"}),
            "list of texts",
        ),
    ] {
        let error = namespace.build(&entry).err().unwrap();
        assert!(error.contains(part), "{entry}: {error}");
    }
    let error = (crate::DESCRIPTOR.build)(&json!({"folder": "."}), &Resources::new(namespace.folder.path()));
    assert!(
        error
            .err()
            .unwrap()
            .to_string()
            .contains("nothing here runs Workers")
    );
}
