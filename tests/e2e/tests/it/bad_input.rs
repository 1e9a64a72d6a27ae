//! What no honest client sends, at every surface: a clear answer, and everything still works after it.

use anyhow::Result;
use bowline_e2e::client::{Answer, Outgoing, Upgraded, raw};
use bowline_e2e::flow::{self, FLOWS, Outcome, Targets, fetch, query};
use bowline_e2e::project::{Access, Credentials, Project};
use bowline_e2e::upstream;
use http::{Method, Uri};
use serde_json::{Value, json};

struct Line {
    project: Project,
    targets: Targets,
    /// `connect` and `serve`, so that every case runs against both.
    _proxy: bowline_e2e::program::Program,
    _remote: bowline_e2e::program::Program,
    urls: [String; 2],
}

async fn line() -> Result<Line> {
    let targets = Targets {
        tcp: upstream::tcp_echo().await?,
        http: upstream::http_echo().await?,
    };
    let project = Project::new(&[targets.tcp.to_string(), targets.http.to_string()])?;
    let remote = project.serve(Access::Off).await?;
    let proxy = project.connect(remote.url(), &Credentials::default()).await?;
    let urls = [proxy.url().to_owned(), remote.url().to_owned()];
    Ok(Line {
        project,
        targets,
        _proxy: proxy,
        _remote: remote,
        urls,
    })
}

impl Line {
    /// Everything still works.
    async fn check(&self) -> Result<()> {
        for url in &self.urls {
            for flow in FLOWS {
                assert_eq!(
                    flow.call(url, self.targets).await?,
                    Outcome::Works,
                    "{flow:?} at {url}"
                );
            }
        }
        assert!(self.project.state().exists());
        Ok(())
    }
}

fn says(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    assert!(answer.text().contains(text), "`{text}` in `{}`", answer.text());
}

#[tokio::test]
async fn malformed_calls() -> Result<()> {
    let line = line().await?;
    for url in &line.urls {
        let get = || Outgoing::new(Method::GET, url);
        says(&get().send().await?, 400, "MF-Binding");
        says(
            &get()
                .header("MF-Binding", "NOPE")
                .header("MF-URL", "http://x/")
                .send()
                .await?,
            400,
            "Binding \"NOPE\" not found",
        );
        says(
            &get()
                .header("MF-Binding", [0xff, 0xfe])
                .header("MF-URL", "http://x/")
                .send()
                .await?,
            400,
            "MF-Binding",
        );
        says(&get().header("MF-Binding", "DB").send().await?, 400, "MF-URL");
        says(
            &get()
                .header("MF-Binding", "DB")
                .header("MF-URL", "http://d1/")
                .header("MF-Header-", "x")
                .send()
                .await?,
            400,
            "MF-Header-",
        );
        // Every upgrade that is none.
        for upgrade in [
            flow::rpc(url, "NOPE").upgrade().await?,
            flow::connect(url, "NOPE", "h:1").upgrade().await?,
        ] {
            let text = match upgrade {
                Upgraded::Answer(answer) => answer.text(),
                Upgraded::Socket(mut socket, _) => flow::call_rpc(&mut socket, "send", json!({}))
                    .await?
                    .expect_err("no binding, no result"),
            };
            assert!(text.contains("Binding \"NOPE\" not found"), "{text}");
        }
        for address in ["", "h", "h:", ":1", "h:99999", "h:0x1", "a b:1"] {
            let Upgraded::Answer(answer) = flow::connect(url, "VPC", address).upgrade().await? else {
                panic!("`{address}` was taken for an address")
            };
            assert_eq!(answer.status, 400, "{address}: {}", answer.text());
        }
        let short = flow::rpc(url, "MAIL")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket");
        let answer = short.send().await?;
        assert!(
            answer.status.is_client_error() || answer.status == 502,
            "{}: {}",
            answer.status,
            answer.text()
        );
    }
    line.check().await
}

#[tokio::test]
async fn urls_and_bytes_that_others_stumble_over() -> Result<()> {
    let line = line().await?;
    let target = format!("http://{}", line.targets.http);
    for url in &line.urls {
        // List URLs have a query and no path.
        let answer = fetch(Method::GET, url, "VPC", &format!("{target}?list=1&x=%20"))
            .send()
            .await?;
        assert_eq!(answer.headers["x-target"], "/?list=1&x=%20");
        assert_eq!(answer.reason.as_deref(), Some("Short And Stout"));
        // Header bytes as they are: KV keeps its metadata in one, as UTF-8.
        let bytes = "{\"knot\":\"Palstek – ✓\"}".as_bytes();
        let latin = b"caf\xe9".as_slice();
        let answer = fetch(Method::PUT, url, "VPC", &target)
            .header("MF-Header-X-Metadata", bytes)
            .header("MF-Header-X-Latin", latin)
            .header("MF-Header-X-Twice", "1")
            .header("MF-Header-X-Twice", "2")
            .body("x")
            .send()
            .await?;
        assert_eq!(answer.headers["x-metadata"].as_bytes(), bytes);
        assert_eq!(answer.headers["x-latin"].as_bytes(), latin);
        assert_eq!(
            answer.headers.get_all("x-twice").iter().collect::<Vec<_>>(),
            ["1", "2"]
        );
    }
    line.check().await
}

#[tokio::test]
async fn what_bindings_refuse() -> Result<()> {
    let line = line().await?;
    for url in &line.urls {
        let post = |inner: &str| {
            fetch(Method::POST, url, "DB", inner).header("MF-Header-Content-Type", "application/json")
        };
        for body in [
            "",
            "{",
            "[]",
            "{\"sql\":1}",
            "[{\"sql\":\"SELECT 1\",\"params\":[{}]}]",
        ] {
            let answer = post("http://d1/query").body(body).send().await?;
            // D1 says it in the document, whatever the status.
            let document: Value = serde_json::from_slice(&answer.body)?;
            assert_eq!(document["success"], false, "{body}: {document}");
            assert!(
                document["error"].as_str().is_some_and(|text| !text.is_empty()),
                "{body}: {document}"
            );
        }
        let answer = query(url, "SELEC 1", json!([])).send().await?;
        assert!(answer.text().contains("syntax error"), "{}", answer.text());
        let deep = format!(
            "{{\"sql\":\"SELECT ?\",\"params\":{}{}}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let answer = post("http://d1/query").body(deep).send().await?;
        assert!(answer.text().contains("\"success\":false"), "{}", answer.text());
        // D1 takes no statement above 100 kB.
        let answer = query(url, &format!("SELECT '{}'", "x".repeat(101_000)), json!([]))
            .send()
            .await?;
        assert!(answer.text().contains("too long"), "{}", answer.text());

        let answer = fetch(Method::POST, url, "VEC", "http://vector-search/query")
            .header("MF-Header-Content-Type", "application/json")
            .body(json!({"vector": [1, 2], "topK": 1}).to_string())
            .send()
            .await?;
        says(&answer, 400, "expected 3 dimensions");
        says(
            &fetch(Method::GET, url, "VPC", "http://127.0.0.1:1/")
                .send()
                .await?,
            500,
            "127.0.0.1:1",
        );
    }
    line.check().await
}

#[tokio::test]
async fn the_proxys_url_is_a_capability() -> Result<()> {
    let line = line().await?;
    let url = &line.urls[0];
    let uri: Uri = url.parse()?;
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    assert!(uri.path().len() > 20, "{url}");
    let guesses = [
        format!("http://{authority}/"),
        format!("http://{authority}/{}/", "A".repeat(uri.path().len() - 2)),
        url[..url.len() - 2].to_owned(),
    ];
    for guess in guesses {
        assert_eq!(
            query(&guess, "SELECT 1", json!([])).send().await?.status,
            404,
            "{guess}"
        );
    }
    let answer = query(url, "SELECT 1", json!([]))
        .header("Origin", "https://attacker.example")
        .send()
        .await?;
    assert_eq!(answer.status, 403, "{}", answer.text());
    // A page that had its name rebound to loopback.
    let answer = query(url, "SELECT 1", json!([]))
        .header("Host", "attacker.example")
        .send()
        .await?;
    assert!(
        answer.status == 403 || answer.status == 421,
        "{} {}",
        answer.status,
        answer.text()
    );
    for upgrade in [
        flow::rpc(url, "MAIL"),
        flow::connect(url, "VPC", &line.targets.tcp.to_string()),
    ] {
        let upgraded = upgrade
            .header("Origin", "https://attacker.example")
            .upgrade()
            .await?;
        assert!(matches!(upgraded, Upgraded::Answer(answer) if answer.status == 403));
    }
    line.check().await
}

#[tokio::test]
async fn bytes_that_are_no_http() -> Result<()> {
    let line = line().await?;
    for url in &line.urls {
        for request in [
            &b"\x16\x03\x01\x02\x00\x01\x00"[..],
            b"GET\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
        ] {
            let answer = raw(url, request).await?;
            assert!(
                answer.starts_with(b"HTTP/1.1 400 "),
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
        let large = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "x".repeat(2_000_000)
        );
        // The connection may be reset before all of it is taken.
        if let Ok(answer) = raw(url, large.as_bytes()).await {
            assert!(
                answer.starts_with(b"HTTP/1.1 4"),
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
    }
    line.check().await
}

#[tokio::test]
async fn bodies_without_an_end() -> Result<()> {
    let line = line().await?;
    let body = vec![b'x'; 40 * 1024 * 1024];
    for url in &line.urls {
        // It comes long before the body has ended, and has to survive that.
        let answer = fetch(Method::POST, url, "DB", "http://d1/query")
            .header("MF-Header-Content-Type", "application/json")
            .body(body.clone())
            .send()
            .await?;
        assert!(answer.text().contains("larger than"), "{}", answer.text());
    }
    line.check().await
}
