//! Whole runs of changes, queries and restarts against a naive model.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Index, build};

const GENRES: [&str; 4] = ["jazz", "folk", "drone", "noise"];

#[derive(Debug, Clone)]
enum Step {
    Write { upsert: bool, vectors: Vec<One> },
    Delete(Vec<u8>),
    Restart,
}

#[derive(Debug, Clone)]
struct One {
    id: u8,
    values: [i8; 3],
    namespace: Option<u8>,
    genre: Option<u8>,
    year: Option<i16>,
}

impl One {
    fn line(&self) -> Value {
        let mut line = json!({"id": self.id.to_string(), "values": self.values});
        if let Some(namespace) = self.namespace {
            line["namespace"] = json!(format!("space {namespace}"));
        }
        if self.genre.is_some() || self.year.is_some() {
            line["metadata"] = json!({});
        }
        if let Some(genre) = self.genre {
            line["metadata"]["genre"] = json!(GENRES[usize::from(genre)]);
        }
        if let Some(year) = self.year {
            line["metadata"]["year"] = json!(year);
        }
        line
    }
}

fn one() -> impl Strategy<Value = One> {
    let part = |range| prop::option::of(range);
    let values = [-9i8..10, -9i8..10, -9i8..10];
    (
        0u8..30,
        values,
        part(0u8..3),
        part(0u8..4),
        prop::option::of(1990i16..1995),
    )
        .prop_map(|(id, values, namespace, genre, year)| One {
            id,
            values,
            namespace,
            genre,
            year,
        })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<bool>(), prop::collection::vec(one(), 1..8))
            .prop_map(|(upsert, vectors)| Step::Write { upsert, vectors }),
        2 => prop::collection::vec(0u8..30, 1..6).prop_map(Step::Delete),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..25)
}

/// Each operator with what it means, on the genre or the year of a vector.
type Meaning = fn(&One) -> bool;
fn conditions() -> [(Value, Meaning); 8] {
    [
        (json!({"genre": "jazz"}), |one| one.genre == Some(0)),
        (json!({"genre": {"$ne": "folk"}}), |one| one.genre != Some(1)),
        (json!({"genre": {"$in": ["folk", "noise"]}}), |one| {
            matches!(one.genre, Some(1 | 3))
        }),
        (json!({"genre": {"$nin": ["jazz", "drone"]}}), |one| {
            !matches!(one.genre, Some(0 | 2))
        }),
        (json!({"year": {"$lt": 1992}}), |one| {
            one.year.is_some_and(|year| year < 1992)
        }),
        (json!({"year": {"$gte": 1991, "$lte": 1993}}), |one| {
            one.year.is_some_and(|year| (1991..=1993).contains(&year))
        }),
        (json!({"year": {"$gt": 1990}, "genre": "drone"}), |one| {
            one.year.is_some_and(|year| year > 1990) && one.genre == Some(2)
        }),
        (json!({"genre": null}), |one| one.genre.is_none()),
    ]
}

async fn run(steps: Vec<Step>, query: [i8; 3], namespace: Option<u8>, condition: usize) {
    let indexes = json!([{"property": "genre", "type": "string"}, {"property": "year", "type": "number"}]);
    let mut index = Index::new("euclidean", indexes.clone());
    let mut model: BTreeMap<u8, One> = BTreeMap::new();
    let mut last = Value::Null;
    for step in steps {
        match step {
            Step::Write { upsert, vectors } => {
                let lines: Vec<String> = vectors.iter().map(|one| one.line().to_string()).collect();
                let path = if upsert { "/upsert" } else { "/insert" };
                // Not waited for: changes queue up, and a restart finds some accepted only.
                let (_, _, answer) = index.send(http::Method::POST, path, &lines.join("\n")).await;
                last = answer["mutationId"].clone();
                for one in vectors {
                    if upsert || !model.contains_key(&one.id) {
                        model.insert(one.id, one);
                    }
                }
            }
            Step::Delete(ids) => {
                let texts: Vec<String> = ids.iter().map(u8::to_string).collect();
                let body = json!({ "ids": texts }).to_string();
                let (_, _, answer) = index.send(http::Method::POST, "/deleteByIds", &body).await;
                last = answer["mutationId"].clone();
                for id in ids {
                    model.remove(&id);
                }
            }
            Step::Restart => {
                let state = Arc::clone(&index.state);
                drop(index);
                index = Index::open("euclidean", indexes.clone(), state);
            }
        }
    }
    index.processed(&last).await;
    let (filter, meaning) = &conditions()[condition];
    let mut expected: Vec<(f64, String)> = model
        .values()
        .filter(|one| meaning(one) && (namespace.is_none() || one.namespace == namespace))
        .map(|one| {
            let difference = |(one, two): (&i8, &i8)| f64::from(*one - *two).powi(2);
            let sum: f64 = one.values.iter().zip(&query).map(difference).sum();
            (sum.sqrt(), one.id.to_string())
        })
        .collect();
    expected.sort_by(|one, two| one.0.total_cmp(&two.0).then_with(|| one.1.cmp(&two.1)));
    let mut asked = json!({"vector": query, "topK": 100, "filter": filter});
    if let Some(namespace) = namespace {
        asked["namespace"] = json!(format!("space {namespace}"));
    }
    let found: Vec<(f64, String)> = index
        .query(asked)
        .await
        .iter()
        .map(|one| {
            (
                one["score"].as_f64().unwrap(),
                one["id"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(found, expected, "{filter}");

    let ids: Vec<String> = (0u8..30).map(|id| id.to_string()).collect();
    let kept = index.ok("/getByIds", &json!({ "ids": ids }).to_string()).await;
    let kept: HashMap<String, Value> = kept
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["id"].as_str().unwrap().to_owned(), one.clone()))
        .collect();
    assert_eq!(kept.len(), model.len());
    for one in model.values() {
        let mut expected = one.line();
        expected["values"] = json!(one.values.map(f64::from));
        assert_eq!(kept[&one.id.to_string()], expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn an_index_is_what_the_model_is(
        steps in steps(), query in [-9i8..10, -9i8..10, -9i8..10], namespace in prop::option::of(0u8..3), condition in 0usize..8,
    ) {
        // At least one change, to wait for.
        let first = Step::Delete(vec![0]);
        let steps = std::iter::once(first).chain(steps).collect();
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
            .block_on(run(steps, query, namespace, condition));
    }
}

/// A configuration that only differs in what it may differ in opens the same index.
#[test]
fn thresholds_may_change() {
    let state = tempfile::tempdir().unwrap();
    let mut entry = super::entry("cosine", json!([]));
    drop(build(&entry, &state).unwrap());
    entry["ann"] = json!({"threshold": 5000});
    drop(build(&entry, &state).unwrap());
    entry["ann"] = json!(false);
    build(&entry, &state).unwrap();
}
