//! The binding as a Worker's client drives it: real requests, a real database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline_binding::{Binding, CallContext, FetchReply, FetchRequest, Resources};
use futures_util::FutureExt as _;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::binding::D1;
use crate::config::{Config, Limits};
use crate::sqlite::Sqlite;

const QUERY: &str = "http://d1/query?resultsFormat=ROWS_AND_COLUMNS";
const EXECUTE: &str = "http://d1/execute?resultsFormat=NONE";
const SESSION: &str = "x-cf-d1-session-commit-token";

struct Database {
    binding: Arc<dyn Binding>,
    state: Arc<tempfile::TempDir>,
}

impl Database {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let state = tempfile::tempdir().unwrap();
        let config = Config {
            database_id: "test".to_owned(),
        };
        let store = Sqlite::open(&config, state.path(), limits).unwrap();
        Self {
            binding: Arc::new(D1::new(Arc::new(store))),
            state: Arc::new(state),
        }
    }

    fn open(state: Arc<tempfile::TempDir>) -> Self {
        let entry = json!({"binding": "DB", "database_name": "x", "database_id": "test"});
        let resources = Resources::new(state.path().to_owned());
        let binding = (crate::DESCRIPTOR.build)(&entry, &resources).unwrap();
        Self { binding, state }
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        session: Option<&str>,
        body: &str,
    ) -> (StatusCode, HeaderMap, Value) {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        if let Some(session) = session {
            headers.insert(SESSION, session.parse().unwrap());
        }
        let request = FetchRequest {
            method,
            url: url.to_owned(),
            headers,
            body: bowline_binding::full(body.to_owned()),
            upgrade: None,
        };
        let FetchReply::Response(response) = self
            .binding
            .fetch(&CallContext::new("DB", "local"), request)
            .await
            .unwrap()
        else {
            panic!("an upgrade")
        };
        let (parts, body) = response.into_parts();
        let body = bowline_binding::collect(body, usize::MAX).await.unwrap();
        (
            parts.status,
            parts.headers,
            serde_json::from_slice(&body).unwrap(),
        )
    }

    async fn post(&self, url: &str, body: Value) -> Value {
        let (status, headers, answer) = self.send(Method::POST, url, None, &body.to_string()).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["content-type"], "application/json");
        answer
    }

    async fn sql(&self, sql: &str) -> Value {
        self.post(QUERY, json!({"sql": sql, "params": []})).await
    }

    /// The rows of a statement that must succeed.
    async fn rows(&self, sql: &str, params: Value) -> Value {
        let answer = self.post(QUERY, json!({"sql": sql, "params": params})).await;
        assert_eq!(answer[0]["success"], true, "{sql}: {answer}");
        answer[0]["results"]["rows"].clone()
    }

    /// The error of a statement that must fail.
    async fn error(&self, sql: &str) -> String {
        error_of(&self.sql(sql).await)
    }
}

fn error_of(answer: &Value) -> String {
    assert_eq!(answer["success"], false, "{answer}");
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
    answer["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_calls_of_the_javascript_api() {
    let db = Database::new();
    // exec: a list without params, whose results nobody reads.
    let answer = db
        .post(
            EXECUTE,
            json!([{"sql": "CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB)"}, {"sql": "CREATE TABLE b(y)"}]),
        )
        .await;
    assert_eq!(answer.as_array().unwrap().len(), 2);
    assert!(
        answer
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one.get("results").is_none() && one["meta"]["duration"].is_f64())
    );
    // run
    let answer = db
        .post(
            EXECUTE,
            json!({"sql": "INSERT INTO t VALUES (?, ?)", "params": [1, [1, 2, 255]]}),
        )
        .await;
    assert_eq!(answer[0]["results"], json!([]));
    let sql = "INSERT INTO t VALUES (2, NULL) RETURNING id";
    let answer = db.post(EXECUTE, json!({"sql": sql, "params": []})).await;
    assert_eq!(answer[0]["results"], json!([{"id": 2}]));
    // all, first, raw
    let answer = db
        .post(
            QUERY,
            json!({"sql": "SELECT * FROM t WHERE id=? AND b=?", "params": [1, [1, 2, 255]]}),
        )
        .await;
    assert_eq!(
        answer[0]["results"],
        json!({"columns": ["id", "b"], "rows": [[1, [1, 2, 255]]]})
    );
    // batch
    let answer = db
        .post(
            QUERY,
            json!([{"sql": "SELECT 1", "params": []}, {"sql": "SELECT ?", "params": ["é"]}]),
        )
        .await;
    assert_eq!(answer[0]["results"], json!({"columns": ["1"], "rows": [[1]]}));
    assert_eq!(answer[1]["results"], json!({"columns": ["?"], "rows": [["é"]]}));
    // errors
    assert_eq!(
        db.error("SELECT * FROM nosuch").await,
        "no such table: nosuch: SQLITE_ERROR"
    );
    let answer = db.post(EXECUTE, json!([{"sql": "SELECT * FROM nosuch"}])).await;
    assert_eq!(error_of(&answer), "no such table: nosuch: SQLITE_ERROR");
    assert_eq!(
        db.error("SELEC 1").await,
        "near \"SELEC\": syntax error at offset 0: SQLITE_ERROR"
    );
    assert_eq!(
        db.error("INSERT INTO t VALUES (1, 0)").await,
        "UNIQUE constraint failed: t.id: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_PRIMARYKEY)"
    );
}

#[tokio::test]
async fn results_formats() {
    let db = Database::new();
    let select = json!({"sql": "SELECT 1 AS a, 'x' AS \"q\"\"q\" UNION ALL SELECT 2, NULL", "params": []});
    let objects = json!([{"a": 1, "q\"q": "x"}, {"a": 2, "q\"q": null}]);
    for url in [
        "http://d1/query",
        "http://d1/query?resultsFormat=ARRAY_OF_OBJECTS",
        "http://d1/query?resultsFormat=?",
    ] {
        assert_eq!(db.post(url, select.clone()).await[0]["results"], objects, "{url}");
    }
    assert_eq!(
        db.post(QUERY, select.clone()).await[0]["results"],
        json!({"columns": ["a", "q\"q"], "rows": [[1, "x"], [2, null]]})
    );
    assert_eq!(db.post(EXECUTE, select.clone()).await[0]["results"], objects);
    assert_eq!(db.post(EXECUTE, json!([select])).await[0].get("results"), None);
    assert_eq!(
        db.post(QUERY, json!({"sql": "SELECT 1 AS a, 2 AS b WHERE 0"}))
            .await[0]["results"],
        json!({"columns": ["a", "b"], "rows": []})
    );
}

#[tokio::test]
async fn values_go_in_and_come_out() {
    let db = Database::new();
    for (value, kind) in [
        (json!(null), "null"),
        (json!(1), "real"),
        (json!(-9_007_199_254_740_991_i64), "real"),
        (json!(1.5), "real"),
        (json!(1e300), "real"),
        (json!("a\"\u{1}é😀"), "text"),
        (json!([]), "blob"),
        (json!([0, 127, 255]), "blob"),
    ] {
        assert_eq!(
            db.rows("SELECT ?1, typeof(?1)", json!([value])).await,
            json!([[value, kind]])
        );
    }
    assert_eq!(
        db.rows("SELECT ?, ?", json!([true, false])).await,
        json!([[1, 0]])
    );
    // Affinity makes of a number what the column is.
    db.sql("CREATE TABLE affinity(i INTEGER, t TEXT, n)").await;
    db.rows("INSERT INTO affinity VALUES (?1, ?1, ?1)", json!([1]))
        .await;
    assert_eq!(
        db.rows("SELECT typeof(i), t, typeof(n) FROM affinity LIMIT ?", json!([1]))
            .await,
        json!([["integer", "1.0", "real"]])
    );
    assert_eq!(db.rows("SELECT 9e999", json!([])).await, json!([[null]]));
    for bad in [
        json!([{}]),
        json!([[256]]),
        json!([[1.5]]),
        json!([["x"]]),
        json!([[-1]]),
    ] {
        let answer = db.post(QUERY, json!({"sql": "SELECT ?", "params": bad})).await;
        assert!(error_of(&answer).starts_with("params[0] must be"), "{answer}");
    }
    for (sql, params) in [
        ("SELECT ?", json!([])),
        ("SELECT 1", json!([1])),
        ("SELECT ?, ?", json!([1])),
        ("SELECT ?; SELECT ?", json!([1])),
    ] {
        let answer = db.post(QUERY, json!({"sql": sql, "params": params})).await;
        assert!(
            error_of(&answer).starts_with("Wrong number of parameter bindings"),
            "{sql}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    let db = Database::new();
    db.sql("CREATE TABLE t(x UNIQUE)").await;
    let answer = db
        .post(
            QUERY,
            json!([
                {"sql": "INSERT INTO t VALUES (1)"},
                {"sql": "CREATE TABLE other(y)"},
                {"sql": "INSERT INTO t VALUES (1)"},
                {"sql": "SELECT * FROM nosuch"},
            ]),
        )
        .await;
    assert_eq!(
        error_of(&answer),
        "UNIQUE constraint failed: t.x: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)"
    );
    assert_eq!(db.rows("SELECT count(*) FROM t", json!([])).await, json!([[0]]));
    assert_eq!(
        db.error("SELECT * FROM other").await,
        "no such table: other: SQLITE_ERROR"
    );
    // A conflict that ends the transaction by itself.
    let answer = db
        .post(
            QUERY,
            json!([{"sql": "INSERT INTO t VALUES (1)"}, {"sql": "INSERT OR ROLLBACK INTO t VALUES (1)"}]),
        )
        .await;
    assert!(error_of(&answer).contains(": SQLITE_CONSTRAINT"));
    assert_eq!(db.rows("SELECT count(*) FROM t", json!([])).await, json!([[0]]));
    // A failure that only shows at the commit.
    db.sql("CREATE TABLE c(x REFERENCES t(x) DEFERRABLE INITIALLY DEFERRED)")
        .await;
    assert_eq!(
        db.error("INSERT INTO c VALUES (9)").await,
        "FOREIGN KEY constraint failed: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_FOREIGNKEY)"
    );
    assert_eq!(db.rows("SELECT count(*) FROM c", json!([])).await, json!([[0]]));
}

#[tokio::test]
async fn several_statements_and_comments() {
    let db = Database::new();
    let rows = db
        .rows(
            "CREATE TABLE t(x); -- a comment; SELECT 9\nINSERT INTO t VALUES (?); /* no */; SELECT 7;",
            json!(["v"]),
        )
        .await;
    assert_eq!(rows, json!([[7]]));
    assert_eq!(db.rows("SELECT x FROM t -- end", json!([])).await, json!([["v"]]));
    db.rows(
        "CREATE TRIGGER r AFTER INSERT ON t BEGIN DELETE FROM t WHERE x = new.x; SELECT 1; END; SELECT 2",
        json!([]),
    )
    .await;
    for empty in ["", " \n", "-- only\n", ";;", "/* a */ ; -- b"] {
        assert_eq!(db.error(empty).await, "No SQL statements detected.", "{empty:?}");
    }
    let answer = db
        .post(QUERY, json!([{"sql": "-- gone"}, {"sql": "SELECT 1"}]))
        .await;
    assert_eq!(answer.as_array().unwrap().len(), 1);
    assert_eq!(
        error_of(&db.post(QUERY, json!([])).await),
        "No SQL statements detected."
    );
    assert!(db.error("SELECT 1\0; DROP TABLE t").await.contains("NUL"));
}

#[tokio::test]
async fn meta_counts() {
    let db = Database::new();
    let meta = async |sql: &str| db.sql(sql).await[0]["meta"].clone();
    let created = meta("CREATE TABLE t(id INTEGER PRIMARY KEY, x)").await;
    assert_eq!(
        (&created["changes"], &created["changed_db"]),
        (&json!(0), &json!(true))
    );
    assert_eq!(created["size_after"], 8192);
    let names: Vec<_> = created.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "served_by",
            "served_by_region",
            "served_by_colo",
            "served_by_primary",
            "timings",
            "duration",
            "changes",
            "last_row_id",
            "changed_db",
            "size_after",
            "rows_read",
            "rows_written",
            "total_attempts",
        ]
    );
    let inserted = meta("INSERT INTO t(x) VALUES (1), (2), (3)").await;
    assert_eq!(
        (
            &inserted["changes"],
            &inserted["last_row_id"],
            &inserted["rows_written"]
        ),
        (&json!(3), &json!(3), &json!(3))
    );
    let read = meta("SELECT x FROM t WHERE x = 2").await;
    assert_eq!(
        (&read["rows_read"], &read["rows_written"], &read["changed_db"]),
        (&json!(3), &json!(0), &json!(false))
    );
    assert_eq!(meta("SELECT x FROM t WHERE id = 2").await["rows_read"], 1);
    assert_eq!(meta("DROP TABLE t").await["changed_db"], true);
    // As workerd 2026-11-17 counts them.
    db.sql("CREATE TABLE i(id INTEGER PRIMARY KEY, a, b); CREATE INDEX ia ON i(a); CREATE INDEX ib ON i(b)")
        .await;
    db.sql("CREATE TABLE k(k TEXT PRIMARY KEY, v); CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID")
        .await;
    for (sql, read, written) in [
        ("INSERT INTO i VALUES (1, 1, 1), (2, 2, 2)", 0, 6),
        ("UPDATE i SET a = 9 WHERE id = 1", 1, 2),
        ("UPDATE i SET a = 9, b = 8 WHERE id = 2", 1, 3),
        ("DELETE FROM i WHERE id = 1", 1, 1),
        ("INSERT INTO k VALUES ('a', 1)", 0, 2),
        ("INSERT INTO w VALUES ('a', 1)", 0, 1),
        ("SELECT 1", 0, 0),
        ("SELECT * FROM k WHERE k = 'a'", 1, 0),
    ] {
        let meta = meta(sql).await;
        assert_eq!(
            (&meta["rows_read"], &meta["rows_written"]),
            (&json!(read), &json!(written)),
            "{sql}"
        );
    }
    // A kept statement's price follows the schema.
    let insert = "INSERT INTO k VALUES (hex(randomblob(8)), 1)";
    assert_eq!(meta(insert).await["rows_written"], 2);
    db.sql("CREATE INDEX kv ON k(v)").await;
    assert_eq!(meta(insert).await["rows_written"], 3);
    // Rows changed by triggers count.
    db.sql("CREATE TABLE a(x); CREATE TABLE log(x); CREATE TRIGGER r AFTER INSERT ON a BEGIN INSERT INTO log VALUES (1); END").await;
    assert_eq!(meta("INSERT INTO a VALUES (1)").await["changes"], 2);
}

#[tokio::test]
async fn what_sql_may_not_do() {
    let db = Database::new();
    let file = db.state.path().join("stolen.sqlite");
    let into = format!("VACUUM INTO '{}'", file.display());
    let attach = format!("ATTACH '{}' AS x", file.display());
    for sql in [
        "BEGIN",
        "BEGIN IMMEDIATE",
        "COMMIT",
        "END",
        "ROLLBACK",
        "SAVEPOINT a",
        "RELEASE a",
        "ROLLBACK TO a",
        &attach,
        "DETACH main",
        "SELECT load_extension('x')",
        "CREATE TEMP TABLE x(y)",
        "CREATE VIRTUAL TABLE x USING dbstat",
        "PRAGMA journal_mode = delete",
        "PRAGMA user_version = 7",
        "PRAGMA writable_schema = 1",
        "PRAGMA max_page_count = 2",
    ] {
        let error = db.error(sql).await;
        assert!(
            error.starts_with("not authorized") && error.ends_with(": SQLITE_AUTH"),
            "{sql}: {error}"
        );
    }
    assert!(db.error(&into).await.contains("VACUUM"));
    assert!(db.error("VACUUM").await.contains("VACUUM"));
    assert!(!file.exists());
    // A refusal inside a batch rolls it back.
    db.post(QUERY, json!([{"sql": "CREATE TABLE t(x)"}, {"sql": "COMMIT"}]))
        .await;
    assert_eq!(
        db.error("SELECT * FROM t").await,
        "no such table: t: SQLITE_ERROR"
    );
    // What may be used goes on working.
    db.rows("PRAGMA table_list", json!([])).await;
    db.rows(
        "CREATE TABLE a(x); ALTER TABLE a RENAME COLUMN x TO y; ALTER TABLE a RENAME TO b; PRAGMA optimize",
        json!([]),
    )
    .await;
    db.rows(
        "CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES ('red apple'), ('green pear')",
        json!([]),
    )
    .await;
    assert_eq!(
        db.rows("SELECT body FROM f WHERE f MATCH ?", json!(["pear"]))
            .await,
        json!([["green pear"]])
    );
    // A setting ends with its call: the connection is everyone's.
    assert_eq!(
        db.rows("PRAGMA case_sensitive_like = 1; SELECT 'A' LIKE 'a'", json!([]))
            .await,
        json!([[0]])
    );
    assert_eq!(db.rows("SELECT 'A' LIKE 'a'", json!([])).await, json!([[1]]));
}

#[tokio::test]
async fn limits() {
    let db = Database::new();
    let params = |count| json!(vec![1; count]);
    let marks = |count| vec!["?"; count].join(",");
    db.rows(&format!("SELECT max({})", marks(32)), params(32)).await;
    for (sql, part) in [
        (format!("SELECT '{}'", "x".repeat(100_000)), "SQLITE_TOOBIG"),
        (format!("SELECT {}", vec!["1"; 101].join(",")), "too many columns"),
        (
            format!("SELECT max({})", vec!["1"; 33].join(",")),
            "too many arguments",
        ),
        (
            format!(
                "SELECT {}",
                (0..101)
                    .map(|n| format!("?{}", n + 1))
                    .collect::<Vec<_>>()
                    .join("+")
            ),
            "variable number",
        ),
        (
            format!("SELECT 'a' LIKE '{}'", "x".repeat(51)),
            "pattern too complex",
        ),
        ("SELECT randomblob(2000001)".to_owned(), "SQLITE_TOOBIG"),
    ] {
        let error = db.error(&sql).await;
        assert!(error.contains(part), "{part}: {error}");
    }
    db.rows("SELECT 1 WHERE 'a' NOT LIKE ?", json!(["x".repeat(50)]))
        .await;
    let many = vec![json!({"sql": "SELECT 1"}); 1_001];
    assert!(error_of(&db.post(QUERY, json!(many)).await).contains("at most 1000 statements"));
    // 60 MB of results.
    let wide = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 60) SELECT replace(hex(zeroblob(499999)), '0', 'x') FROM n";
    assert!(error_of(&db.sql(wide).await).contains("LIMIT"));
    let body = format!("{}{}", " ".repeat(crate::wire::MAX_BODY), "1");
    let (status, _, answer) = db.send(Method::POST, QUERY, None, &body).await;
    assert_eq!(status, StatusCode::OK);
    assert!(error_of(&answer).contains("larger than"));
}

const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";

#[tokio::test]
async fn endless_sql_is_interrupted() {
    let db = Database::with(Limits {
        call: Duration::from_millis(200),
        ..Limits::default()
    });
    db.sql("CREATE TABLE t(x)").await;
    let begun = Instant::now();
    let answer = db
        .post(
            QUERY,
            json!([{"sql": "INSERT INTO t VALUES (1)"}, {"sql": ENDLESS}]),
        )
        .await;
    assert!(error_of(&answer).contains("time limit of 200 ms"), "{answer}");
    assert!(begun.elapsed() >= Duration::from_millis(200) && begun.elapsed() < Duration::from_secs(10));
    assert_eq!(db.rows("SELECT count(*) FROM t", json!([])).await, json!([[0]]));
}

/// A table, and a stranger who holds the write lock: writes wait in the database thread until it is released.
fn lock(db: &Database) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(db.state.path().join("d1/test.sqlite")).unwrap();
    other.execute_batch("CREATE TABLE t(x); BEGIN IMMEDIATE").unwrap();
    other
}

#[tokio::test]
async fn a_full_queue_is_told() {
    let db = Database::with(Limits {
        queue: 1,
        ..Limits::default()
    });
    let other = lock(&db);
    // The first is run or queued; of the next two at most one finds room.
    let mut calls: Vec<_> = (0..3)
        .map(|_| Box::pin(db.sql("INSERT INTO t VALUES (1)")))
        .collect();
    let answers: Vec<_> = calls.iter_mut().filter_map(|call| call.now_or_never()).collect();
    assert!((1..=2).contains(&answers.len()), "{answers:?}");
    for answer in &answers {
        assert_eq!(error_of(answer), "D1 DB is overloaded. Too many requests queued.");
    }
    other.execute_batch("COMMIT").unwrap();
    let refused = answers.len();
    drop(calls);
    // Room again, for the queue is in order.
    let begun = Instant::now();
    while db.sql("SELECT 1").await[0]["success"] != true {
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    let rows = db.rows("SELECT count(*) FROM t", json!([])).await[0][0]
        .as_u64()
        .unwrap();
    assert!(rows as usize <= 3 - refused);
}

#[tokio::test]
async fn what_waited_too_long_is_never_run() {
    let db = Database::with(Limits {
        queue_wait: Duration::from_millis(500),
        ..Limits::default()
    });
    let other = lock(&db);
    let mut first = Box::pin(db.sql("INSERT INTO t VALUES ('first')"));
    assert!((&mut first).now_or_never().is_none());
    assert_eq!(
        db.error("INSERT INTO t VALUES ('late')").await,
        "D1 DB is overloaded. Requests queued for too long."
    );
    other.execute_batch("COMMIT").unwrap();
    // It had begun, so it may take longer than the wait for a turn.
    assert_eq!(first.await[0]["success"], true);
    assert_eq!(db.rows("SELECT x FROM t", json!([])).await, json!([["first"]]));
}

#[tokio::test]
async fn a_call_whose_caller_left_before_its_turn_is_not_run() {
    let db = Database::with(Limits {
        call: Duration::from_millis(300),
        ..Limits::default()
    });
    db.sql("CREATE TABLE t(x)").await;
    let mut busy = Box::pin(db.sql(ENDLESS));
    assert!((&mut busy).now_or_never().is_none());
    assert!(
        db.sql("INSERT INTO t VALUES ('dropped')")
            .now_or_never()
            .is_none()
    );
    let mut kept = Box::pin(db.sql("INSERT INTO t VALUES ('kept')"));
    assert!((&mut kept).now_or_never().is_none());
    busy.await;
    kept.await;
    assert_eq!(db.rows("SELECT x FROM t", json!([])).await, json!([["kept"]]));
}

#[tokio::test]
async fn bookmarks_grow_and_survive() {
    let db = Database::new();
    let bookmark = async |db: &Database, session, sql: &str| {
        let body = json!({"sql": sql, "params": []}).to_string();
        let (_, headers, answer) = db.send(Method::POST, QUERY, Some(session), &body).await;
        assert_eq!(answer[0]["success"], true, "{answer}");
        headers[SESSION].to_str().unwrap().to_owned()
    };
    let start = bookmark(&db, "first-primary", "SELECT 1").await;
    let created = bookmark(&db, "first-unconstrained", "CREATE TABLE t(x)").await;
    let written = bookmark(&db, &created, "INSERT INTO t VALUES (1)").await;
    assert!(
        start < created && created < written,
        "{start} {created} {written}"
    );
    assert_eq!(
        bookmark(&db, "00000001-00000002-00004f4f-abc", "SELECT * FROM t").await,
        written
    );
    // A rolled back write is no point in history.
    db.post(
        QUERY,
        json!([{"sql": "INSERT INTO t VALUES (1)"}, {"sql": "nonsense"}]),
    )
    .await;
    assert_eq!(bookmark(&db, "first-primary", "SELECT 1").await, written);
    let (_, headers, answer) = db
        .send(Method::POST, QUERY, Some("tomorrow"), r#"{"sql":"SELECT 1"}"#)
        .await;
    assert!(error_of(&answer).contains("first-primary") && !headers.contains_key(SESSION));

    let reopened = Database::open(Arc::clone(&db.state));
    drop(db);
    assert_eq!(bookmark(&reopened, "first-primary", "SELECT 1").await, written);
    assert!(bookmark(&reopened, "first-primary", "INSERT INTO t VALUES (2)").await > written);
}

#[tokio::test]
async fn an_acknowledged_write_is_on_disk() {
    let db = Database::new();
    db.sql("CREATE TABLE t(x); INSERT INTO t VALUES ('kept')").await;
    // What a kill leaves: the files as they are now, copied under an open connection.
    let after = tempfile::tempdir().unwrap();
    std::fs::create_dir(after.path().join("d1")).unwrap();
    for name in ["test.sqlite", "test.sqlite-wal"] {
        let name = format!("d1/{name}");
        std::fs::copy(db.state.path().join(&name), after.path().join(&name)).unwrap();
    }
    let reopened = Database::open(Arc::new(after));
    assert_eq!(
        reopened.rows("SELECT x FROM t", json!([])).await,
        json!([["kept"]])
    );
}

#[tokio::test]
async fn two_bindings_share_a_database() {
    let first = Database::new();
    let second = Database::open(Arc::clone(&first.state));
    first.sql("CREATE TABLE t(x)").await;
    let writes = (0..50).map(|n| {
        let db = if n % 2 == 0 { &first } else { &second };
        async move { db.rows("INSERT INTO t VALUES (?)", json!([n])).await }
    });
    futures_util::future::join_all(writes).await;
    assert_eq!(
        second.rows("SELECT count(*) FROM t", json!([])).await,
        json!([[50]])
    );
}

#[tokio::test]
async fn another_process_may_write_between() {
    const WRITES: u32 = 150;
    let db = Database::new();
    db.sql("CREATE TABLE t(x)").await;
    let other = rusqlite::Connection::open(db.state.path().join("d1/test.sqlite")).unwrap();
    let writer = tokio::task::spawn_blocking(move || {
        other.busy_timeout(Duration::from_secs(10)).unwrap();
        for _ in 0..WRITES {
            other.execute_batch("INSERT INTO t VALUES ('other')").unwrap();
        }
    });
    // Each reads before it writes, so its snapshot is stale whenever the other wrote in between.
    for _ in 0..WRITES {
        db.rows("SELECT count(*) FROM t; INSERT INTO t VALUES ('ours')", json!([]))
            .await;
    }
    writer.await.unwrap();
    assert_eq!(
        db.rows("SELECT count(*) FROM t", json!([])).await,
        json!([[2 * WRITES]])
    );
}

#[tokio::test]
async fn requests_no_client_makes() {
    let db = Database::new();
    let (status, headers, answer) = db.send(Method::GET, "http://d1/query", None, "").await;
    assert_eq!(
        (status, headers["allow"].to_str().unwrap()),
        (StatusCode::METHOD_NOT_ALLOWED, "POST")
    );
    assert_eq!(error_of(&answer), "/query takes POST, not GET");
    let (status, _, answer) = db.send(Method::POST, "http://d1/nosuch", None, "").await;
    assert_eq!(
        (status, error_of(&answer).as_str()),
        (StatusCode::NOT_FOUND, "D1 has no endpoint /nosuch")
    );
    for (body, part) in [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("\u{0}", "not JSON"),
        ("1", "must be an object"),
        ("[1]", "statement 0: must be an object"),
        ("{}", "\"sql\" must be a text"),
        (r#"{"sql":1}"#, "\"sql\" must be a text"),
        (
            r#"[{"sql":"SELECT 1"},{"sql":"SELECT 1","params":{}}]"#,
            "statement 1: \"params\" must be a list",
        ),
    ] {
        let (status, _, answer) = db.send(Method::POST, QUERY, None, body).await;
        assert_eq!(status, StatusCode::OK);
        assert!(error_of(&answer).contains(part), "{body}: {answer}");
    }
    let deep = "[".repeat(100_000);
    let (_, _, answer) = db.send(Method::POST, QUERY, None, &deep).await;
    assert!(error_of(&answer).contains("not JSON"));
}

#[tokio::test]
async fn a_dump_is_a_database() {
    let db = Database::new();
    db.sql("CREATE TABLE t(x); INSERT INTO t VALUES ('kept')").await;
    let request = FetchRequest {
        method: Method::POST,
        url: "http://d1/dump".to_owned(),
        headers: HeaderMap::new(),
        body: bowline_binding::empty(),
        upgrade: None,
    };
    let FetchReply::Response(response) = db
        .binding
        .fetch(&CallContext::new("DB", "local"), request)
        .await
        .unwrap()
    else {
        panic!("an upgrade")
    };
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    let bytes = bowline_binding::collect(response.into_body(), 1 << 20)
        .await
        .unwrap();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::create_dir(folder.path().join("d1")).unwrap();
    std::fs::write(folder.path().join("d1/test.sqlite"), &bytes).unwrap();
    let restored = Database::open(folder);
    assert_eq!(
        restored.rows("SELECT x FROM t", json!([])).await,
        json!([["kept"]])
    );
    // Nothing of the copy is left behind.
    let names = std::fs::read_dir(db.state.path().join("d1")).unwrap();
    assert!(
        names
            .map(|entry| entry.unwrap().file_name())
            .all(|name| name.to_str().unwrap().starts_with("test."))
    );
}

#[tokio::test]
async fn the_rpc_form() {
    use capnweb::Value as V;
    let db = Database::new();
    let target = db.binding.target(&CallContext::new("DB", "local")).unwrap();
    let main = capnweb::pair(
        Arc::new(capnweb::NoMain),
        target,
        capnweb::SessionOptions::default(),
    );
    let query = |sql: &str, params: Vec<V>| V::object([("sql", sql.into()), ("params", V::Array(params))]);
    let request = |queries: Vec<V>, bookmark: Option<V>| {
        let mut members = vec![("queries", V::Array(queries))];
        members.extend(bookmark.map(|bookmark| ("bookmark", bookmark)));
        V::object(members)
    };
    let bytes = V::Array(vec![1.into(), 255.into()]);
    let answer = main
        .call(
            "query",
            [request(
                vec![
                    query("CREATE TABLE t(x, y)", vec![]),
                    query("INSERT INTO t VALUES (?, ?)", vec![bytes.clone(), 2.5.into()]),
                    query("SELECT x, y, typeof(x) FROM t", vec![]),
                ],
                Some("first-primary".into()),
            )],
        )
        .await
        .unwrap();
    let Some(V::Array(results)) = answer.member("results") else {
        panic!("{answer:?}")
    };
    let data = results[2].member("data").unwrap();
    assert_eq!(data.member("kind").unwrap().as_str(), Some("raw"));
    assert_eq!(
        data.member("rows"),
        Some(&V::Array(vec![V::Array(vec![bytes, 2.5.into(), "blob".into()])]))
    );
    assert_eq!(
        results[1].member("meta").unwrap().member("changes"),
        Some(&1.into())
    );
    let bookmark = answer.member("bookmark").unwrap().clone();
    let later = main
        .call(
            "query",
            [request(
                vec![query("DELETE FROM t", vec![])],
                Some(bookmark.clone()),
            )],
        )
        .await
        .unwrap();
    assert!(later.member("bookmark").unwrap().as_str() > bookmark.as_str());
    for (bad, part) in [
        (
            request(vec![query("SELECT * FROM nosuch", vec![])], None),
            "no such table: nosuch: SQLITE_ERROR",
        ),
        (
            request(vec![query("SELECT 1", vec![])], Some("tomorrow".into())),
            "first-primary",
        ),
        (
            request(vec![query("SELECT ?", vec![V::Object(vec![])])], None),
            "params[0] must be",
        ),
        (
            request(vec![query("SELECT ?", vec![V::Array(vec![256.into()])])], None),
            "params[0] must be",
        ),
        (request(vec![V::Null], None), "\"sql\" must be a text"),
        (V::Null, "query() takes"),
    ] {
        let error = main.call("query", [bad]).await.unwrap_err();
        assert!(error.message().contains(part), "{part}: {error}");
    }
    let error = main.call("drop", []).await.unwrap_err();
    assert_eq!(error.message(), "'drop' is not a function.");
}
