//! The same Worker code under unmodified miniflare, both ways, and under `bowline dev`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bowline_e2e::peers::{Driver, Miniflare};
use bowline_e2e::project::{Access, Credentials, Project};
use bowline_e2e::upstream;
use bowline_e2e::worker::TestWorker;
use serde_json::{Value, json};

#[derive(Clone, Copy)]
enum Way {
    Proxy,
    Straight,
}

async fn every_call(version: Miniflare, way: Way) -> Result<()> {
    let (tcp, http) = (upstream::tcp_echo().await?, upstream::http_echo().await?);
    let project = Project::new(&[tcp.to_string(), http.to_string()])?;
    let access = match way {
        Way::Proxy => Access::On,
        Way::Straight => Access::Off,
    };
    let remote = project.serve(access).await?;
    let token = project.new_token("miniflare").await?;
    let proxy = match way {
        Way::Proxy => Some(project.connect(remote.url(), &token).await?),
        Way::Straight => None,
    };
    let connection = proxy.as_ref().map_or(remote.url(), |proxy| proxy.url());
    let mut worker = Driver::start(version, connection).await?;
    every_binding(&mut worker, version == Miniflare::V5, &project, tcp, http).await?;
    worker.stop().await
}

/// `codes`: whether errors keep their `code` on the way to user code.
pub(crate) async fn every_binding(
    worker: &mut impl TestWorker,
    codes: bool,
    project: &Project,
    tcp: SocketAddr,
    http: SocketAddr,
) -> Result<()> {
    d1(worker).await?;
    vectorize(worker).await?;
    send_email(worker, codes, project).await?;
    network(worker, &tcp.to_string(), &http.to_string()).await
}

#[tokio::test]
async fn under_dev() -> Result<()> {
    let (tcp, http) = (upstream::tcp_echo().await?, upstream::http_echo().await?);
    let project = Project::new(&[tcp.to_string(), http.to_string()])?;
    let remote = project.serve(Access::On).await?;
    let token = project.new_token("dev").await?;
    let mut worker = project.dev(remote.url(), &token).await?;
    every_binding(&mut worker, true, &project, tcp, http).await?;
    assert!(worker.terminate().await?.success());
    Ok(())
}

pub(crate) async fn d1(worker: &mut impl TestWorker) -> Result<()> {
    let created = worker
        .ok(
            "d1.exec",
            json!({"sql": "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, data BLOB)"}),
        )
        .await?;
    assert_eq!(created["count"], 1);
    let insert = "INSERT INTO t (name, data) VALUES (?1, ?2)";
    let ran = worker
        .ok("d1.run", json!({"sql": insert, "params": ["Zoë", null]}))
        .await?;
    assert_eq!(ran["success"], true);
    assert_eq!(ran["meta"]["changes"], 1);
    assert_eq!(ran["meta"]["last_row_id"], 1);
    assert_eq!(ran["meta"]["changed_db"], true);
    let batch = json!({"statements": [
        {"sql": insert, "params": ["b", "x"]},
        {"sql": "SELECT id, name FROM t ORDER BY id"},
    ]});
    let answers = worker.ok("d1.batch", batch).await?;
    assert_eq!(
        answers[1]["results"],
        json!([{"id": 1, "name": "Zoë"}, {"id": 2, "name": "b"}])
    );
    let select = "SELECT id, name FROM t WHERE id = ?";
    let all = worker.ok("d1.all", json!({"sql": select, "params": [2]})).await?;
    assert_eq!(all["results"], json!([{"id": 2, "name": "b"}]));
    assert_eq!(
        worker
            .ok("d1.first", json!({"sql": select, "params": [1]}))
            .await?,
        json!({"id": 1, "name": "Zoë"})
    );
    assert_eq!(
        worker
            .ok(
                "d1.first",
                json!({"sql": select, "params": [1], "column": "name"})
            )
            .await?,
        json!("Zoë")
    );
    assert_eq!(
        worker
            .ok("d1.first", json!({"sql": select, "params": [99]}))
            .await?,
        Value::Null
    );
    let raw = worker
        .ok(
            "d1.raw",
            json!({"sql": select, "params": [1], "columnNames": true}),
        )
        .await?;
    assert_eq!(raw, json!([["id", "name"], [1, "Zoë"]]));

    let session = json!({"constraint": "first-primary", "statements": [
        {"sql": insert, "params": ["c", null]},
        {"sql": "SELECT count(*) AS n FROM t"},
    ]});
    let session = worker.ok("d1.session", session).await?;
    assert_eq!(session["results"], json!([{"n": 3}]));
    let bookmarks: Vec<&str> = session["bookmarks"]
        .as_array()
        .unwrap()
        .iter()
        .skip(1)
        .filter_map(Value::as_str)
        .collect();
    assert!(bookmarks.len() == 2 && bookmarks.is_sorted(), "{session}");
    let resumed = json!({"constraint": bookmarks[1], "statements": [{"sql": "SELECT 1 AS one"}]});
    assert_eq!(
        worker.ok("d1.session", resumed).await?["results"],
        json!([{"one": 1}])
    );

    let error = worker
        .error("d1.all", json!({"sql": "SELECT * FROM nowhere"}))
        .await?;
    assert_eq!(error["message"], "D1_ERROR: no such table: nowhere: SQLITE_ERROR");
    let error = worker.error("d1.exec", json!({"sql": "SELEC 1"})).await?;
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .starts_with("D1_EXEC_ERROR: Error in line 1: SELEC 1: "),
        "{error}"
    );
    // One statement fails, and none of the batch has happened.
    let failing = json!({"statements": [
        {"sql": insert, "params": ["gone", null]},
        {"sql": "INSERT INTO t (id) VALUES (1)"},
    ]});
    let error = worker.error("d1.batch", failing).await?;
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("UNIQUE constraint failed: t.id"),
        "{error}"
    );
    assert_eq!(
        worker
            .ok(
                "d1.first",
                json!({"sql": "SELECT count(*) AS n FROM t", "column": "n"})
            )
            .await?,
        json!(3)
    );
    Ok(())
}

/// Makes a change and asks until it is processed, as a Worker has to.
async fn change(worker: &mut impl TestWorker, call: &str, args: Value) -> Result<()> {
    let changed = worker.ok(call, args).await?;
    anyhow::ensure!(changed["mutationId"].is_string(), "{changed}");
    let asked = tokio::time::timeout(Duration::from_secs(30), async {
        while worker.ok("vec.describe", json!({})).await?["processedUpToMutation"] != changed["mutationId"] {}
        Ok(())
    });
    asked.await.context("the change was not processed in time")?
}

pub(crate) async fn vectorize(worker: &mut impl TestWorker) -> Result<()> {
    let described = worker.ok("vec.describe", json!({})).await?;
    assert_eq!(
        (&described["dimensions"], &described["vectorCount"]),
        (&json!(3), &json!(0)),
        "{described}"
    );
    let vectors = json!({"vectors": [
        {"id": "a", "values": [1, 0, 0], "metadata": {"genre": "jazz", "n": 1}},
        {"id": "b", "values": [0, 1, 0], "metadata": {"genre": "folk", "n": 2}},
        {"id": "c", "values": [0.9, 0.1, 0], "namespace": "other", "metadata": {"genre": "jazz", "n": 3}},
    ]});
    change(worker, "vec.insert", vectors).await?;
    let again = json!({"vectors": [{"id": "a", "values": [0, 0, 1]}]});
    change(worker, "vec.insert", again.clone()).await?;
    let got = worker
        .ok("vec.getByIds", json!({"ids": ["a", "missing"]}))
        .await?;
    assert_eq!(got.as_array().map(Vec::len), Some(1));
    assert_eq!(got[0]["values"], json!([1, 0, 0]), "insert keeps what is there");

    let ids = |answer: &Value| {
        answer["matches"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["id"].clone())
            .collect::<Vec<_>>()
    };
    let query =
        json!({"vector": [1, 0, 0], "options": {"topK": 2, "returnMetadata": "all", "returnValues": true}});
    let answer = worker.ok("vec.query", query).await?;
    assert_eq!(ids(&answer), ["a", "c"]);
    assert_eq!(answer["count"], 2);
    assert_eq!(answer["matches"][0]["metadata"], json!({"genre": "jazz", "n": 1}));
    assert_eq!(answer["matches"][0]["values"], json!([1, 0, 0]));
    assert!(
        (answer["matches"][0]["score"].as_f64().unwrap() - 1.0).abs() < 1e-6,
        "{answer}"
    );
    let query = json!({"vector": [1, 0, 0], "options": {"namespace": "other"}});
    assert_eq!(ids(&worker.ok("vec.query", query).await?), ["c"]);
    let query = json!({"vector": [1, 0, 0], "options": {"filter": {"genre": "folk"}}});
    assert_eq!(ids(&worker.ok("vec.query", query).await?), ["b"]);
    let query = json!({"vector": [1, 0, 0], "options": {"filter": {"genre": {"$ne": "folk"}}}});
    assert_eq!(ids(&worker.ok("vec.query", query).await?), ["a", "c"]);
    assert_eq!(
        ids(&worker
            .ok("vec.queryById", json!({"id": "b", "options": {"topK": 1}}))
            .await?),
        ["b"]
    );

    change(worker, "vec.upsert", again).await?;
    let got = worker.ok("vec.getByIds", json!({"ids": ["a"]})).await?;
    assert_eq!(got[0]["values"], json!([0, 0, 1]), "upsert replaces");
    assert!(got[0].get("metadata").is_none_or(Value::is_null), "wholly: {got}");
    change(worker, "vec.deleteByIds", json!({"ids": ["a", "b"]})).await?;
    assert_eq!(worker.ok("vec.describe", json!({})).await?["vectorCount"], 1);

    let wrong = json!({"vectors": [{"id": "d", "values": [1, 2]}]});
    let error = worker.error("vec.insert", wrong).await?;
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("VECTOR_INSERT_ERROR (code = ") && message.contains("expected 3 dimensions"),
        "{error}"
    );
    let error = worker
        .error("vec.query", json!({"vector": [1], "options": {}}))
        .await?;
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .starts_with("VECTOR_QUERY_ERROR (code = "),
        "{error}"
    );
    let error = worker
        .error("vec.queryById", json!({"id": "missing", "options": {}}))
        .await?;
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .starts_with("VECTOR_QUERY_ERROR (code = "),
        "{error}"
    );
    Ok(())
}

pub(crate) async fn send_email(worker: &mut impl TestWorker, codes: bool, project: &Project) -> Result<()> {
    let message = json!({"message": {
        "from": {"email": "from@example.com", "name": "Frøm"}, "to": ["to@example.com", "two@example.com"],
        "subject": "Grüße", "text": "built body", "html": "<p>built body</p>",
        "attachments": [{"filename": "a.txt", "type": "text/plain", "disposition": "attachment", "content": "aGVsbG8="}],
    }});
    let sent = worker.ok("mail.builder", message).await?;
    assert!(sent["messageId"].is_string(), "{sent}");
    let raw = "From: from@example.com\r\nTo: to@example.com\r\nMessage-ID: <1@example.com>\r\nSubject: raw\r\n\r\nraw body\r\n";
    let envelope = |to: &str, raw: &str| json!({"from": "from@example.com", "to": to, "raw": raw});
    worker.ok("mail.raw", envelope("to@example.com", raw)).await?;
    worker
        .ok(
            "mail.stream",
            envelope("to@example.com", &raw.replace("raw body", "streamed body")),
        )
        .await?;
    let mails = emls(&project.state())?;
    for body in ["built body", "raw body", "streamed body"] {
        assert!(
            mails.iter().any(|mail| mail.contains(body)),
            "{body} among {mails:?}"
        );
    }

    let error = worker
        .error("mail.raw", envelope("stranger@example.com", raw))
        .await?;
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("stranger@example.com"),
        "{error}"
    );
    if codes {
        assert_eq!(error["code"], "E_RECIPIENT_NOT_ALLOWED", "{error}");
    }
    let error = worker
        .error(
            "mail.raw",
            envelope("to@example.com", &raw.replace("Message-ID", "X-Id")),
        )
        .await?;
    assert!(
        error["message"].as_str().unwrap().contains("invalid message-id"),
        "{error}"
    );
    let error = worker
        .error(
            "mail.builder",
            json!({"message": {"from": "from@example.com", "to": "to@example.com", "text": "t"}}),
        )
        .await?;
    if codes {
        assert_eq!(error["code"], "E_FIELD_MISSING", "{error}");
    }
    Ok(())
}

/// Every kept mail below a folder.
fn emls(folder: &std::path::Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(emls(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "eml") {
            found.push(String::from_utf8_lossy(&std::fs::read(path)?).into_owned());
        }
    }
    Ok(found)
}

pub(crate) async fn network(worker: &mut impl TestWorker, tcp: &str, http: &str) -> Result<()> {
    let text = "ahoy ".repeat(20_000);
    assert_eq!(
        worker
            .ok("vpc.connect", json!({"address": tcp, "text": text}))
            .await?["text"],
        json!(text)
    );
    let error = worker
        .error("vpc.connect", json!({"address": "127.0.0.1:1", "text": "x"}))
        .await?;
    assert!(error["message"].is_string(), "{error}");

    let request = json!({"url": format!("http://{http}/a/b?c=%20d"), "method": "PUT", "headers": {"x-word": "yes"}, "body": "Zoë"});
    let answer = worker.ok("vpc.fetch", request).await?;
    assert_eq!(
        (&answer["status"], &answer["statusText"]),
        (&json!(418), &json!("Short And Stout")),
        "{answer}"
    );
    assert_eq!(answer["body"], "Zoë");
    assert_eq!(answer["headers"]["x-method"], "PUT");
    assert_eq!(answer["headers"]["x-target"], "/a/b?c=%20d");
    assert_eq!(answer["headers"]["x-word"], "yes");
    let refused = worker
        .ok("vpc.fetch", json!({"url": "http://127.0.0.1:1/"}))
        .await?;
    assert!(
        refused["body"].as_str().unwrap().contains("127.0.0.1:1"),
        "{refused}"
    );
    assert_ne!(refused["status"], 200);

    let messages = json!(["one", {"bytes": [0, 255, 7]}, "drei – ✓"]);
    let request = json!({"url": format!("http://{http}/socket"), "messages": messages, "protocol": "knots", "code": 4002, "reason": "moored"});
    let answer = worker.ok("vpc.websocket", request).await?;
    assert_eq!(answer["messages"], messages);
    assert_eq!(answer["status"], 101);
    assert_eq!(answer["close"]["code"], 4002, "{answer}");
    Ok(())
}

#[tokio::test]
async fn four_through_the_proxy() -> Result<()> {
    every_call(Miniflare::V4, Way::Proxy).await
}

#[tokio::test]
async fn four_straight() -> Result<()> {
    every_call(Miniflare::V4, Way::Straight).await
}

#[tokio::test]
async fn five_through_the_proxy() -> Result<()> {
    every_call(Miniflare::V5, Way::Proxy).await
}

#[tokio::test]
async fn five_straight() -> Result<()> {
    every_call(Miniflare::V5, Way::Straight).await
}

/// What user code sees when Access says no: the words, on every flow that can carry them.
async fn refusals(version: Miniflare) -> Result<()> {
    let (tcp, http) = (upstream::tcp_echo().await?, upstream::http_echo().await?);
    let project = Project::new(&[tcp.to_string(), http.to_string()])?;
    let remote = project.serve(Access::On).await?;
    let valid = project.new_token("refusals").await?;
    let wrong = Credentials {
        id: valid.id,
        secret: Some("0".repeat(64)),
    };
    for (credentials, reason) in [
        (Credentials::default(), "no service token was sent"),
        (wrong, "the service token was sent and not accepted"),
    ] {
        let proxy = project.connect(remote.url(), &credentials).await?;
        let mut worker = Driver::start(version, proxy.url()).await?;
        // D1's client shows a body that is not its JSON.
        let error = worker.error("d1.all", json!({"sql": "SELECT 1"})).await?;
        assert!(error["message"].as_str().unwrap().contains(reason), "{error}");
        // Vectorize's shows nothing but JSON, and accepts nothing else.
        let error = worker.error("vec.query", json!({"vector": [1, 2, 3]})).await?;
        let text = error["message"].as_str().unwrap();
        assert!(
            text.starts_with("VECTOR_QUERY_ERROR (code = 403): bowline: Access refused binding \"VEC\"")
                && text.contains(reason),
            "{error}"
        );
        let url = format!("http://{http}/");
        let answer = worker.ok("vpc.fetch", json!({"url": url})).await?;
        assert_eq!(answer["status"], 403, "{answer}");
        let first = answer["body"]
            .as_str()
            .unwrap()
            .lines()
            .next()
            .unwrap_or_default();
        assert!(
            first.starts_with("bowline: Access refused binding \"VPC\" at ") && first.contains(reason),
            "{answer}"
        );
        let answer = worker
            .ok("vpc.websocket", json!({"url": url, "messages": ["x"]}))
            .await?;
        assert!(answer["body"].as_str().unwrap().contains(reason), "{answer}");
        let message = json!({"message": {"from": "from@example.com", "to": "to@example.com", "subject": "s", "text": "t"}});
        let error = worker.error("mail.builder", message).await?;
        let text = error["message"].as_str().unwrap();
        assert!(
            text.contains("Access refused binding \"MAIL\"") && text.contains(reason),
            "{error}"
        );
        worker
            .error("vpc.connect", json!({"address": tcp.to_string(), "text": "x"}))
            .await?;
        worker.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn four_refused() -> Result<()> {
    refusals(Miniflare::V4).await
}

#[tokio::test]
async fn five_refused() -> Result<()> {
    refusals(Miniflare::V5).await
}
