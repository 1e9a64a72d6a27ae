//! The binding as a Worker's client drives it: real requests, a real index.

mod graph;
mod model;
mod search;

use std::sync::Arc;

use bowline_binding::{Binding, CallContext, ConfigError, FetchReply, FetchRequest, Resources};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::database::{Accepted, Change, Database};
use crate::store::{Existing, Mutation};

struct Index {
    binding: Arc<dyn Binding>,
    state: Arc<tempfile::TempDir>,
}

fn build(entry: &Value, state: &tempfile::TempDir) -> Result<Arc<dyn Binding>, ConfigError> {
    let resources = Resources::new(state.path().to_owned());
    (crate::DESCRIPTOR.build)(entry, &resources)
}

fn entry(metric: &str, metadata_indexes: Value) -> Value {
    json!({"binding": "VEC", "index_name": "x", "dimensions": 3, "metric": metric, "metadata_indexes": metadata_indexes})
}

impl Index {
    fn new(metric: &str, metadata_indexes: Value) -> Self {
        Self::open(metric, metadata_indexes, Arc::new(tempfile::tempdir().unwrap()))
    }

    fn open(metric: &str, metadata_indexes: Value, state: Arc<tempfile::TempDir>) -> Self {
        let binding = build(&entry(metric, metadata_indexes), &state).unwrap();
        Self { binding, state }
    }

    async fn send(&self, method: Method, path: &str, body: &str) -> (StatusCode, HeaderMap, Value) {
        let request = FetchRequest {
            method,
            url: format!("http://vector-search{path}"),
            headers: HeaderMap::new(),
            body: bowline_binding::full(body.to_owned()),
            upgrade: None,
        };
        let FetchReply::Response(response) = self
            .binding
            .fetch(&CallContext::new("VEC", "local"), request)
            .await
            .unwrap()
        else {
            panic!("an upgrade")
        };
        let (parts, body) = response.into_parts();
        let body = bowline_binding::collect(body, usize::MAX).await.unwrap();
        assert_eq!(parts.headers["content-type"], "application/json");
        (
            parts.status,
            parts.headers,
            serde_json::from_slice(&body).unwrap(),
        )
    }

    async fn ok(&self, path: &str, body: &str) -> Value {
        let method = if path == "/info" {
            Method::GET
        } else {
            Method::POST
        };
        let (status, _, answer) = self.send(method, path, body).await;
        assert_eq!(status, StatusCode::OK, "{path} {body}: {answer}");
        if answer["mutationId"].is_string() {
            self.processed(&answer["mutationId"]).await;
        }
        answer
    }

    /// Asks until a mutation, the last one, is processed.
    async fn processed(&self, mutation: &Value) {
        let asked = async {
            loop {
                let (_, _, info) = self.send(Method::GET, "/info", "").await;
                if info["processedUpToMutation"] == *mutation {
                    return;
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), asked)
            .await
            .unwrap();
    }

    /// The code and text of a call that must fail.
    async fn error(&self, path: &str, body: &str) -> (u64, String) {
        let (status, _, answer) = self.send(Method::POST, path, body).await;
        let code = answer["code"].as_u64().unwrap();
        assert_eq!(u64::from(status.as_u16()), code / 100, "{answer}");
        (code, answer["error"].as_str().unwrap().to_owned())
    }

    async fn write(&self, path: &str, vectors: &[Value]) -> String {
        let lines: Vec<_> = vectors.iter().map(Value::to_string).collect();
        let answer = self.ok(path, &lines.join("\n")).await;
        answer["mutationId"].as_str().unwrap().to_owned()
    }

    async fn query(&self, body: Value) -> Vec<Value> {
        let answer = self.ok("/query", &body.to_string()).await;
        let matches = answer["matches"].as_array().unwrap().clone();
        assert_eq!(answer["count"], matches.len());
        matches
    }

    async fn ids(&self, filter: Value) -> Vec<String> {
        let matches = self
            .query(json!({"vector": [1, 0, 0], "topK": 100, "filter": filter}))
            .await;
        let mut ids: Vec<_> = matches
            .iter()
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    }
}

#[tokio::test]
async fn the_calls_of_the_javascript_api() {
    let index = Index::new(
        "cosine",
        json!([{"property": "x", "type": "number"}, {"property": "y", "type": "string"}]),
    );
    assert_eq!(
        index.ok("/info", "").await,
        json!({"dimensions": 3, "vectorCount": 0, "processedUpToDatetime": null, "processedUpToMutation": null})
    );
    let body = concat!(
        r#"{"id":"a","values":[1,2,3],"metadata":{"x":1,"y":"z"},"namespace":"n"}"#,
        "\n",
        r#"{"id":"b","values":[1,2,3.5]}"#
    );
    let mutation = index.ok("/insert", body).await["mutationId"].clone();
    let info = index.ok("/info", "").await;
    assert_eq!(
        (&info["vectorCount"], &info["processedUpToMutation"]),
        (&json!(2), &mutation)
    );
    let at = info["processedUpToDatetime"].as_str().unwrap();
    assert!(
        at.len() == 24 && at.ends_with('Z') && at.parse::<jiff::Timestamp>().is_ok(),
        "{at}"
    );

    let answer = index
        .ok("/query", r#"{"topK":5,"namespace":"n","returnValues":true,"returnMetadata":"all","filter":{"x":{"$gte":1},"y":"z"},"vector":[1,2,3]}"#)
        .await;
    let a = json!({"id": "a", "score": 1.0, "values": [1.0, 2.0, 3.0], "metadata": {"x": 1, "y": "z"}, "namespace": "n"});
    assert_eq!(answer, json!({"count": 1, "matches": [a]}));
    let matches = index
        .query(json!({"returnMetadata": "all", "vector": [0.5, 2, 3]}))
        .await;
    assert_eq!(matches.len(), 2);
    assert_eq!(matches[0].get("values"), None);
    let matches = index.query(json!({"topK": 3, "vectorId": "a"})).await;
    assert_eq!((&matches[0]["id"], &matches[1]["id"]), (&json!("a"), &json!("b")));
    assert_eq!(matches[1].as_object().unwrap().len(), 2);

    index.ok("/upsert", r#"{"id":"a","values":[1,2,3]}"#).await;
    let vectors = index.ok("/getByIds", r#"{"ids":["b","nosuch","a"]}"#).await;
    assert_eq!(
        vectors,
        json!([{"id": "b", "values": [1.0, 2.0, 3.5]}, {"id": "a", "values": [1.0, 2.0, 3.0]}])
    );
    let mutation = index.ok("/deleteByIds", r#"{"ids":["a","nosuch"]}"#).await["mutationId"].clone();
    let info = index.ok("/info", "").await;
    assert_eq!(
        (&info["vectorCount"], &info["processedUpToMutation"]),
        (&json!(1), &mutation)
    );
    assert_eq!(index.ok("/getByIds", r#"{"ids":["a"]}"#).await, json!([]));
}

#[tokio::test]
async fn insert_keeps_and_upsert_replaces() {
    let index = Index::new("euclidean", json!([]));
    index
        .write(
            "/insert",
            &[json!({"id": "a", "values": [1, 0, 0], "metadata": {"old": true}, "namespace": "n"})],
        )
        .await;
    // The first of two wins an insert, the last an upsert.
    index
        .write(
            "/insert",
            &[
                json!({"id": "a", "values": [2, 0, 0]}),
                json!({"id": "b", "values": [3, 0, 0]}),
                json!({"id": "b", "values": [4, 0, 0]}),
            ],
        )
        .await;
    let get = async |index: &Index| index.ok("/getByIds", r#"{"ids":["a","b"]}"#).await;
    let kept = json!([
        {"id": "a", "values": [1.0, 0.0, 0.0], "metadata": {"old": true}, "namespace": "n"},
        {"id": "b", "values": [3.0, 0.0, 0.0]},
    ]);
    assert_eq!(get(&index).await, kept);
    index
        .write(
            "/upsert",
            &[
                json!({"id": "a", "values": [5, 0, 0]}),
                json!({"id": "a", "values": [0.1, 0, 0]}),
            ],
        )
        .await;
    let replaced = json!([{"id": "a", "values": [0.1, 0.0, 0.0]}, {"id": "b", "values": [3.0, 0.0, 0.0]}]);
    assert_eq!(get(&index).await, replaced);
    // Memory and file agree.
    let state = Arc::clone(&index.state);
    drop(index);
    assert_eq!(get(&Index::open("euclidean", json!([]), state)).await, replaced);
}

#[tokio::test]
async fn scores_of_the_three_metrics() {
    let vectors = [
        json!({"id": "same", "values": [2, 0, 0]}),
        json!({"id": "near", "values": [4, 3, 0]}),
        json!({"id": "across", "values": [0, 1, 0]}),
        json!({"id": "against", "values": [-2, 0, 0]}),
    ];
    for (metric, expected) in [
        (
            "cosine",
            [("same", 1.0), ("near", 0.8), ("across", 0.0), ("against", -1.0)],
        ),
        (
            "euclidean",
            [
                ("same", 0.0),
                ("across", 5f64.sqrt()),
                ("near", 13f64.sqrt()),
                ("against", 4.0),
            ],
        ),
        (
            "dot-product",
            [("near", -8.0), ("same", -4.0), ("across", 0.0), ("against", 4.0)],
        ),
    ] {
        let index = Index::new(metric, json!([]));
        index.write("/insert", &vectors).await;
        let matches = index.query(json!({"vector": [2, 0, 0]})).await;
        let found: Vec<_> = matches
            .iter()
            .map(|one| (one["id"].as_str().unwrap(), one["score"].as_f64().unwrap()))
            .collect();
        assert_eq!(found, expected, "{metric}");
    }
    // A vector without direction is close to nothing and far from nothing.
    let index = Index::new("cosine", json!([]));
    index
        .write("/insert", &[json!({"id": "zero", "values": [0, 0, 0]})])
        .await;
    assert_eq!(index.query(json!({"vector": [1, 0, 0]})).await[0]["score"], 0.0);
}

#[tokio::test]
async fn namespaces() {
    let index = Index::new("cosine", json!([]));
    index
        .write(
            "/insert",
            &[
                json!({"id": "1", "values": [1, 0, 0], "namespace": "a"}),
                json!({"id": "2", "values": [1, 0, 0], "namespace": "b"}),
                json!({"id": "3", "values": [1, 0, 0]}),
            ],
        )
        .await;
    let count = async |body: Value| index.query(body).await.len();
    assert_eq!(count(json!({"vector": [1, 0, 0]})).await, 3);
    assert_eq!(count(json!({"vector": [1, 0, 0], "namespace": "a"})).await, 1);
    assert_eq!(count(json!({"vector": [1, 0, 0], "namespace": "c"})).await, 0);
    assert_eq!(
        index.query(json!({"vector": [1, 0, 0], "namespace": "b"})).await[0]["namespace"],
        "b"
    );
}

#[tokio::test]
async fn filters() {
    let indexes = json!([
        {"property": "genre", "type": "string"}, {"property": "year", "type": "number"},
        {"property": "new", "type": "boolean"}, {"property": "a.b", "type": "string"},
    ]);
    let index = Index::new("cosine", indexes);
    let vector = |id: &str, metadata: Value| json!({"id": id, "values": [1, 0, 0], "metadata": metadata});
    index
        .write(
            "/insert",
            &[
                vector(
                    "1",
                    json!({"genre": "drama", "year": 1990, "new": false, "plain": 1}),
                ),
                vector(
                    "2",
                    json!({"genre": "comedy", "year": 2000.5, "new": true, "a": {"b": "deep"}}),
                ),
                vector("3", json!({"genre": 7, "year": "2000"})),
                vector("4", json!({"genre": format!("x{}", "é".repeat(40))})),
            ],
        )
        .await;
    for (filter, expected) in [
        (json!({"genre": "drama"}), "1"),
        (json!({"genre": {"$eq": "drama"}}), "1"),
        (json!({"genre": {"$ne": "drama"}}), "2 3 4"),
        (json!({"year": {"$lt": 2000.5}}), "1"),
        (json!({"year": {"$lte": 2000.5}}), "1 2"),
        (json!({"year": {"$gt": 1990}}), "2"),
        (json!({"year": {"$gte": 1990, "$lt": 2000}}), "1"),
        (json!({"genre": {"$gte": "comedy", "$lt": "d"}}), "2"),
        (json!({"genre": {"$in": ["drama", "comedy", 7]}}), "1 2"),
        (json!({"genre": {"$nin": ["drama", "comedy"]}}), "3 4"),
        (json!({"genre": {"$nin": ["drama", null]}}), "2 4"),
        (json!({"new": true}), "2"),
        (json!({"new": {"$ne": null}}), "1 2"),
        (json!({"genre": null}), "3"),
        (json!({"genre": "comedy", "new": false}), ""),
        (json!({"a.b": "deep"}), "2"),
        // Texts compare on their first 64 bytes, here cut to 63 between two-byte characters.
        (json!({"genre": format!("x{}other", "é".repeat(31))}), ""),
        (json!({"genre": format!("x{}other", "é".repeat(32))}), "4"),
        // Not indexed, not found.
        (json!({"plain": 1}), ""),
        (json!({"plain": {"$ne": 2}}), ""),
    ] {
        assert_eq!(index.ids(filter.clone()).await.join(" "), expected, "{filter}");
    }
    for bad in [
        json!({}),
        json!([]),
        json!("x"),
        json!({"": 1}),
        json!({"$x": 1}),
        json!({"a\"b": 1}),
        json!({"a": []}),
        json!({"a": {}}),
        json!({"a": {"b": 1}}),
        json!({"a": {"$in": []}}),
        json!({"a": {"$in": "x"}}),
        json!({"a": {"$in": [{}]}}),
        json!({"a": {"$lt": null}}),
        json!({"a": {"$gt": true}}),
        json!({"a": {"$eq": {}}}),
        json!({"k".repeat(513): 1}),
        json!({"a": "x".repeat(2048)}),
    ] {
        let (code, text) = index
            .error("/query", &json!({"vector": [1, 0, 0], "filter": bad}).to_string())
            .await;
        assert_eq!(code, 40004, "{bad}: {text}");
    }
}

#[tokio::test]
async fn only_vectors_written_after_a_metadata_index_are_in_it() {
    let genre = json!([{"property": "genre", "type": "string"}]);
    let vector = |id: &str| json!({"id": id, "values": [1, 0, 0], "metadata": {"genre": "drama", "year": 1}});
    let index = Index::new("cosine", json!([]));
    index.write("/insert", &[vector("before")]).await;
    let reopen = |index: Index, indexes: Value| {
        let state = Arc::clone(&index.state);
        drop(index);
        Index::open("cosine", indexes, state)
    };
    let index = reopen(index, genre.clone());
    index.write("/insert", &[vector("after"), vector("before")]).await;
    let filter = json!({"genre": "drama"});
    assert_eq!(index.ids(filter.clone()).await, ["after"]);
    let indexed = index
        .query(json!({"vector": [1, 0, 0], "returnMetadata": "indexed"}))
        .await;
    assert_eq!(
        (&indexed[0]["id"], &indexed[0]["metadata"]),
        (&json!("after"), &json!({"genre": "drama"}))
    );
    assert_eq!(
        (&indexed[1]["id"], &indexed[1]["metadata"]),
        (&json!("before"), &json!({}))
    );

    let index = reopen(index, genre.clone());
    assert_eq!(
        index.ids(filter.clone()).await,
        ["after"],
        "an index survives a restart"
    );
    index.write("/upsert", &[vector("before")]).await;
    assert_eq!(index.ids(filter.clone()).await, ["after", "before"]);
    let index = reopen(reopen(index, json!([])), genre);
    assert_eq!(
        index.ids(filter).await,
        [] as [&str; 0],
        "an index made anew starts empty"
    );
}

#[tokio::test]
async fn returned_metadata() {
    let index = Index::new(
        "cosine",
        json!([{"property": "a.b", "type": "string"}, {"property": "n", "type": "number"}]),
    );
    let long = "x".repeat(100);
    index.write("/insert", &[json!({"id": "1", "values": [1, 0, 0], "metadata": {"a": {"b": long, "c": 1}, "n": 2, "o": 3}})]).await;
    let metadata = async |kind: Value| {
        index
            .query(json!({"vector": [1, 0, 0], "returnMetadata": kind}))
            .await[0]
            .get("metadata")
            .cloned()
    };
    assert_eq!(metadata(json!("none")).await, None);
    assert_eq!(metadata(json!(false)).await, None);
    assert_eq!(
        metadata(json!("indexed")).await,
        Some(json!({"a": {"b": "x".repeat(64)}, "n": 2}))
    );
    for all in [json!("all"), json!(true)] {
        assert_eq!(
            metadata(all).await,
            Some(json!({"a": {"b": long, "c": 1}, "n": 2, "o": 3}))
        );
    }
}

#[tokio::test]
async fn options_have_bounds() {
    let index = Index::new("cosine", json!([]));
    let many: Vec<_> = (0..150)
        .map(|n| json!({"id": n.to_string(), "values": [1, n, 0]}))
        .collect();
    index.write("/insert", &many).await;
    let count = async |mut body: Value| {
        body["vector"] = json!([1, 0, 0]);
        index.query(body).await.len()
    };
    assert_eq!(count(json!({})).await, 5);
    assert_eq!(count(json!({"topK": 100})).await, 100);
    assert_eq!(
        count(json!({"topK": 100, "returnMetadata": "indexed", "unknown": 1})).await,
        100
    );
    assert_eq!(count(json!({"topK": 20, "returnValues": true})).await, 20);
    for (options, part) in [
        (json!({"topK": 0}), "topK"),
        (json!({"topK": 101}), "from 1 to 100"),
        (json!({"topK": 1.5}), "topK"),
        (json!({"topK": "5"}), "topK"),
        (json!({"topK": 21, "returnValues": true}), "from 1 to 20 with"),
        (json!({"topK": 21, "returnMetadata": "all"}), "from 1 to 20 with"),
        (json!({"returnValues": 1}), "returnValues"),
        (json!({"returnMetadata": "some"}), "returnMetadata"),
        (json!({"namespace": ""}), "namespace"),
        (json!({"namespace": "n".repeat(65)}), "namespace"),
        (json!({"namespace": 1}), "namespace"),
        (json!({"vectorId": "1"}), "either vector or vectorId"),
        (json!({"vector": null}), "either vector or vectorId"),
        (json!({"vector": null, "vectorId": 1}), "vectorId must be a text"),
        (json!({"vector": [1, "x", 0]}), "finite"),
        (json!({"vector": [1e39, 0, 0]}), "finite"),
        (json!({"vector": "x"}), "finite"),
    ] {
        let mut body = json!({"vector": [1, 0, 0]});
        body.as_object_mut()
            .unwrap()
            .extend(options.as_object().unwrap().clone());
        let (code, text) = index.error("/query", &body.to_string()).await;
        assert!(code == 40003 && text.contains(part), "{body}: {code} {text}");
    }
    let (code, text) = index.error("/query", r#"{"vector":[1,2]}"#).await;
    assert_eq!(
        (code, text.as_str()),
        (
            40012,
            "invalid vector: expected 3 dimensions, and got 2 dimensions"
        )
    );
    let (code, text) = index.error("/query", r#"{"vectorId":"nosuch"}"#).await;
    assert_eq!((code, text.as_str()), (40401, "vector \"nosuch\" does not exist"));
}

#[tokio::test]
async fn a_bad_vector_stops_the_whole_upload() {
    let index = Index::new("cosine", json!([]));
    let good = r#"{"id":"good","values":[1,2,3]}"#;
    for (bad, code, part) in [
        (
            json!({"id": "bad", "values": [1]}),
            40012,
            "for id=\"bad\": expected 3 dimensions, and got 1",
        ),
        (json!({"id": "", "values": [1, 2, 3]}), 40002, "line 2"),
        (json!({"id": 1, "values": [1, 2, 3]}), 40002, "id must be"),
        (
            json!({"id": "i".repeat(65), "values": [1, 2, 3]}),
            40002,
            "64 bytes",
        ),
        (json!({"id": "bad"}), 40002, "values"),
        (json!({"id": "bad", "values": [1, 2, null]}), 40002, "values"),
        (json!({"id": "bad", "values": [1, 2, 4e38]}), 40002, "finite"),
        (
            json!({"id": "bad", "values": [1, 2, 3], "namespace": "n".repeat(65)}),
            40002,
            "namespace",
        ),
        (
            json!({"id": "bad", "values": [1, 2, 3], "metadata": []}),
            40002,
            "metadata",
        ),
        (
            json!({"id": "bad", "values": [1, 2, 3], "metadata": {"m": "m".repeat(10_240)}}),
            40002,
            "10240 bytes",
        ),
        (
            json!(["bad", [1, 2, 3], null, null]),
            40001,
            "line 2 must be a JSON object",
        ),
        (json!([]), 40001, "line 2 must be a JSON object"),
    ] {
        for path in ["/insert", "/upsert"] {
            let (found, text) = index.error(path, &format!("{good}\n{bad}")).await;
            assert!(found == code && text.contains(part), "{bad}: {found} {text}");
        }
    }
    let (code, text) = index.error("/insert", &format!("{good}\n{{")).await;
    assert!(code == 40001 && text.contains("line 2"), "{text}");
    assert_eq!(index.error("/insert", "\n").await.0, 40001);
    assert_eq!(
        index.error("/upsert", &vec![good; 1_001].join("\n")).await.0,
        40005
    );
    assert_eq!(index.ok("/info", "").await["vectorCount"], 0);
    index.ok("/insert", &format!("{good}\r\n\n")).await;
    assert_eq!(index.ok("/info", "").await["vectorCount"], 1);
}

#[tokio::test]
async fn requests_no_client_makes() {
    let index = Index::new("cosine", json!([]));
    let (status, headers, answer) = index.send(Method::POST, "/info", "").await;
    assert_eq!(
        (status, headers["allow"].as_bytes()),
        (StatusCode::METHOD_NOT_ALLOWED, &b"GET"[..])
    );
    assert_eq!(answer, json!({"code": 40501, "error": "/info takes GET"}));
    for path in ["/query", "/insert", "/upsert", "/getByIds", "/deleteByIds"] {
        let (status, headers, _) = index.send(Method::GET, path, "").await;
        assert_eq!(
            (status, headers["allow"].as_bytes()),
            (StatusCode::METHOD_NOT_ALLOWED, &b"POST"[..])
        );
    }
    assert_eq!(index.error("/list", "").await.0, 40402);
    for path in ["/query", "/getByIds", "/deleteByIds"] {
        for body in ["", "{", "[]", "1", "\u{0}"] {
            assert_eq!(index.error(path, body).await.0, 40001, "{path} {body}");
        }
        let (code, _) = index.error(path, &" ".repeat(crate::wire::MAX_BODY + 1)).await;
        assert_eq!(code, 41301);
    }
    for body in [
        json!({}),
        json!({"ids": []}),
        json!({"ids": "a"}),
        json!({"ids": [1]}),
        json!({"ids": vec!["a"; 1_001]}),
    ] {
        assert_eq!(index.error("/getByIds", &body.to_string()).await.0, 40001);
        assert_eq!(index.error("/deleteByIds", &body.to_string()).await.0, 40001);
    }
}

#[tokio::test]
async fn a_stored_index_keeps_its_shape() {
    let index = Index::new("cosine", json!([]));
    let mut other = entry("cosine", json!([]));
    other["dimensions"] = json!(4);
    let refusal = |entry: &Value| build(entry, &index.state).err().map(|error| error.to_string());
    assert!(
        refusal(&other).unwrap().starts_with("`index_name`"),
        "in use with another shape"
    );
    // The same shape shares the index.
    let twin = Index::open("cosine", json!([]), Arc::clone(&index.state));
    twin.write("/insert", &[json!({"id": "a", "values": [1, 0, 0]})])
        .await;
    assert_eq!(index.ok("/info", "").await["vectorCount"], 1);
    drop(twin);
    let state = Arc::clone(&index.state);
    drop(index);
    let refusal = |entry: &Value| build(entry, &state).err().map(|error| error.to_string());
    assert_eq!(
        refusal(&other).unwrap(),
        "`dimensions`: is 4, but the stored index \"x\" has 3; use another index_name"
    );
    assert_eq!(
        refusal(&entry("euclidean", json!([]))).unwrap(),
        "`metric`: is \"euclidean\", but the stored index \"x\" has \"cosine\"; use another index_name"
    );
    let held = Index::open("cosine", json!([]), Arc::clone(&state));
    let stranger = rusqlite::Connection::open(state.path().join("vectorize/x.sqlite")).unwrap();
    stranger.busy_timeout(std::time::Duration::ZERO).unwrap();
    assert!(
        stranger.execute("DELETE FROM vector", []).is_err(),
        "nobody else may write"
    );
    assert_eq!(held.ok("/info", "").await["vectorCount"], 1);
}

/// What a kill leaves: the files as they are now, copied under an open index.
fn killed(index: &Index) -> Arc<tempfile::TempDir> {
    let after = tempfile::tempdir().unwrap();
    std::fs::create_dir(after.path().join("vectorize")).unwrap();
    for name in ["x.sqlite", "x.sqlite-wal", "x.vectors"] {
        let name = format!("vectorize/{name}");
        std::fs::copy(index.state.path().join(&name), after.path().join(&name)).unwrap();
    }
    Arc::new(after)
}

#[tokio::test]
async fn an_acknowledged_write_is_on_disk() {
    let index = Index::new("cosine", json!([]));
    let mutation = index
        .write(
            "/insert",
            &[json!({"id": "kept", "values": [1, 2, 3], "namespace": "n", "metadata": {"m": 1}})],
        )
        .await;
    let reopened = Index::open("cosine", json!([]), killed(&index));
    assert_eq!(
        reopened.ok("/getByIds", r#"{"ids":["kept"]}"#).await,
        json!([{"id": "kept", "values": [1.0, 2.0, 3.0], "namespace": "n", "metadata": {"m": 1}}])
    );
    assert_eq!(reopened.ok("/info", "").await["processedUpToMutation"], mutation);
}

/// Where processing stops, accepting does not: what is accepted is on disk, is not seen, and is seen after a restart.
#[tokio::test]
async fn an_accepted_change_outlives_a_crash_before_it_is_processed() {
    let state = Arc::new(tempfile::tempdir().unwrap());
    let config = crate::config::Config::parse(&entry("cosine", json!([]))).unwrap();
    let path = state.path().join("vectorize/x");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let vector = |id: &str| crate::store::Vector {
        id: id.to_owned(),
        values: vec![1.0, 2.0, 3.0],
        namespace: Some("n".to_owned()),
        metadata: json!({"m": 1}).as_object().cloned(),
    };
    let changes = [
        Change::Write {
            vectors: vec![vector("a"), vector("b")],
            existing: Existing::Replace,
        },
        Change::Delete {
            ids: vec!["a".to_owned()],
        },
        Change::Write {
            vectors: vec![vector("c")],
            existing: Existing::Keep,
        },
    ];
    let mut database = Database::open(&config, &path.with_extension("sqlite"))
        .unwrap()
        .database;
    for (number, change) in (1..).zip(changes) {
        let mutation = Mutation {
            id: format!("mutation {number}"),
            at: "2026-01-01T00:00:00.000Z".to_owned(),
        };
        let accepted = Accepted {
            number,
            mutation,
            change,
        };
        database.accept(&accepted).unwrap();
    }
    drop(database);
    let index = Index::open("cosine", json!([]), state);
    index.processed(&json!("mutation 3")).await;
    let found = index.ok("/getByIds", r#"{"ids":["a","b","c"]}"#).await;
    assert_eq!(found.as_array().unwrap().len(), 2, "{found}");
    assert_eq!((&found[0]["id"], &found[1]["id"]), (&json!("b"), &json!("c")));
    assert_eq!(found[1]["metadata"], json!({"m": 1}));
    // Numbers go on where they were.
    index
        .write("/upsert", &[json!({"id": "d", "values": [1, 0, 0]})])
        .await;
    assert_eq!(index.ok("/info", "").await["vectorCount"], 3);
}

/// The layout of the first version, which kept values in SQLite.
#[tokio::test]
async fn an_index_in_the_old_layout_is_read() {
    let state = Arc::new(tempfile::tempdir().unwrap());
    let folder = state.path().join("vectorize");
    std::fs::create_dir(&folder).unwrap();
    let old = rusqlite::Connection::open(folder.join("x.sqlite")).unwrap();
    old.execute_batch(
        "CREATE TABLE shape (dimensions INTEGER NOT NULL, metric TEXT NOT NULL);
         CREATE TABLE mutation (number INTEGER PRIMARY KEY, id TEXT NOT NULL, at TEXT NOT NULL);
         CREATE TABLE metadata_index (property TEXT PRIMARY KEY, type TEXT NOT NULL, since INTEGER NOT NULL);
         CREATE TABLE vector (
             id TEXT PRIMARY KEY, namespace TEXT, metadata TEXT, written INTEGER NOT NULL, vals BLOB NOT NULL);
         INSERT INTO shape VALUES (3, 'cosine');
         INSERT INTO mutation VALUES (5, 'last', '2026-01-01T00:00:00.000Z');
         INSERT INTO metadata_index VALUES ('genre', 'string', 3);
         INSERT INTO vector VALUES ('before', NULL, '{\"genre\":\"jazz\"}', 2, x'0000803f0000000000000000');
         INSERT INTO vector VALUES ('after', 'n', '{\"genre\":\"jazz\"}', 5, x'0000803f0000803f00000000');",
    )
    .unwrap();
    drop(old);
    let index = Index::open("cosine", json!([{"property": "genre", "type": "string"}]), state);
    let asked = async { while index.ok("/info", "").await["vectorCount"] != 2 {} };
    tokio::time::timeout(std::time::Duration::from_secs(30), asked)
        .await
        .unwrap();
    assert_eq!(index.ok("/info", "").await["processedUpToMutation"], "last");
    assert_eq!(
        index.ok("/getByIds", r#"{"ids":["after"]}"#).await,
        json!([{"id": "after", "values": [1.0, 1.0, 0.0], "namespace": "n", "metadata": {"genre": "jazz"}}])
    );
    assert_eq!(
        index.ids(json!({"genre": "jazz"})).await,
        ["after"],
        "covered as before"
    );
    index
        .write(
            "/upsert",
            &[json!({"id": "new", "values": [1, 0, 0], "metadata": {"genre": "jazz"}})],
        )
        .await;
    assert_eq!(index.ids(json!({"genre": "jazz"})).await, ["after", "new"]);
}

#[tokio::test]
async fn a_synchronous_index_shows_a_change_at_once() {
    let state = tempfile::tempdir().unwrap();
    let mut synchronous = entry("cosine", json!([]));
    synchronous["mutations"] = json!("synchronous");
    let index = Index {
        binding: build(&synchronous, &state).unwrap(),
        state: Arc::new(state),
    };
    for count in 1..50 {
        let line = json!({"id": count.to_string(), "values": [1, 0, 0]}).to_string();
        let (_, _, answer) = index.send(Method::POST, "/insert", &line).await;
        let (_, _, info) = index.send(Method::GET, "/info", "").await;
        assert_eq!(
            (&info["vectorCount"], &info["processedUpToMutation"]),
            (&json!(count), &answer["mutationId"])
        );
    }
}

#[test]
fn stores_elsewhere_are_configured() {
    type Change<'a> = &'a dyn Fn(&mut Value);
    let state = tempfile::tempdir().unwrap();
    let told = |change: Change<'_>| {
        let mut entry = entry("cosine", json!([]));
        entry["store"] = json!({"type": "qdrant", "url": "http://127.0.0.1:6333"});
        change(&mut entry);
        build(&entry, &state).err().map(|error| error.to_string())
    };
    // Nobody is asked before the first call.
    assert_eq!(told(&|_| {}), None);
    assert_eq!(told(&|entry| entry["ann"] = json!({"effort": 64})), None);
    let refused: [(Change<'_>, &str); 5] = [
        (
            &|entry| entry["store"]["type"] = json!("faiss"),
            "`store.type`: must be",
        ),
        (
            &|entry| entry["store"]["url"] = json!("ftp://x"),
            "`store.url`: must be",
        ),
        (
            &|entry| entry["store"]["api_key"] = json!("x"),
            "`store.api_key`: does not belong",
        ),
        (
            &|entry| entry["ann"] = json!({"threshold": 1000}),
            "`ann.threshold`: does not belong",
        ),
        (
            &|entry| entry["mutations"] = json!("asynchronous"),
            "`mutations`: must be",
        ),
    ];
    for (change, expected) in refused {
        let told = told(change).unwrap();
        assert!(told.starts_with(expected), "{told}");
    }
}
