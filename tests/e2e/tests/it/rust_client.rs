//! `bowline-client` against the real program: straight at a remote with a service token, and through `bowline connect`.

use std::time::Duration;

use anyhow::{Result, bail};
use bowline_client::d1::{Param, Statement};
use bowline_client::{Body, Client, Deadlines, Error, ErrorKind, Hop, Refusal, Secret};
use bowline_e2e::program::{self, Program};
use bowline_e2e::project::{Access, Credentials, Project};
use bowline_e2e::rust_client::RustClient;
use bowline_e2e::upstream;
use bytes::Bytes;
use http::Request;
use serde::Deserialize;
use serde_json::json;

use crate::miniflare::vectorize;

/// A remote that asks for a token, and both ways to it.
struct Line {
    project: Project,
    remote: Program,
    proxy: Program,
    token: Credentials,
}

impl Line {
    async fn new(allow: &[String]) -> Result<Self> {
        let project = Project::new(allow)?;
        let remote = project.serve(Access::On).await?;
        let token = project.new_token("client").await?;
        let proxy = project.connect(remote.url(), &token).await?;
        Ok(Self {
            project,
            remote,
            proxy,
            token,
        })
    }

    fn straight(&self) -> Client {
        let (id, secret) = (self.token.id.clone(), self.token.secret.clone());
        let secret = Secret::new(secret.unwrap());
        let client = Client::builder(self.remote.url()).service_token(id.unwrap(), secret);
        client.build().unwrap()
    }

    fn proxied(&self) -> Client {
        Client::builder(self.proxy.url()).build().unwrap()
    }
}

#[tokio::test]
async fn vectorize_contract_straight() -> Result<()> {
    let line = Line::new(&[]).await?;
    vectorize(&mut RustClient(line.straight())).await
}

#[tokio::test]
async fn vectorize_contract_through_the_proxy() -> Result<()> {
    let line = Line::new(&[]).await?;
    vectorize(&mut RustClient(line.proxied())).await
}

#[derive(Debug, PartialEq, Deserialize)]
struct Row {
    id: i64,
    name: Option<String>,
    data: Option<Vec<u8>>,
}

async fn d1(client: &Client) -> Result<()> {
    let db = client.d1("DB");
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, data BLOB)")
        .await?;
    let insert = |name: Option<&str>, data: Option<Vec<u8>>| {
        Statement::new("INSERT INTO t (name, data) VALUES (?, ?)")
            .bind(name)
            .bind(data)
    };
    let meta = db.execute(insert(Some("Zoë"), Some(vec![0, 255, 7]))).await?;
    assert_eq!((meta.changes, meta.last_row_id, meta.changed_db), (1, 1, true));
    let answers = db
        .batch(&[
            insert(None, None),
            "SELECT id, name, data FROM t ORDER BY id".into(),
        ])
        .await?;
    assert_eq!(answers[1].columns, ["id", "name", "data"]);
    let rows: Vec<Row> = db.query_as("SELECT * FROM t ORDER BY id").await?;
    let expected = [
        Row {
            id: 1,
            name: Some("Zoë".into()),
            data: Some(vec![0, 255, 7]),
        },
        Row {
            id: 2,
            name: None,
            data: None,
        },
    ];
    assert_eq!(rows, expected);
    let numbers = Statement::new("SELECT ?1, ?2, ?3")
        .bind(1.5)
        .bind(true)
        .bind(Param::Null);
    assert_eq!(
        db.query(numbers).await?.rows,
        [[json!(1.5), json!(1), json!(null)]]
    );

    let session = db.session("first-primary");
    session.execute(insert(Some("c"), None)).await?;
    let first = session.bookmark().unwrap();
    session.execute(insert(Some("d"), None)).await?;
    let second = session.bookmark().unwrap();
    assert!(!first.starts_with("first-") && first < second, "{first} {second}");
    let counted = db.session(second).query("SELECT count(*) FROM t").await?;
    assert_eq!(counted.rows, [[json!(4)]]);

    let error = db.query("SELECT * FROM nowhere").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "binding \"DB\", query: no such table: nowhere: SQLITE_ERROR"
    );
    assert!(!error.may_retry());
    let failing = [insert(Some("gone"), None), "INSERT INTO t (id) VALUES (1)".into()];
    let error = db.batch(&failing).await.unwrap_err();
    assert!(
        error.to_string().contains("UNIQUE constraint failed: t.id"),
        "{error}"
    );
    assert_eq!(
        db.query("SELECT count(*) FROM t").await?.rows,
        [[json!(4)]],
        "none of it"
    );
    Ok(())
}

#[tokio::test]
async fn d1_both_ways() -> Result<()> {
    let line = Line::new(&[]).await?;
    d1(&line.straight()).await?;
    line.straight().d1("DB").execute("DROP TABLE t").await?;
    d1(&line.proxied()).await
}

#[tokio::test]
async fn rpc_and_streams() -> Result<()> {
    let http = upstream::http_echo().await?;
    let line = Line::new(&[http.to_string()]).await?;
    for client in [line.straight(), line.proxied()] {
        let mail = client.binding("MAIL").rpc().await?;
        let message = |to: &str| {
            let pairs = [
                ("from", "from@example.com"),
                ("to", to),
                ("subject", "s"),
                ("text", "t"),
            ];
            bowline_client::capnweb::Value::object(pairs.map(|(name, text)| (name, text.into())))
        };
        mail.call("send", [message("to@example.com")]).await?;
        let error = mail
            .call("send", [message("stranger@example.com")])
            .await
            .unwrap_err();
        assert!(matches!(*error.kind, ErrorKind::Rejected(_)), "{error:?}");
        assert!(error.to_string().contains("stranger@example.com"), "{error}");

        // More than any buffer on the way holds, so that it only passes when it streams.
        let pieces = (0..64u8).map(|number| Ok::<_, std::io::Error>(Bytes::from(vec![number; 64 * 1024])));
        let body = bowline_client::stream(futures_util::stream::iter(pieces));
        let request = Request::put(format!("http://{http}/a/b?c=%20d"))
            .header("x-word", "yes")
            .body(body)?;
        let response = client.binding("VPC").fetch(request).await?;
        assert_eq!(response.status(), 418);
        assert_eq!(response.headers()["x-target"], "/a/b?c=%20d");
        assert_eq!(response.headers()["x-word"], "yes");
        let back = bowline_client::collect(response.into_body(), 8 << 20).await?;
        assert_eq!(back.len(), 64 * 64 * 1024);
        assert!(
            back.chunks(64 * 1024)
                .zip(0..)
                .all(|(piece, number)| piece.iter().all(|byte| *byte == number))
        );
    }
    Ok(())
}

fn kind(error: &Error) -> &ErrorKind {
    &error.kind
}

#[tokio::test]
async fn errors_name_binding_hop_status_and_cause() -> Result<()> {
    let line = Line::new(&[]).await?;
    let describe = async |client: Client| client.vectorize("VEC").describe().await.unwrap_err();

    let nobody = Client::builder(line.remote.url()).build()?;
    let error = describe(nobody.clone()).await;
    let ErrorKind::Line(failure) = kind(&error) else {
        bail!("{error:?}")
    };
    assert_eq!(
        (failure.hop, failure.status.as_u16()),
        (Hop::Gate(Refusal::LoginRequired), 403)
    );
    assert!(
        error.to_string().contains("binding \"VEC\", describe: ")
            && error.to_string().contains("no service token was sent"),
        "{error}"
    );
    assert!(!error.may_retry());
    let error = nobody.binding("MAIL").rpc().await.unwrap_err();
    assert!(
        matches!(kind(&error), ErrorKind::Line(failure) if failure.hop == Hop::Gate(Refusal::LoginRequired)),
        "{error:?}"
    );

    let error = line.straight().vectorize("NONE").describe().await.unwrap_err();
    assert!(matches!(kind(&error), ErrorKind::OnTheWay { .. }), "{error:?}");
    assert!(
        error.to_string().contains("Binding \"NONE\" not found"),
        "{error}"
    );
    let error = line.proxied().vectorize("NONE").describe().await.unwrap_err();
    assert!(
        error.to_string().contains("Binding \"NONE\" not found"),
        "{error}"
    );

    let error = describe(Client::builder("http://127.0.0.1:1/").build()?).await;
    let ErrorKind::Line(failure) = kind(&error) else {
        bail!("{error:?}")
    };
    assert_eq!(failure.hop, Hop::Connect);
    assert!(
        failure.text.contains("127.0.0.1:1") && error.may_retry(),
        "{error}"
    );

    // A listener that never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let deadlines = Deadlines {
        answer: Duration::from_millis(50),
        upgrade: Duration::from_millis(50),
        ..Deadlines::default()
    };
    let waiting = Client::builder(format!("http://{}/", silent.local_addr()?))
        .deadlines(deadlines)
        .build()?;
    let error = describe(waiting.clone()).await;
    assert!(
        matches!(kind(&error), ErrorKind::Line(failure) if failure.hop == Hop::Answer),
        "{error:?}"
    );
    let error = waiting.binding("MAIL").rpc().await.unwrap_err();
    assert!(
        matches!(kind(&error), ErrorKind::Line(failure) if failure.hop == Hop::Upgrade),
        "{error:?}"
    );

    // The secret and the connection string are nobody's to read.
    let secret = line.token.secret.clone().unwrap();
    let builder = Client::builder(line.proxy.url()).service_token("id", Secret::new(&secret));
    let shown = format!("{builder:?} {:?} {:?}", builder.clone().build()?, line.straight());
    let capability = line.proxy.url().trim_end_matches('/').rsplit('/').next().unwrap();
    assert!(!shown.contains(&secret) && !shown.contains(capability), "{shown}");
    Ok(())
}

#[tokio::test]
async fn fetch_is_cut_where_a_bound_is() -> Result<()> {
    let line = Line::new(&[]).await?;
    let client = Client::builder(line.proxy.url()).largest_answer(64).build()?;
    let error = client.vectorize("VEC").describe().await.unwrap_err();
    assert!(
        matches!(kind(&error), ErrorKind::Body(_)) && !error.may_retry(),
        "{error:?}"
    );
    let request = Request::get("relative").body(bowline_client::empty() as Body);
    assert!(request.is_ok(), "a relative URL is for the binding to judge");
    Ok(())
}

/// The examples, as a user runs them.
#[tokio::test]
async fn examples_run() -> Result<()> {
    let line = Line::new(&[]).await?;
    for (example, binding, expected) in [
        (
            "vectorize",
            "VEC",
            "blue 0.994 \"jazz\"\nred 0.936 \"jazz\"\n3 vectors\n",
        ),
        ("d1", "DB", "bowline 0.65\nbookmark "),
        (
            "artifacts",
            "ART",
            "Ada: The first knot\nthe king of knots\ndeleted: true\n",
        ),
    ] {
        let mut command = program::cleared(&program::example("bowline-client", example)?);
        command.args([line.proxy.url(), binding]);
        let output = program::run(command, Duration::from_secs(30)).await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.starts_with(expected),
            "{example}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert!(line.project.state().exists());
    Ok(())
}
