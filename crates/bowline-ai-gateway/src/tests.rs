//! The gateway in front of a real server.

use std::sync::Arc;

use bowline_binding::{Body, Resources, collect};
use bowline_model_server::ModelServer;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Gateway, GatewayError, Gateways, Options, Patch, Step};

struct Line {
    server: ModelServer,
    gateways: Gateways,
    state: TempDir,
}

impl Line {
    async fn new(gateways: Value) -> Self {
        let server = ModelServer::start().await.unwrap();
        let state = tempfile::tempdir().unwrap();
        let gateways = open(&server, gateways, &state);
        Self {
            server,
            gateways,
            state,
        }
    }

    fn gateway(&self) -> Gateway {
        self.gateways.gateway("gw").unwrap()
    }

    async fn run(&self, steps: Value, options: Value) -> Result<Response<Body>, GatewayError> {
        let options = Options::from_json(options.as_object().unwrap())?;
        self.gateway().run(&Step::list(&steps)?, &options).await
    }
}

fn open(server: &ModelServer, gateways: Value, state: &TempDir) -> Gateways {
    let entry = json!({
        "gateways": gateways,
        "providers": {
            "server": {"url": server.openai(), "api_key_env": "KEY"},
            "open": {"url": server.openai()},
            "down": {"url": "http://127.0.0.1:9"},
        },
    });
    let mut resources = Resources::new(state.path());
    resources.variables = Arc::new(|name| (name == "KEY").then(|| "s3cret".to_owned()));
    Gateways::open(&entry, "gateway", Vec::new(), &resources).unwrap()
}

fn step(provider: &str, model: &str) -> Value {
    json!({"provider": provider, "endpoint": "chat/completions", "headers": {},
        "query": {"model": model, "messages": [{"role": "user", "content": "hi"}]}})
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(collect(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_first_success_answers() {
    let line = Line::new(json!({"gw": {}})).await;
    let steps = json!([
        step("down", "echo"),
        step("nobody", "echo"),
        step("server", "refuse-500"),
        step("server", "refuse-400"),
        step("server", "echo"),
        step("server", "echo")
    ]);
    let response = line.run(steps, json!({})).await.unwrap();
    assert_eq!(
        (response.status(), header(&response, "cf-aig-step")),
        (StatusCode::OK, "4")
    );
    assert!(text(response).await.contains("you said: hi"));
    let asked: Vec<String> = line
        .server
        .seen()
        .iter()
        .map(|seen| seen.json()["model"].to_string())
        .collect();
    assert_eq!(asked, ["\"refuse-500\"", "\"refuse-400\"", "\"echo\""]);
}

#[tokio::test]
async fn without_a_success_the_last_refusal_answers() {
    let line = Line::new(json!({"gw": {}})).await;
    let response = line
        .run(
            json!([
                step("server", "refuse-429"),
                step("server", "refuse-400"),
                step("down", "x")
            ]),
            json!({}),
        )
        .await
        .unwrap();
    assert_eq!(
        (response.status(), header(&response, "cf-aig-step")),
        (StatusCode::BAD_REQUEST, "1")
    );
    let error = line
        .run(json!([step("down", "x")]), json!({}))
        .await
        .err()
        .unwrap();
    assert_eq!(error.status(), StatusCode::BAD_GATEWAY, "{error}");
    let error = line
        .run(json!([step("nobody", "x")]), json!({}))
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "there is no provider \"nobody\"; providers: anthropic, down, open, openai, server"
    );
}

#[tokio::test]
async fn attempts_and_timeouts() {
    let line = Line::new(json!({"gw": {}})).await;
    let retries = json!({"retries": {"maxAttempts": 3, "retryDelayMs": 1, "backoff": "linear"}});
    let response = line
        .run(json!([step("server", "flaky-2")]), retries.clone())
        .await
        .unwrap();
    assert_eq!((response.status(), line.server.seen().len()), (StatusCode::OK, 3));
    // 400 is no better the second time; 500 is asked three times.
    line.run(json!([step("server", "refuse-400")]), retries.clone())
        .await
        .unwrap();
    assert_eq!(line.server.seen().len(), 4);
    line.run(json!([step("server", "refuse-500")]), retries)
        .await
        .unwrap();
    assert_eq!(line.server.seen().len(), 7);

    let error = line
        .run(json!([step("server", "silent")]), json!({"requestTimeoutMs": 50}))
        .await
        .err()
        .unwrap();
    assert_eq!(error.status(), StatusCode::GATEWAY_TIMEOUT, "{error}");
    // A step's own options win, and the next step still gets its turn.
    let mut silent = step("server", "silent");
    silent["headers"]["cf-aig-request-timeout"] = "50".into();
    let response = line
        .run(json!([silent, step("server", "echo")]), json!({}))
        .await
        .unwrap();
    assert_eq!(header(&response, "cf-aig-step"), "1");
}

#[tokio::test]
async fn keys_reach_their_provider_and_nobody_else() {
    let line = Line::new(json!({"gw": {}})).await;
    let sent = || {
        line.server
            .last()
            .unwrap()
            .headers
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned())
    };
    line.run(json!(step("server", "echo")), json!({})).await.unwrap();
    assert_eq!(sent().as_deref(), Some("Bearer s3cret"));
    line.run(json!(step("open", "echo")), json!({})).await.unwrap();
    assert_eq!(sent(), None);
    let mut own = step("server", "echo");
    own["headers"] =
        json!({"Authorization": "Bearer mine", "x-own": 5, "cf-aig-metadata": "{}", "Host": "evil"});
    let response = line.run(own.clone(), json!({})).await.unwrap();
    let log = header(&response, "cf-aig-log-id").to_owned();
    text(response).await;
    let seen = line.server.last().unwrap();
    assert_eq!(
        (sent().as_deref(), seen.headers["x-own"].to_str().unwrap()),
        (Some("Bearer mine"), "5")
    );
    assert_eq!(seen.headers["host"], line.server.address().to_string().as_str());
    assert!(
        !seen
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("cf-aig-"))
    );
    let log = line.gateway().log(&log).await.unwrap().to_string();
    assert!(!log.contains("mine") && !log.contains("s3cret"), "{log}");
    assert!(!format!("{:?}", Step::list(&own).unwrap()).contains("mine"));

    for endpoint in ["../admin", "a/../../b", "a/..\\b"] {
        let mut climbing = step("server", "echo");
        climbing["endpoint"] = endpoint.into();
        let error = line.run(climbing, json!({})).await.err().unwrap();
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
    }
    // A redirect would carry the key elsewhere: it is the answer.
    let response = line
        .run(json!(step("server", "redirect")), json!({}))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn answers_are_kept_for_those_they_are_for() {
    let line = Line::new(json!({"gw": {"cache_ttl": 60}})).await;
    let ask = async |step: Value, options: Value| {
        let response = line.run(step, options).await.unwrap();
        let status = header(&response, "cf-aig-cache-status").to_owned();
        (status, text(response).await)
    };
    let (first, said) = ask(step("server", "echo"), json!({})).await;
    let (second, again) = ask(step("server", "echo"), json!({})).await;
    assert_eq!((first.as_str(), second.as_str(), said), ("MISS", "HIT", again));
    let mut other = step("server", "echo");
    other["headers"]["authorization"] = "Bearer somebody-else".into();
    assert_eq!(ask(other.clone(), json!({})).await.0, "MISS");
    other["headers"]["cf-aig-cache-key"] = "k".into();
    assert_eq!(ask(other.clone(), json!({})).await.0, "MISS");
    other["query"]["model"] = "other".into();
    assert_eq!(ask(other.clone(), json!({})).await.0, "HIT");
    other["headers"]["authorization"] = "Bearer a-third".into();
    assert_eq!(ask(other, json!({})).await.0, "MISS");
    assert_eq!(
        ask(step("server", "echo"), json!({"skipCache": true})).await.0,
        ""
    );
    assert_eq!(ask(step("server", "echo"), json!({"cacheTtl": 0})).await.0, "");

    // Streams are kept whole or not at all, and refusals never.
    let streamed = |model: &str| {
        let mut step = step("server", model);
        step["query"]["stream"] = true.into();
        step
    };
    let (_, live) = ask(streamed("echo"), json!({})).await;
    let (status, kept) = ask(streamed("echo"), json!({})).await;
    assert_eq!((status.as_str(), kept), ("HIT", live));
    for _ in 0..2 {
        let response = line.run(streamed("cut"), json!({})).await.unwrap();
        assert_eq!(header(&response, "cf-aig-cache-status"), "MISS");
        assert!(response.into_body().collect().await.is_err());
    }
    for _ in 0..2 {
        assert_ne!(ask(step("server", "refuse-400"), json!({})).await.0, "HIT");
    }
}

#[tokio::test]
async fn logs_tell_what_happened() {
    let line = Line::new(
        json!({"gw": {}, "other": {"url": "https://gateway.test/v1/acc/other/", "collect_logs": false}}),
    )
    .await;
    let gateway = line.gateway();
    let response = line
        .run(
            json!([step("server", "echo")]),
            json!({"metadata": {"user": "u"}, "eventId": "e1"}),
        )
        .await
        .unwrap();
    assert_eq!(header(&response, "cf-aig-event-id"), "e1");
    let id = header(&response, "cf-aig-log-id").to_owned();
    let said = text(response).await;
    let log = gateway.log(&id).await.unwrap();
    for (member, value) in [
        ("id", json!(id)),
        ("provider", json!("server")),
        ("model", json!("echo")),
        ("path", json!("chat/completions")),
        ("status_code", json!(200)),
        ("success", json!(true)),
        ("cached", json!(false)),
        ("tokens_in", json!(3)),
        ("tokens_out", json!(5)),
        ("metadata", json!({"user": "u"})),
        ("step", json!(0)),
        ("response_head", json!(said)),
        ("response_head_complete", json!(true)),
        ("response_size", json!(said.len())),
        ("event_id", json!("e1")),
    ] {
        assert_eq!(log[member], value, "{member}: {log}");
    }
    assert!(log["created_at"].as_str().unwrap().ends_with('Z'), "{log}");

    let patch = Patch::read(&json!({"feedback": -1, "score": 10})).unwrap();
    gateway.patch_log(&id, patch.clone()).await.unwrap();
    let patched = gateway.log(&id).await.unwrap();
    assert_eq!(
        (&patched["feedback"], &patched["metadata"]),
        (&json!(-1), &log["metadata"])
    );
    assert_eq!(gateway.patch_log("nope", patch).await, Err(GatewayError::NoLog));

    // Somebody else's log is no log.
    let other = line.gateways.gateway("other").unwrap();
    assert_eq!(other.log(&id).await, Err(GatewayError::NoLog));
    assert_eq!(
        other.url("openai").unwrap(),
        "https://gateway.test/v1/acc/other/openai"
    );
    assert_eq!(
        other.url("universal").unwrap(),
        "https://gateway.test/v1/acc/other/"
    );
    assert!(gateway.url("openai").is_err());
    let steps = Step::list(&step("server", "echo")).unwrap();
    let unlogged = other.run(&steps, &Options::default()).await.unwrap();
    assert_eq!(header(&unlogged, "cf-aig-log-id"), "");

    // They are still there for the next process.
    let again = open(&line.server, json!({"gw": {}}), &line.state);
    assert_eq!(again.gateway("gw").unwrap().log(&id).await.unwrap()["score"], 10);
}

#[tokio::test]
async fn a_caller_that_leaves_stops_the_provider_and_leaves_a_log() {
    let line = Line::new(json!({"gw": {}})).await;
    let mut drip = step("server", "drip");
    drip["query"]["stream"] = true.into();
    let response = line.run(drip, json!({})).await.unwrap();
    let id = header(&response, "cf-aig-log-id").to_owned();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    line.server.streams(1).await;
    drop(body);
    line.server.streams(0).await;
    let log = line.gateway().log(&id).await.unwrap();
    assert_eq!(
        (&log["success"], &log["status_code"]),
        (&json!(false), &json!(200))
    );
}

#[tokio::test]
async fn a_store_that_fails_fails_no_call() {
    let line = Line::new(json!({"gw": {"cache_ttl": 60}})).await;
    let spoil = rusqlite::Connection::open(line.state.path().join("gateway/gateway.sqlite")).unwrap();
    spoil.execute_batch("DROP TABLE logs; DROP TABLE kept").unwrap();
    let response = line.run(json!(step("server", "echo")), json!({})).await.unwrap();
    let id = header(&response, "cf-aig-log-id").to_owned();
    assert!(text(response).await.contains("you said: hi"));
    assert_eq!(line.gateway().log(&id).await, Err(GatewayError::Storage));
}

#[test]
fn malformed_steps_are_named() {
    for (body, told) in [
        (json!(1), "must be a list"),
        (json!([]), "1 to 32"),
        (json!([{"provider": "x"}]), "request 0: `endpoint`"),
        (
            json!([step("a", "b"), {"provider": "x", "endpoint": "y", "headers": []}]),
            "request 1: `headers`",
        ),
        (
            json!([{"provider": "x", "endpoint": "y", "headers": {"a b": "c"}}]),
            "name that cannot be sent",
        ),
        (
            json!([{"provider": "x", "endpoint": "y", "headers": {"a": "k3y\n"}}]),
            "header `a`",
        ),
        (
            json!([{"provider": "x", "endpoint": "y", "headers": {"cf-aig-cache-ttl": "1"}}]),
            "from 60",
        ),
    ] {
        let error = Step::list(&body).unwrap_err().to_string();
        assert!(error.contains(told) && !error.contains("k3y"), "{body}: {error}");
    }
}
