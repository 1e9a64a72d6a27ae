//! The binding against a real server, spoken to as the client in workerd speaks.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bowline_binding::{
    Binding, Body, CallContext, FetchReply, FetchRequest, Resources, UpgradeRequest, collect, full,
};
use bowline_model_server::ModelServer;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;

const RUN: &str = "https://workers-binding.ai/run?version=3";
const BY_GATEWAY: &str = "https://workers-binding.ai/ai-gateway/run?version=3";

struct Line {
    server: ModelServer,
    binding: Arc<dyn Binding>,
    _state: TempDir,
}

impl Line {
    /// Every model of the server's under its own name, and some of other tasks.
    async fn new() -> Self {
        let server = ModelServer::start().await.unwrap();
        let text = |model: &str| json!({"backend": "server", "model": model, "task": "text-generation"});
        let mut models = json!({
            "@cf/embed": {"backend": "server", "model": "embed", "task": "text-embeddings"},
            "@cf/odd-embed": {"backend": "server", "model": "odd", "task": "text-embeddings"},
            "@cf/draw": {"backend": "server", "model": "draw", "task": "text-to-image"},
            "@cf/listen": {"backend": "server", "model": "whisper", "task": "automatic-speech-recognition"},
            "@cf/raw": {"backend": "server", "model": "echo", "task": "text-generation", "shape": "openai"},
            "@cf/down": {"backend": "down", "task": "text-generation"},
            "@cf/flux": {"backend": "account"},
            "@cf/none": {"backend": "account"},
            "@cf/image": {"backend": "account"},
            "@cf/wrong-token": {"backend": "wrong"},
        });
        for name in [
            "echo", "drip", "stall", "cut", "early", "sulk", "garbage", "odd", "tools", "redirect", "flaky-2",
        ] {
            models[format!("@cf/{name}")] = text(name);
        }
        for status in [400, 401, 404, 429, 500, 503] {
            models[format!("@cf/refuse-{status}")] = text(&format!("refuse-{status}"));
        }
        let entry = json!({
            "binding": "AI",
            "backends": {
                "server": {"type": "openai", "url": server.openai(), "api_key_env": "KEY"},
                // Nobody listens at the discard port.
                "down": {"type": "openai", "url": "http://127.0.0.1:9/v1"},
                "account": {"type": "cloudflare", "url": server.cloudflare(), "account_id": "acc", "api_key_env": "TOKEN"},
                "wrong": {"type": "cloudflare", "url": server.cloudflare(), "account_id": "acc", "api_key_env": "KEY"},
            },
            "models": models,
            "gateways": {"gw": {}},
        });
        let state = tempfile::tempdir().unwrap();
        let binding = (crate::DESCRIPTOR.build)(&entry, &resources(&state)).unwrap();
        Self {
            server,
            binding,
            _state: state,
        }
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Response<Body> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        let request = FetchRequest {
            method,
            url: url.to_owned(),
            headers,
            body: full(body),
            upgrade: None,
        };
        match self
            .binding
            .fetch(&CallContext::new("AI", "test"), request)
            .await
            .unwrap()
        {
            FetchReply::Response(response) => response,
            FetchReply::Upgrade { .. } => panic!("nobody asked for an upgrade"),
        }
    }

    async fn run(&self, model: &str, inputs: Value) -> Response<Body> {
        let body = json!({"inputs": inputs, "options": {}}).to_string();
        self.send(
            Method::POST,
            RUN,
            &[("cf-consn-model-id", model), ("content-type", "application/json")],
            body,
        )
        .await
    }

    async fn ok(&self, model: &str, inputs: Value) -> Value {
        let response = self.run(model, inputs).await;
        assert_eq!(response.headers()["content-type"], "application/json");
        assert!(response.headers().contains_key("cf-ai-req-id"));
        let (status, body) = document(response).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// Code, status and description of a refusal.
    async fn refused(&self, model: &str, inputs: Value) -> (u64, u16, String) {
        let (status, body) = document(self.run(model, inputs).await).await;
        assert_eq!(body["name"], "InferenceUpstreamError", "{body}");
        let text = body["description"].as_str().unwrap().to_owned();
        (body["internalCode"].as_u64().unwrap(), status.as_u16(), text)
    }
}

fn resources(state: &TempDir) -> Resources {
    let mut resources = Resources::new(state.path());
    resources.variables = Arc::new(|name| match name {
        "KEY" => Some("s3cret-key".to_owned()),
        "TOKEN" => Some("cf-t0ken".to_owned()),
        _ => None,
    });
    resources
}

async fn document(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let body = collect(response.into_body(), 1 << 20).await.unwrap();
    (
        status,
        serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&body))),
    )
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(collect(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn text_generation() {
    let line = Line::new().await;
    let answer = line
        .ok(
            "@cf/echo",
            json!({"prompt": "hi", "max_tokens": 5, "temperature": 0.5}),
        )
        .await;
    assert_eq!(answer["response"], "you said: hi");
    assert_eq!(answer["usage"]["total_tokens"], 8);
    let sent = line.server.last().unwrap();
    assert_eq!(sent.target, "/v1/chat/completions");
    assert_eq!(
        sent.json(),
        json!({"model": "echo", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "temperature": 0.5})
    );
    // A prefix is the client's own affair.
    assert_eq!(
        line.ok("pre:@cf/echo", json!({"prompt": "x"})).await["response"],
        "you said: x"
    );

    let messages = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]);
    assert_eq!(
        line.ok("@cf/echo", json!({"messages": messages})).await["response"],
        "you said: u"
    );
    assert_eq!(
        line.ok("@cf/echo", json!({"prompt": "r", "raw": true})).await["response"],
        "you said: r"
    );
    assert_eq!(line.server.last().unwrap().target, "/v1/completions");
    let mode = json!({"prompt": "j", "response_format": {"type": "json_object"}});
    assert_eq!(line.ok("@cf/echo", mode).await["response"], json!({"said": "j"}));
    let tools = json!([{"name": "weather", "description": "d", "parameters": {"type": "object"}}]);
    let answer = line.ok("@cf/tools", json!({"prompt": "p", "tools": tools})).await;
    assert_eq!(
        answer["tool_calls"],
        json!([{"name": "weather", "arguments": {"city": "Oslo"}}])
    );
    assert_eq!(
        line.server.last().unwrap().json()["tools"][0]["function"]["name"],
        "weather"
    );
    let answer = line.ok("@cf/raw", json!({"prompt": "o"})).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "you said: o");
}

#[tokio::test]
async fn streams() {
    let line = Line::new().await;
    let response = line
        .run("@cf/echo", json!({"prompt": "a b", "stream": true}))
        .await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let events = text(response).await;
    let usage =
        json!({"response": "", "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}});
    let expected = ["you ", "said: ", "a ", "b"]
        .map(|word| format!("data: {}\n\n", json!({"response": word})))
        .concat();
    assert_eq!(events, format!("{expected}data: {usage}\n\ndata: [DONE]\n\n"));

    let events = text(
        line.run("@cf/tools", json!({"prompt": "p", "stream": true}))
            .await,
    )
    .await;
    let call = json!({"response": "", "tool_calls": [{"name": "weather", "arguments": {"city": "Oslo"}}]});
    assert_eq!(events, format!("data: {call}\n\ndata: [DONE]\n\n"));

    let events = text(line.run("@cf/raw", json!({"prompt": "x", "stream": true})).await).await;
    assert!(
        events.contains("\"delta\"") && events.ends_with("data: [DONE]\n\n"),
        "{events}"
    );
}

#[tokio::test]
async fn a_stream_that_breaks_is_no_end() {
    let line = Line::new().await;
    for model in ["cut", "early", "sulk"] {
        let mut body = line
            .run(&format!("@cf/{model}"), json!({"prompt": "a b", "stream": true}))
            .await
            .into_body();
        let mut seen = String::new();
        let error = loop {
            match body.frame().await {
                Some(Ok(frame)) => seen.push_str(&String::from_utf8_lossy(frame.data_ref().unwrap())),
                Some(Err(error)) => break error,
                None => panic!("{model} ended well: {seen}"),
            }
        };
        let made = "data: {\"response\":\"you \"}\n\ndata: {\"response\":\"said: \"}\n\n";
        // A connection that breaks may lose what was just sent.
        let fits = if model == "cut" {
            made.starts_with(&seen)
        } else {
            made == seen
        };
        assert!(fits, "{model}: {error}: {seen}");
        line.server.streams(0).await;
    }
    let mut body = line
        .run("@cf/garbage", json!({"prompt": "a", "stream": true}))
        .await
        .into_body();
    assert!(
        body.frame()
            .await
            .unwrap()
            .unwrap_err()
            .to_string()
            .contains("not JSON")
    );
}

#[tokio::test]
async fn a_reader_that_leaves_stops_the_generation() {
    let line = Line::new().await;
    let mut body = line
        .run("@cf/drip", json!({"prompt": "a", "stream": true}))
        .await
        .into_body();
    body.frame().await.unwrap().unwrap();
    line.server.streams(1).await;
    drop(body);
    line.server.streams(0).await;
}

#[tokio::test]
async fn embeddings_images_and_speech() {
    let line = Line::new().await;
    let answer = line.ok("@cf/embed", json!({"text": ["one", "three"]})).await;
    assert_eq!(answer["shape"], json!([2, 4]));
    assert_eq!(
        (answer["data"][0][0].as_f64(), answer["data"][1][0].as_f64()),
        (Some(3.0), Some(5.0))
    );
    assert_eq!(
        line.ok("@cf/embed", json!({"text": "one"})).await["shape"],
        json!([1, 4])
    );

    let response = line
        .run("@cf/draw", json!({"prompt": "a dot", "width": 64, "height": 32}))
        .await;
    assert_eq!(response.headers()["content-type"], "image/png");
    assert!(
        collect(response.into_body(), 1 << 20)
            .await
            .unwrap()
            .starts_with(b"\x89PNG")
    );
    assert_eq!(line.server.last().unwrap().json()["size"], "64x32");

    // As captured: a stream's inputs are in the query (`ai.run.readable`).
    let url = "https://workers-binding.ai/run?tags=x&version=3&userInputs=%7B%22language%22%3A%22de%22%7D";
    let headers = [
        ("cf-consn-model-id", "@cf/listen"),
        ("content-type", "audio/mpeg"),
    ];
    let (_, answer) = document(line.send(Method::POST, url, &headers, "AUDIO").await).await;
    assert_eq!(answer, json!({"text": "AUDIO from audio.mp3 in de by whisper"}));
    let answer = line
        .ok("@cf/listen", json!({"audio": STANDARD.encode("AB")}))
        .await;
    assert_eq!(answer["text"], "AB from audio.bin in none by whisper");
    let answer = line
        .ok(
            "@cf/listen",
            json!({"audio": [65, 66], "language": "x\r\nsmuggled: y"}),
        )
        .await;
    assert_eq!(answer["text"], "AB from audio.bin in none by whisper");
}

#[tokio::test]
async fn refusals_have_codes() {
    let line = Line::new().await;
    let prompt = || json!({"prompt": "x"});
    let (code, status, told) = line.refused("@cf/unheard-of", prompt()).await;
    assert_eq!((code, status), (5007, 400));
    assert!(
        told.starts_with("No such model @cf/unheard-of or task; mapped are: ") && told.contains("@cf/echo"),
        "{told}"
    );

    for (model, inputs, expected) in [
        ("@cf/echo", json!({}), (5006, 400)),
        ("@cf/echo", json!({"prompt": 1}), (5006, 400)),
        ("@cf/echo", json!({"messages": ["x"]}), (5006, 400)),
        ("@cf/echo", json!({"prompt": "x", "lora": "l"}), (5006, 400)),
        ("@cf/echo", json!({"prompt": "x", "tools": {}}), (5006, 400)),
        ("@cf/embed", json!({"text": []}), (5006, 400)),
        ("@cf/embed", json!({"text": vec!["x"; 101]}), (5006, 400)),
        ("@cf/draw", json!({"prompt": "x", "width": 5}), (5006, 400)),
        ("@cf/listen", json!({"audio": "?"}), (5004, 400)),
        ("@cf/listen", json!({"audio": [256]}), (5006, 400)),
        ("@cf/refuse-400", prompt(), (5006, 400)),
        ("@cf/refuse-401", prompt(), (5018, 403)),
        ("@cf/refuse-404", prompt(), (3042, 404)),
        ("@cf/refuse-429", prompt(), (3040, 429)),
        ("@cf/refuse-503", prompt(), (3040, 429)),
        ("@cf/refuse-500", prompt(), (3043, 500)),
        ("@cf/redirect", prompt(), (3043, 500)),
        ("@cf/garbage", prompt(), (3043, 500)),
        ("@cf/odd", prompt(), (3043, 500)),
        ("@cf/odd-embed", json!({"text": "x"}), (3043, 500)),
        ("@cf/down", prompt(), (3043, 500)),
    ] {
        let (code, status, told) = line.refused(model, inputs.clone()).await;
        assert_eq!((code, status), expected, "{model} {inputs}: {told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
    // The server repeated the key; the rest of its words arrive.
    let (_, _, told) = line.refused("@cf/refuse-401", prompt()).await;
    assert_eq!(
        told,
        "the backend answered 401: model refuse-401 refuses; you sent Bearer ****"
    );

    let headers = [("cf-consn-model-id", "@cf/echo")];
    for (headers, body, code) in [
        (&headers[..], "{", 3003),
        (&headers, "[]", 3003),
        (&headers, "{}", 3003),
        (&[], "{}", 3003),
    ] {
        let (_, answer) = document(line.send(Method::POST, RUN, headers, body).await).await;
        assert_eq!(answer["internalCode"], code, "{body}: {answer}");
    }
    let large = vec![b' '; crate::inference::LARGEST + 1];
    let (status, answer) = document(line.send(Method::POST, RUN, &headers, large).await).await;
    assert_eq!((status.as_u16(), &answer["internalCode"]), (413, &json!(3006)));
    let queued = json!({"inputs": {"prompt": "x"}, "options": {"queueRequest": true}}).to_string();
    let (_, answer) = document(line.send(Method::POST, RUN, &headers, queued).await).await;
    assert_eq!(answer["internalCode"], 5006);
}

#[tokio::test]
async fn cloudflares_api() {
    let line = Line::new().await;
    let answer = line.ok("@cf/flux", json!({"prompt": "p"})).await;
    assert_eq!(answer["response"], "p");
    assert_eq!(answer["target"], "/client/v4/accounts/acc/ai/run/@cf/flux");
    let events = text(line.run("@cf/flux", json!({"prompt": "p", "stream": true})).await).await;
    assert_eq!(events, "data: {\"response\":\"p\"}\n\ndata: [DONE]\n\n");
    let response = line.run("@cf/image", json!({"prompt": "p"})).await;
    assert_eq!(response.headers()["content-type"], "image/png");
    let url = "https://workers-binding.ai/run?version=3&userInputs=%7B%22a%22%3A%221%262%22%7D";
    let headers = [("cf-consn-model-id", "@cf/flux"), ("content-type", "audio/mpeg")];
    let (_, answer) = document(line.send(Method::POST, url, &headers, "AUDIO").await).await;
    assert_eq!(
        (&answer["bytes"], &answer["type"]),
        (&json!(5), &json!("audio/mpeg"))
    );
    assert!(
        answer["target"].as_str().unwrap().ends_with("@cf/flux?a=1%262"),
        "{answer}"
    );

    let (code, status, told) = line.refused("@cf/none", json!({})).await;
    assert_eq!(
        (code, status, told.as_str()),
        (5007, 400, "No such model @cf/none or task")
    );
    let (code, status, told) = line.refused("@cf/wrong-token", json!({})).await;
    assert_eq!((code, status), (5018, 403), "{told}");
    assert!(
        told.starts_with("Cloudflare refused the configured API token (401)"),
        "{told}"
    );
}

#[tokio::test]
async fn websockets_are_spliced_where_there_are_any() {
    let line = Line::new().await;
    let upgrade = |model: &str| {
        FetchRequest {
        method: Method::GET,
        url: "https://workers-binding.ai/run?version=3&body=%7B%22inputs%22%3A%7B%22encoding%22%3A%22linear16%22%7D%2C%22options%22%3A%7B%22websocket%22%3Atrue%7D%7D".into(),
        headers: [(HeaderName::from_static("cf-consn-model-id"), HeaderValue::from_str(model).unwrap())].into_iter().collect(),
        body: bowline_binding::empty(),
        upgrade: Some(UpgradeRequest {
            key: HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="),
            version: HeaderValue::from_static("13"),
        }),
    }
    };
    let cx = CallContext::new("AI", "test");
    let FetchReply::Upgrade { headers, mut duplex } =
        line.binding.fetch(&cx, upgrade("@cf/flux")).await.unwrap()
    else {
        panic!("no upgrade")
    };
    assert_eq!(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let mut frame = [0; 2];
    tokio::io::AsyncReadExt::read_exact(&mut duplex, &mut frame)
        .await
        .unwrap();
    let mut hello = vec![0; usize::from(frame[1])];
    tokio::io::AsyncReadExt::read_exact(&mut duplex, &mut hello)
        .await
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&hello),
        "/client/v4/accounts/acc/ai/run/@cf/flux?encoding=linear16 authorized=true"
    );

    for (model, code) in [("@cf/echo", 5006), ("@cf/unheard-of", 5007)] {
        let FetchReply::Response(response) = line.binding.fetch(&cx, upgrade(model)).await.unwrap() else {
            panic!("an upgrade")
        };
        assert_eq!(document(response).await.1["internalCode"], code);
    }
}

#[tokio::test]
async fn the_rest_of_the_surface() {
    let line = Line::new().await;
    let get = async |path: &str| {
        document(
            line.send(Method::GET, &format!("https://workers-binding.ai{path}"), &[], "")
                .await,
        )
        .await
    };
    let (status, list) =
        get("/ai-api/models/search?search=EMBED&per_page=1&page=2&hide_experimental=true").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(list["result"].as_array().unwrap().len(), 1);
    assert_eq!(list["result"][0]["name"], "@cf/odd-embed");
    assert_eq!(list["result"][0]["task"]["name"], "Text Embeddings");
    let (_, list) = get("/ai-api/models/search?task=text-to-image&page=0&per_page=x").await;
    assert_eq!(list["result"][0]["name"], "@cf/draw");
    let (_, supported) = get("/to-everything/markdown/supported").await;
    assert!(
        supported["result"]
            .as_array()
            .unwrap()
            .contains(&json!({"extension": ".html", "mimeType": "text/html"}))
    );
    assert_eq!(get("/autorag/rags").await.1["result"], json!([]));
    assert_eq!(get("/autorag/rags/x/search").await.0, StatusCode::NOT_FOUND);
    assert_eq!(get("/nowhere").await.0, StatusCode::NOT_FOUND);

    // As captured (`ai.toMarkdown`).
    let files = r#"{"files":[{"name":"a.html","mimeType":"text/html","data":"PGgxPng8L2gxPg=="},{"name":"b.pdf","mimeType":"application/pdf","data":""}],"options":{"gateway":{"id":"g"},"extraHeaders":{"x-e":"1"},"conversionOptions":{"pdf":{"metadata":false}}}}"#;
    let url = "https://workers-binding.ai/to-everything/markdown/transformer";
    let (status, converted) = document(line.send(Method::POST, url, &[], files).await).await;
    assert_eq!((status, &converted["success"]), (StatusCode::OK, &json!(true)));
    assert_eq!(
        (&converted["result"][0]["data"], &converted["result"][0]["tokens"]),
        (&json!("# x"), &json!(1))
    );
    assert_eq!(converted["result"][1]["format"], "error");
    for bad in [
        "",
        "{}",
        r#"{"files":[]}"#,
        r#"{"files":[{}]}"#,
        r#"{"files":[{"name":"a","data":"?"}]}"#,
    ] {
        let (status, refused) = document(line.send(Method::POST, url, &[], bad).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(refused["errors"][0]["message"].is_string(), "{refused}");
    }
}

#[tokio::test]
async fn by_the_gateway() {
    let line = Line::new().await;
    let run = async |model: &str, gateway: Value| {
        let body = json!({"inputs": {"prompt": "hi"}, "options": {"gateway": gateway}}).to_string();
        let headers = [("cf-consn-model-id", model), ("content-type", "application/json")];
        line.send(Method::POST, BY_GATEWAY, &headers, body).await
    };
    let response = run(
        "@cf/echo",
        json!({"id": "gw", "cacheTtl": 60, "metadata": {"u": 1}}),
    )
    .await;
    let headers = response.headers().clone();
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["cf-aig-cache-status"], "MISS");
    assert!(headers.contains_key("cf-ai-req-id"));
    let id = headers["cf-aig-log-id"].to_str().unwrap().to_owned();
    assert_eq!(document(response).await.1["response"], "you said: hi");
    let hit = run("@cf/echo", json!({"id": "gw", "cacheTtl": 60})).await;
    assert_eq!(hit.headers()["cf-aig-cache-status"], "HIT");
    assert_eq!(document(hit).await.1["response"], "you said: hi");
    assert_eq!(line.server.seen().len(), 1);

    let url = format!("https://workers-binding.ai/ai-gateway/gateways/gw/logs/{id}");
    let (_, log) = document(line.send(Method::GET, &url, &[], "").await).await;
    let log = &log["result"];
    assert_eq!(
        (&log["provider"], &log["model"]),
        (&json!("workers-ai"), &json!("@cf/echo"))
    );
    assert_eq!(
        (&log["success"], &log["tokens_in"], &log["metadata"]),
        (&json!(true), &json!(3), &json!({"u": 1}))
    );
    let patch = r#"{"feedback":1,"score":50,"metadata":{"a":1}}"#;
    assert_eq!(
        line.send(Method::PATCH, &url, &[], patch).await.status(),
        StatusCode::OK
    );
    let (_, log) = document(line.send(Method::GET, &url, &[], "").await).await;
    assert_eq!(
        (&log["result"]["score"], &log["result"]["metadata"]),
        (&json!(50), &json!({"a": 1}))
    );
    let missing = url.replace(&id, "nope");
    for method in [Method::GET, Method::PATCH] {
        let (status, answer) = document(line.send(method, &missing, &[], "{}").await).await;
        assert_eq!(
            (status, &answer["errors"][0]["message"]),
            (StatusCode::NOT_FOUND, &json!("Not Found"))
        );
    }

    // Two failures, then an answer: the third attempt.
    let retries =
        json!({"id": "gw", "retries": {"maxAttempts": 3, "retryDelayMs": 1, "backoff": "exponential"}});
    assert_eq!(
        document(run("@cf/flaky-2", retries).await).await.1["response"],
        "you said: hi"
    );
    // Refusals keep the shape of `run`'s own.
    let (status, answer) = document(run("@cf/unheard-of", json!({"id": "gw"})).await).await;
    assert_eq!(
        (status, &answer["internalCode"]),
        (StatusCode::BAD_REQUEST, &json!(5007))
    );
    let (status, answer) = document(run("@cf/echo", json!({"id": "other"})).await).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(
        answer["errors"][0]["message"],
        "there is no gateway \"other\"; gateways: gw"
    );
    let (_, answer) = document(run("@cf/echo", json!({"id": "gw", "cacheTtl": 1})).await).await;
    assert_eq!(answer["errors"][0]["code"], 40001);
}

#[tokio::test]
async fn configurations() {
    let state = tempfile::tempdir().unwrap();
    let build = |entry: Value| (crate::DESCRIPTOR.build)(&entry, &resources(&state));
    let bare = build(json!({"binding": "AI"})).unwrap();
    assert!(bare.notes()[0].contains("no model is mapped"));
    let full = build(json!({
        "backends": {"a": {"type": "openai", "url": "http://h/v1/"}},
        "models": {"@cf/x": {"backend": "a", "model": "y", "task": "text-generation"}, "*": {"backend": "a", "task": "text-generation"}},
        "gateways": {"g": {}},
    }))
    .unwrap();
    assert_eq!(
        full.notes(),
        [
            "@cf/x → y at a (OpenAI-compatible, http://h/v1) · Text Generation",
            "every other model → the same name at a (OpenAI-compatible, http://h/v1) · Text Generation",
            "gateways: g",
        ]
    );
    for (entry, told) in [
        (json!({"backends": []}), "`backends`"),
        (json!({"backends": {"a": 1}}), "`backends.a`"),
        (json!({"backends": {"a": {"type": "x"}}}), "`backends.a.type`"),
        (json!({"backends": {"a": {"type": "openai"}}}), "`backends.a.url`"),
        (
            json!({"backends": {"a": {"type": "openai", "url": "http://user:pw@h"}}}),
            "`backends.a.url`",
        ),
        (
            json!({"backends": {"a": {"type": "openai", "url": "http://h", "api_key": "k"}}}),
            "does not belong",
        ),
        (
            json!({"backends": {"a": {"type": "openai", "url": "http://h", "api_key_env": "NONE"}}}),
            "NONE, which is not set",
        ),
        (
            json!({"backends": {"a": {"type": "cloudflare", "api_key_env": "KEY"}}}),
            "`backends.a.account_id`",
        ),
        (
            json!({"backends": {"a": {"type": "cloudflare", "account_id": "x"}}}),
            "`backends.a.api_key_env`",
        ),
        (json!({"models": {"m": {"backend": "a"}}}), "`models.m.backend`"),
        (
            json!({"backends": {"a": {"type": "openai", "url": "http://h"}}, "models": {"m": {"backend": "a"}}}),
            "`models.m.task`",
        ),
        (json!({"gateways": {"a b": {}}}), "`gateways.a b`"),
        (json!({"gateways": {"a": {"cache_ttl": 1}}}), "`gateways.a`"),
        (json!({"providers": {"x": {}}}), "`providers.x.url`"),
    ] {
        let error = build(entry.clone()).err().unwrap().to_string();
        assert!(error.contains(told), "{entry}: {error}");
    }
}
