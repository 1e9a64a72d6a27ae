//! Workers AI and AI Gateway: the same Worker code under unmodified miniflare, both ways, and under `bowline dev`, with
//! a model server of our own behind it.

use anyhow::Result;
use bowline_client::Client;
use bowline_client::ai::{Document, Message};
use bowline_client::ai_gateway::{Backoff, GatewayOptions, Patch, Step};
use bowline_e2e::flow;
use bowline_e2e::peers::{Driver, Miniflare};
use bowline_e2e::program::Program;
use bowline_e2e::project::{Access, Credentials, Project};
use bowline_e2e::worker::TestWorker;
use bowline_model_server::ModelServer;
use http::Method;
use serde_json::{Value, json};

/// A remote with models of both kinds of server and a gateway.
pub(crate) struct Stage {
    server: ModelServer,
    pub(crate) project: Project,
    token: Credentials,
}

impl Stage {
    pub(crate) async fn new() -> Result<Self> {
        let server = ModelServer::start().await?;
        let mut project = Project::new(&[])?;
        project.variables = vec![
            ("MODEL_KEY", "m0del-s3cret".to_owned()),
            ("CF_TOKEN", "cf-t0ken".to_owned()),
        ];
        let text = |model: &str| json!({"backend": "server", "model": model, "task": "text-generation"});
        project.configure(
            "AI",
            json!({
                "backends": {
                    "server": {"type": "openai", "url": server.openai(), "api_key_env": "MODEL_KEY"},
                    "account": {"type": "cloudflare", "url": server.cloudflare(), "account_id": "acc", "api_key_env": "CF_TOKEN"},
                },
                "models": {
                    "@cf/echo": text("echo"),
                    "@cf/drip": text("drip"),
                    "@cf/cut": text("early"),
                    "@cf/refuse": text("refuse-401"),
                    "@cf/embed": {"backend": "server", "model": "embed", "task": "text-embeddings"},
                    "@cf/draw": {"backend": "server", "model": "draw", "task": "text-to-image"},
                    "@cf/listen": {"backend": "server", "model": "whisper", "task": "automatic-speech-recognition"},
                    "@cf/flux": {"backend": "account"},
                },
                "providers": {"server": {"url": server.openai(), "api_key_env": "MODEL_KEY"}},
                "gateways": {"gw": {"url": "https://gateway.test/v1/acc/gw"}},
            }),
        )?;
        let token = project.new_token("ai").await?;
        Ok(Self {
            server,
            project,
            token,
        })
    }
}

async fn under_miniflare(version: Miniflare) -> Result<()> {
    let stage = Stage::new().await?;
    let mut remote = stage.project.serve(Access::On).await?;
    let proxy = stage.project.connect(remote.url(), &stage.token).await?;
    let mut worker = Driver::start(version, proxy.url()).await?;
    every_call(&mut worker, &stage).await?;
    worker.stop().await?;
    // One process owns the state at a time.
    remote.terminate().await?;

    let straight = stage.project.serve(Access::Off).await?;
    let mut worker = Driver::start(version, straight.url()).await?;
    every_call(&mut worker, &stage).await?;
    worker.stop().await
}

#[tokio::test]
async fn four() -> Result<()> {
    under_miniflare(Miniflare::V4).await
}

#[tokio::test]
async fn five() -> Result<()> {
    under_miniflare(Miniflare::V5).await
}

#[tokio::test]
async fn under_dev_at_a_remote() -> Result<()> {
    let stage = Stage::new().await?;
    let remote = stage.project.serve(Access::On).await?;
    let mut worker = stage.project.dev(remote.url(), &stage.token).await?;
    every_call(&mut worker, &stage).await?;
    assert!(worker.terminate().await?.success());
    Ok(())
}

#[tokio::test]
async fn under_dev_in_its_own_process() -> Result<()> {
    let stage = Stage::new().await?;
    let mut worker = Program::start(stage.project.with_toolchain(&["dev", "--json", "--port", "0"])?).await?;
    every_call(&mut worker, &stage).await?;
    // What stands behind which name is said at start.
    let said = worker.stderr.text();
    assert!(
        said.contains("AI: @cf/echo → echo at server (OpenAI-compatible"),
        "{said}"
    );
    assert!(worker.terminate().await?.success());
    Ok(())
}

pub(crate) async fn every_call(worker: &mut impl TestWorker, stage: &Stage) -> Result<()> {
    run(worker).await?;
    refusals(worker).await?;
    documents(worker).await?;
    for beta in [json!(null), json!(true)] {
        gateway(worker, stage, &beta).await?;
    }
    // The Worker is across the line; whoever generates still learns that nobody listens.
    let first = worker
        .ok(
            "ai.leave",
            json!({"model": "@cf/drip", "inputs": {"prompt": "x"}}),
        )
        .await?;
    assert_eq!(first, "data: {\"response\":\"drop \"}\n\n");
    tokio::time::timeout(std::time::Duration::from_secs(10), stage.server.streams(0)).await?;
    Ok(())
}

async fn run(worker: &mut impl TestWorker) -> Result<()> {
    let answer = worker
        .ok("ai.run", json!({"model": "@cf/echo", "inputs": {"prompt": "hi"}}))
        .await?;
    assert_eq!(answer["result"]["response"], "you said: hi");
    assert_eq!(answer["requestId"].as_str().map(str::len), Some(36), "{answer}");
    let streamed = json!({"model": "@cf/echo", "inputs": {"prompt": "hi", "stream": true}});
    let answer = worker.ok("ai.run", streamed).await?;
    let events = answer["result"]["stream"].as_str().unwrap();
    assert!(
        events.starts_with("data: {\"response\":\"you \"}\n\ndata: {\"response\":\"said: \"}\n\n"),
        "{events}"
    );
    assert!(events.ends_with("data: [DONE]\n\n"), "{events}");
    let answer = worker
        .ok(
            "ai.raw",
            json!({"model": "@cf/echo", "inputs": {"prompt": "raw"}}),
        )
        .await?;
    assert_eq!(
        (&answer["status"], &answer["headers"]["content-type"]),
        (&json!(200), &json!("application/json"))
    );
    let answer = worker
        .ok(
            "ai.run",
            json!({"model": "@cf/embed", "inputs": {"text": ["one", "two"]}}),
        )
        .await?;
    assert_eq!(answer["result"]["shape"], json!([2, 4]));
    let answer = worker
        .ok(
            "ai.raw",
            json!({"model": "@cf/draw", "inputs": {"prompt": "a dot"}}),
        )
        .await?;
    assert_eq!(answer["headers"]["content-type"], "image/png");
    let media = json!({"model": "@cf/listen", "inputs": {"language": "de"}, "text": "AUDIO", "contentType": "audio/mpeg"});
    assert_eq!(
        worker.ok("ai.media", media).await?["text"],
        "AUDIO from audio.mp3 in de by whisper"
    );
    let socket = json!({"model": "@cf/flux", "inputs": {"encoding": "linear16"}, "text": "ping"});
    let answer = worker.ok("ai.websocket", socket).await?;
    assert_eq!(
        answer["messages"],
        json!([
            "/client/v4/accounts/acc/ai/run/@cf/flux?encoding=linear16 authorized=true",
            "ping"
        ])
    );
    let models = worker.ok("ai.models", json!({"search": "echo"})).await?;
    assert_eq!(
        (&models[0]["name"], &models[1]),
        (&json!("@cf/echo"), &Value::Null)
    );
    Ok(())
}

async fn refusals(worker: &mut impl TestWorker) -> Result<()> {
    let error = worker
        .ok("ai.code", json!({"model": "@cf/none", "inputs": {"prompt": "x"}}))
        .await?;
    assert_eq!(
        (&error["name"], &error["code"], &error["status"]),
        (&json!("InferenceUpstreamError"), &json!(5007), &json!(400))
    );
    let told = error["message"].as_str().unwrap();
    assert!(
        told.starts_with("5007: No such model @cf/none or task; mapped are: ") && told.contains("@cf/echo"),
        "{told}"
    );
    let error = worker
        .ok(
            "ai.code",
            json!({"model": "@cf/refuse", "inputs": {"prompt": "x"}}),
        )
        .await?;
    assert_eq!(
        error["message"],
        "5018: the backend answered 401: model refuse-401 refuses; you sent Bearer ****"
    );
    let answer = worker
        .ok("ai.raw", json!({"model": "@cf/none", "inputs": {"prompt": "x"}}))
        .await?;
    assert_eq!(answer["status"], 400);
    let socket = json!({"model": "@cf/echo", "inputs": {}, "text": "ping"});
    let answer = worker.ok("ai.websocket", socket).await?;
    assert_eq!(answer["status"], 400, "{answer}");
    // A stream that breaks is an error in user code, not an end.
    worker
        .error(
            "ai.run",
            json!({"model": "@cf/cut", "inputs": {"prompt": "a b", "stream": true}}),
        )
        .await?;
    let error = worker.error("ai.autorag", json!({})).await?;
    assert_eq!(error["name"], "AutoRAGNotFoundError", "{error}");
    let error = worker.error("ai.aiSearch", json!({})).await?;
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("aiSearch() is not offered"),
        "{error}"
    );
    Ok(())
}

async fn documents(worker: &mut impl TestWorker) -> Result<()> {
    let files = json!({"files": [
        {"name": "a.html", "type": "text/html", "text": "<h1>Title</h1><p>Some <b>bold</b> text."},
        {"name": "b.csv", "type": "text/csv", "text": "a,b\n1,2\n"},
        {"name": "c.pdf", "type": "application/pdf", "text": "%PDF"},
    ]});
    let converted = worker.ok("ai.toMarkdown", files).await?;
    assert_eq!(converted[0]["data"], "# Title\n\nSome **bold** text.");
    assert_eq!(converted[1]["data"], "| a | b |\n| --- | --- |\n| 1 | 2 |\n");
    assert_eq!(converted[2]["format"], "error");
    let supported = worker.ok("ai.supported", json!({})).await?;
    assert!(
        supported
            .as_array()
            .unwrap()
            .contains(&json!({"extension": ".csv", "mimeType": "text/csv"}))
    );
    Ok(())
}

/// `beta`: by RPC instead of HTTP.
async fn gateway(worker: &mut impl TestWorker, stage: &Stage, beta: &Value) -> Result<()> {
    let step = |model: &str| {
        json!({"provider": "server", "endpoint": "chat/completions", "headers": {},
            "query": {"model": model, "messages": [{"role": "user", "content": "hi"}]}})
    };
    let args = |more: Value| {
        let mut args = json!({"id": "gw"});
        if !beta.is_null() {
            args["beta"] = beta.clone();
        }
        let Value::Object(more) = more else { unreachable!() };
        args.as_object_mut().unwrap().extend(more);
        args
    };
    let options = json!({"gateway": {"metadata": {"z": 1}, "requestTimeoutMs": 5000, "retries": {"maxAttempts": 2, "retryDelayMs": 1}}});
    let call = args(json!({"data": [step("refuse-400"), step("echo")], "options": options}));
    let answer = worker.ok("gateway.run", call).await?;
    assert_eq!(
        (&answer["status"], &answer["headers"]["cf-aig-step"]),
        (&json!(200), &json!("1")),
        "{answer}"
    );
    assert!(
        answer["body"].as_str().unwrap().contains("you said: hi"),
        "{answer}"
    );
    assert_eq!(
        stage.server.last().unwrap().headers["authorization"],
        "Bearer m0del-s3cret"
    );

    let log = answer["headers"]["cf-aig-log-id"].as_str().unwrap();
    let entry = worker.ok("gateway.getLog", args(json!({"log": log}))).await?;
    assert_eq!(
        (&entry["id"], &entry["success"], &entry["isDate"]),
        (&json!(log), &json!(true), &json!(true)),
        "{entry}"
    );
    assert_eq!(
        (&entry["metadata"], &entry["tokens_out"]),
        (&json!({"z": 1}), &json!(5))
    );
    worker
        .ok(
            "gateway.patchLog",
            args(json!({"log": log, "data": {"feedback": 1, "score": 50}})),
        )
        .await?;
    assert_eq!(
        worker.ok("gateway.getLog", args(json!({"log": log}))).await?["score"],
        50
    );
    let error = worker
        .error("gateway.getLog", args(json!({"log": "nope"})))
        .await?;
    assert_eq!(error["message"], "Not Found", "{error}");
    let url = worker
        .ok("gateway.getUrl", args(json!({"provider": "openai"})))
        .await?;
    assert_eq!(url, "https://gateway.test/v1/acc/gw/openai");
    let mut unknown = args(json!({"provider": "openai"}));
    unknown["id"] = "other".into();
    let error = worker.error("gateway.getUrl", unknown).await?;
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("there is no gateway \"other\""),
        "{error}"
    );

    // `AI.run` with a gateway: the second time the model is not asked. A key of its own starts each caller cold.
    let asked = stage.server.seen().len();
    for _ in 0..2 {
        let options = json!({"gateway": {"id": "gw", "cacheTtl": 60, "cacheKey": log}});
        let call = json!({"model": "@cf/echo", "inputs": {"prompt": "kept"}, "options": options});
        let answer = worker.ok("ai.run", call).await?;
        assert_eq!(answer["result"]["response"], "you said: kept");
        assert_eq!(answer["logId"].as_str().map(str::len), Some(32), "{answer}");
    }
    assert_eq!(stage.server.seen().len(), asked + 1);
    Ok(())
}

/// The typed clients, through the proxy: no Worker at all.
#[tokio::test]
async fn from_rust() -> Result<()> {
    let stage = Stage::new().await?;
    let remote = stage.project.serve(Access::On).await?;
    let proxy = stage.project.connect(remote.url(), &stage.token).await?;
    let ai = Client::builder(proxy.url()).build()?.ai("AI");

    let said = ai
        .chat("@cf/echo", &[Message::system("be brief"), Message::user("hi")])
        .await?;
    assert_eq!(said, "you said: hi");
    let mut stream = ai.chat_stream("@cf/echo", &[Message::user("a b")]).await?;
    let mut pieces = Vec::new();
    while let Some(piece) = stream.next().await? {
        pieces.push(piece);
    }
    assert_eq!(pieces, ["you ", "said: ", "a ", "b"]);
    assert_eq!(ai.embed("@cf/embed", &["one", "three"]).await?[1][0], 5.0);
    let answer = ai
        .run("@cf/echo", &json!({"prompt": "raw", "max_tokens": 3}))
        .await?;
    assert_eq!(answer["usage"]["total_tokens"], 8);
    let audio = bowline_client::full("AUDIO");
    let answer = ai
        .run_stream("@cf/listen", "audio/mpeg", audio, &json!({"language": "de"}))
        .await?;
    assert!(answer.request_id().is_some());
    let text = bowline_client::collect(answer.response.into_body(), 1 << 20).await?;
    assert_eq!(
        serde_json::from_slice::<Value>(&text)?["text"],
        "AUDIO from audio.mp3 in de by whisper"
    );
    assert_eq!(ai.models("echo").await?[0].task.name, "Text Generation");
    let page = Document {
        name: "a.html".into(),
        media_type: "text/html".into(),
        content: "<h1>x</h1>".into(),
    };
    assert_eq!(ai.to_markdown(&[page]).await?[0].data.as_deref(), Some("# x"));

    let error = ai.run("@cf/none", &json!({"prompt": "x"})).await.unwrap_err();
    assert!(
        error.to_string().contains("No such model @cf/none or task"),
        "{error}"
    );
    let mut broken = ai.chat_stream("@cf/cut", &[Message::user("a b")]).await?;
    let error = loop {
        match broken.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a stream that broke off ended well"),
            Err(error) => break error,
        }
    };
    assert!(error.may_retry(), "{error}");
    // Whoever drops a stream stops the model at the other end of the line.
    let mut drip = ai.chat_stream("@cf/drip", &[Message::user("x")]).await?;
    drip.next().await?;
    stage.server.streams(1).await;
    drop(drip);
    tokio::time::timeout(std::time::Duration::from_secs(10), stage.server.streams(0)).await?;

    let gateway = ai.gateway("gw");
    let body = json!({"model": "echo", "messages": [{"role": "user", "content": "g"}]});
    let options = GatewayOptions {
        max_attempts: Some(2),
        backoff: Some(Backoff::Linear),
        ..GatewayOptions::default()
    };
    let answer = gateway
        .run(&[Step::new("server", "chat/completions", body)], &options)
        .await?;
    let log = answer.headers()["cf-aig-log-id"].to_str()?.to_owned();
    let text = bowline_client::collect(answer.into_body(), 1 << 20).await?;
    assert!(String::from_utf8_lossy(&text).contains("you said: g"));
    let liked = Patch {
        feedback: Some(1),
        ..Patch::default()
    };
    gateway.patch_log(&log, &liked).await?;
    assert_eq!(gateway.log(&log).await?["feedback"], 1);
    assert_eq!(
        gateway.url("openai").await?,
        "https://gateway.test/v1/acc/gw/openai"
    );
    let error = gateway.log("nope").await.unwrap_err();
    assert!(error.to_string().contains("Not Found"), "{error}");
    Ok(())
}

/// The keys of providers are in no answer, no output and no file, whatever is logged.
#[tokio::test]
async fn keys_are_written_nowhere() -> Result<()> {
    let mut stage = Stage::new().await?;
    stage.project.log = Some("trace");
    let mut remote = stage.project.serve(Access::Off).await?;
    let mut answers = String::new();
    for model in ["@cf/echo", "@cf/refuse", "@cf/flux", "@cf/none"] {
        for path in ["run", "ai-gateway/run"] {
            let body = json!({"inputs": {"prompt": "x"}, "options": {"gateway": {"id": "gw"}}}).to_string();
            let answer = flow::fetch(
                Method::POST,
                remote.url(),
                "AI",
                &format!("https://workers-binding.ai/{path}?version=3"),
            )
            .header("MF-Header-content-type", "application/json")
            .header("MF-Header-cf-consn-model-id", model)
            .body(body)
            .send()
            .await?;
            answers.push_str(&format!("{:?} {}", answer.headers, answer.text()));
        }
    }
    let step = json!([{"provider": "server", "endpoint": "chat/completions", "headers": {"x-own": "0wn-s3cret"}, "query": {"model": "echo", "messages": []}}]);
    let answer = flow::fetch(
        Method::POST,
        remote.url(),
        "AI",
        "https://workers-binding.ai/ai-gateway/universal/run/gw",
    )
    .body(step.to_string())
    .send()
    .await?;
    answers.push_str(&answer.text());
    remote.terminate().await?;
    let mut written = vec![
        ("answers".to_owned(), answers.into_bytes()),
        ("stderr".to_owned(), remote.stderr.text().into_bytes()),
    ];
    let store = stage.project.state().join("ai");
    for entry in std::fs::read_dir(&store)? {
        let path = entry?.path();
        written.push((path.display().to_string(), std::fs::read(&path)?));
    }
    assert!(written.len() > 2, "the gateway's store is in {}", store.display());
    for secret in ["m0del-s3cret", "cf-t0ken", "0wn-s3cret"] {
        for (place, bytes) in &written {
            assert!(
                !String::from_utf8_lossy(bytes).contains(secret),
                "{secret} is in {place}"
            );
        }
    }
    Ok(())
}
