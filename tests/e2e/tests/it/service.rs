//! Service bindings and dispatch namespaces: the same Worker code under unmodified miniflare and under `bowline dev`,
//! Workers of ours at the far end.

use std::time::Duration;

use anyhow::{Context, Result};
use bowline_client::{Client, Secret};
use bowline_e2e::peers::{Driver, Miniflare};
use bowline_e2e::program::{self, Program};
use bowline_e2e::project::{Credentials, Project};
use bowline_e2e::rust_client::RustClient;
use bowline_e2e::upstream;
use bowline_e2e::worker::TestWorker;
use serde_json::{Value, json};

/// A project with an HTTP upstream, and its remote.
pub(crate) async fn remote() -> Result<(Project, Program)> {
    let http = upstream::http_echo().await?;
    let project = Project::new(&[http.to_string()])?;
    let mut serve = project.with_toolchain(&["serve", "--json", "--listen", "127.0.0.1:0"])?;
    serve
        .arg("--config")
        .arg(project.folder())
        .arg("--state")
        .arg(project.state());
    let remote = Program::start(serve).await?;
    Ok((project, remote))
}

async fn under_miniflare(version: Miniflare) -> Result<()> {
    let (project, remote) = remote().await?;
    let token = project.new_token("service").await?;
    let proxy = project.connect(remote.url(), &token).await?;
    let mut worker = Driver::start(version, proxy.url()).await?;
    service(&mut worker, version == Miniflare::V5).await?;
    dispatch(&mut worker).await?;
    worker.stop().await
}

#[tokio::test]
async fn service_and_dispatch_under_four() -> Result<()> {
    under_miniflare(Miniflare::V4).await
}

#[tokio::test]
async fn service_and_dispatch_under_five() -> Result<()> {
    under_miniflare(Miniflare::V5).await
}

#[tokio::test]
async fn service_and_dispatch_under_dev() -> Result<()> {
    let (project, remote) = remote().await?;
    let token = project.new_token("service").await?;
    let mut worker = project.dev(remote.url(), &token).await?;
    service(&mut worker, true).await?;
    dispatch(&mut worker).await?;
    assert!(worker.terminate().await?.success());
    Ok(())
}

#[tokio::test]
async fn service_and_dispatch_from_rust() -> Result<()> {
    let (project, remote) = remote().await?;
    let Credentials { id, secret } = project.new_token("service").await?;
    let (id, secret) = (id.context("an id")?, secret.context("a secret")?);
    let client = Client::builder(remote.url()).service_token(id.clone(), Secret::new(&secret));
    let mut worker = RustClient(client.build()?);
    service(&mut worker, true).await?;
    dispatch(&mut worker).await?;
    // The examples, as a user runs them.
    for (example, arguments, expected) in [
        (
            "service",
            &["SVC", "add", "1", "2"][..],
            "203 Non Authoritative Information: {",
        ),
        ("dispatch", &["CUSTOMERS", "one"], "200 OK: {\"customer\":\"one\""),
    ] {
        let mut command = program::cleared(&program::example("bowline-client", example)?);
        command.arg(remote.url()).args(arguments);
        command.env("CLOUDFLARE_ACCESS_CLIENT_ID", &id);
        command.env("CLOUDFLARE_ACCESS_CLIENT_SECRET", &secret);
        let output = program::run(command, Duration::from_secs(30)).await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.starts_with(expected),
            "{example}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// `codes`: whether errors keep their `code` on the way to user code.
pub(crate) async fn service(worker: &mut impl TestWorker, codes: bool) -> Result<()> {
    let request = json!({"url": "https://callee.example/a?b=c", "method": "PUT", "headers": {"x-word": "yes"}, "body": "x"});
    let answer = worker.ok("svc.fetch", request).await?;
    assert_eq!(
        (&answer["status"], &answer["headers"]["x-from"]),
        (&json!(203), &json!("callee")),
        "{answer}"
    );
    let body: Value = serde_json::from_str(answer["body"].as_str().context("a body")?)?;
    assert_eq!(
        body,
        json!({"url": "https://callee.example/a?b=c", "method": "PUT", "word": "yes", "props": {"role": "admin"}, "greeting": "ahoy"})
    );
    let answer = worker
        .ok("svc.fetch", json!({"url": "https://callee.example/redirect"}))
        .await?;
    assert_eq!(
        (&answer["status"], &answer["headers"]["location"]),
        (&json!(302), &json!("https://elsewhere.example/")),
        "{answer}"
    );
    let words = json!(["fair", "winds"]);
    let answer = worker.ok("svc.stream", json!({"words": words})).await?;
    assert_eq!(answer, json!({"heard": words, "done": true}));
    let messages = json!(["one", {"bytes": [0, 255]}, "drei"]);
    let request = json!({"url": "https://callee.example/", "messages": messages, "protocol": "knots", "code": 4002, "reason": "moored"});
    let answer = worker.ok("svc.websocket", request).await?;
    assert_eq!(
        (&answer["messages"], &answer["protocol"]),
        (&messages, &json!("knots")),
        "{answer}"
    );
    assert_eq!(answer["close"], json!({"code": 4002, "reason": "moored"}));

    let call = |method: &str, args: Value| json!({"method": method, "args": args});
    assert_eq!(worker.ok("svc.call", call("add", json!([1, 2]))).await?, 3);
    assert_eq!(
        worker.ok("svc.call", call("props", json!([]))).await?,
        json!({"role": "admin"})
    );
    assert_eq!(worker.ok("svc.property", json!({"name": "version"})).await?, "v7");
    assert_eq!(worker.ok("svc.counter", json!({})).await?, json!([6, 16, 16]));
    assert_eq!(worker.ok("svc.pipeline", json!({})).await?, 42);
    assert_eq!(worker.ok("svc.callback", json!({})).await?, 41);
    assert_eq!(worker.ok("svc.words", json!({})).await?, "fair winds");
    assert_eq!(
        worker
            .ok("svc.length", json!({"chunks": 20, "size": 30_000}))
            .await?,
        600_000
    );
    assert_eq!(
        worker.ok("svc.types", json!({})).await?,
        json!({
            "date": 5, "none": true, "nothing": null, "big": "12345678901234567890", "bytes": [1, 2, 255],
            "list": [1, ["x"]], "infinite": "-Infinity", "error": ["RangeError", "inside"],
        })
    );
    // The callee has bindings of its own, which keep their data.
    assert_eq!(worker.ok("svc.call", call("visits", json!([]))).await?, 1);
    assert_eq!(worker.ok("svc.call", call("visits", json!([]))).await?, 2);
    let error = worker
        .error("svc.call", call("fail", json!(["ahoy", "E_REEF"])))
        .await?;
    assert_eq!(
        (&error["name"], &error["message"]),
        (&json!("RangeError"), &json!("ahoy")),
        "{error}"
    );
    if codes {
        assert_eq!(error["code"], "E_REEF", "{error}");
    }
    let error = worker.error("svc.call", call("nothing", json!([]))).await?;
    assert!(
        error["message"]
            .as_str()
            .context("a message")?
            .contains("nothing"),
        "{error}"
    );

    // An upstream that is no Worker: fetch there, and no methods.
    let request =
        json!({"binding": "PLAIN", "url": "https://plain.example/a/b?c=d", "method": "POST", "body": "Zoë"});
    let answer = worker.ok("svc.fetch", request).await?;
    assert_eq!(
        (&answer["status"], &answer["body"]),
        (&json!(418), &json!("Zoë")),
        "{answer}"
    );
    assert_eq!(answer["headers"]["x-target"], "/a/b?c=d");
    let error = worker
        .error(
            "svc.call",
            json!({"binding": "PLAIN", "method": "add", "args": [1]}),
        )
        .await?;
    let text = error["message"].as_str().context("a message")?;
    assert!(
        text.contains("service \"plain\" does not answer rpc") && text.contains("`capnweb`"),
        "{error}"
    );
    Ok(())
}

pub(crate) async fn dispatch(worker: &mut impl TestWorker) -> Result<()> {
    for name in ["one", "two"] {
        let request = json!({"name": name, "url": "https://x.example/p?q", "method": "POST", "body": "Zoë"});
        let answer = worker.ok("dispatch.fetch", request).await?;
        let body: Value = serde_json::from_str(answer["body"].as_str().context("a body")?)?;
        assert_eq!(
            body,
            json!({"customer": name, "url": "https://x.example/p?q", "method": "POST", "body": "Zoë"})
        );
        let greeted = worker
            .ok(
                "dispatch.call",
                json!({"name": name, "method": "greet", "args": ["Zoë"]}),
            )
            .await?;
        assert_eq!(greeted, json!(format!("{name} greets Zoë")));
    }
    let out = |outbound: Value| {
        json!({"name": "one", "url": "https://x.example/out", "args": {},
            "options": {"limits": {"cpuMs": 50, "subRequests": 5}, "outbound": outbound}})
    };
    for (outbound, plan, region) in [
        (json!({"plan": "free"}), json!("free"), json!(null)),
        (
            json!({"plan": "pro", "region": "Zürich"}),
            json!("pro"),
            json!("Zürich"),
        ),
    ] {
        let answer = worker.ok("dispatch.fetch", out(outbound)).await?;
        let body: Value = serde_json::from_str(answer["body"].as_str().context("a body")?)?;
        let expected =
            json!({"asked": "https://api.example/data", "word": "yes", "plan": plan, "region": region});
        assert_eq!(body, expected, "{answer}");
    }
    let answer = worker.ok("dispatch.fetch", out(json!({"colour": 1}))).await?;
    assert_eq!(answer["status"], 500);
    assert!(
        answer["body"]
            .as_str()
            .context("a body")?
            .contains("`outbound.colour`"),
        "{answer}"
    );
    for name in ["three", "../callee", "Zoë"] {
        let answer = worker
            .ok(
                "dispatch.fetch",
                json!({"name": name, "url": "https://x.example/"}),
            )
            .await?;
        assert_eq!(
            (&answer["status"], &answer["body"]),
            (&json!(500), &json!("Worker not found.")),
            "{name}"
        );
        let error = worker
            .error(
                "dispatch.call",
                json!({"name": name, "method": "greet", "args": []}),
            )
            .await?;
        assert_eq!(error["message"], "Worker not found.", "{name}");
    }
    Ok(())
}

/// A call after the service was killed. The connection that was kept ready for it may be one to the killed process, which the
/// call is told; the one after it has a connection of its own.
async fn after_the_killed(worker: &mut impl TestWorker, add: &Value) -> Result<Value> {
    let answer = worker.call("svc.call", add.clone()).await?;
    let text = answer["error"]["message"].as_str().unwrap_or_default();
    if text.contains("gave no answer: it ended") {
        return worker.call("svc.call", add.clone()).await;
    }
    Ok(answer)
}

#[tokio::test]
async fn a_service_that_ends_is_started_again() -> Result<()> {
    let (project, remote) = remote().await?;
    let token = project.new_token("service").await?;
    let mut worker = project.dev(remote.url(), &token).await?;
    let add = json!({"method": "add", "args": [1, 2]});
    assert_eq!(worker.ok("svc.call", add.clone()).await?, 3);
    let killed = program::kill_child(remote.id().context("the remote runs")?, "workerd").await?;
    program::gone(killed).await?;
    let answer = after_the_killed(&mut worker, &add).await?;
    assert_eq!(answer["result"], 3, "{answer}");
    // Twice in a row: whoever calls too early is told why, and nobody waits for ever.
    let killed = program::kill_child(remote.id().context("the remote runs")?, "workerd").await?;
    program::gone(killed).await?;
    let answer = after_the_killed(&mut worker, &add).await?;
    let text = answer["error"]["message"].as_str().context("a message")?;
    assert!(
        text.contains("callee does not run") && text.contains("It is started again in"),
        "{answer}"
    );
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while worker.call("svc.call", add.clone()).await?["ok"] != true {
        assert!(tokio::time::Instant::now() < deadline, "it was not started again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_service_that_cannot_start_says_why() -> Result<()> {
    let (project, remote) = remote().await?;
    std::fs::write(
        project.folder().join("callee/index.mjs"),
        "export default { fetch( }",
    )?;
    let token = project.new_token("service").await?;
    let proxy = project.connect(remote.url(), &token).await?;
    let mut worker = Driver::start(Miniflare::V5, proxy.url()).await?;
    let answer = worker
        .ok("svc.fetch", json!({"url": "https://callee.example/"}))
        .await?;
    assert_eq!(answer["status"], 500);
    assert!(
        answer["body"].as_str().context("a body")?.contains("SyntaxError"),
        "{answer}"
    );
    // Mended, it starts.
    std::fs::write(
        project.folder().join("callee/index.mjs"),
        include_str!("../../driver/callee.mjs"),
    )?;
    assert_eq!(
        worker
            .ok("svc.call", json!({"method": "add", "args": [1, 2]}))
            .await?,
        3
    );
    Ok(())
}
