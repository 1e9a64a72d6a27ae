//! A Vectorize index, as `env.NAME` is in a Worker.
//!
//! Source of the wire: the Vectorize client inside workerd (version 2 of the index, NDJSON), and Cloudflare's Vectorize
//! documentation for what options mean.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Binding, Error, ErrorKind};

const HOST: &str = "http://vector-search";
/// How often [`Vectorize::processed`] asks.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_secs(1);
/// How long [`Vectorize::processed`] asks.
const PROCESSED: Duration = Duration::from_secs(120);

/// A vector, written or read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vector {
    /// 1 to 64 bytes.
    pub id: String,
    /// As many numbers as the index has dimensions.
    pub values: Vec<f32>,
    /// What it belongs to, up to 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Whatever else is known of it, up to 10 KiB of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

impl Vector {
    /// A vector of no namespace, with no metadata.
    pub fn new(id: impl Into<String>, values: impl Into<Vec<f32>>) -> Self {
        Self {
            id: id.into(),
            values: values.into(),
            namespace: None,
            metadata: None,
        }
    }
}

/// Which metadata matches carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReturnMetadata {
    /// None.
    #[default]
    None,
    /// Properties with a metadata index, texts cut to 64 bytes.
    Indexed,
    /// All of it.
    All,
}

/// What a query may be told.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryOptions {
    /// How many matches: 5 unless told, up to 100; up to 20 with values or all metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Searches one namespace only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Whether matches carry their values.
    pub return_values: bool,
    /// Which metadata matches carry.
    pub return_metadata: ReturnMetadata,
    /// Conditions on indexed properties, all of which must hold: `{"genre": "jazz", "year": {"$gte": 1960}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Map<String, Value>>,
}

/// One result of a query.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Match {
    /// The vector's id.
    pub id: String,
    /// How close it is, by the index's metric.
    pub score: f64,
    /// Its values, when asked for.
    #[serde(default)]
    pub values: Option<Vec<f32>>,
    /// Its metadata, when asked for.
    #[serde(default)]
    pub metadata: Option<Map<String, Value>>,
    /// Its namespace.
    #[serde(default)]
    pub namespace: Option<String>,
}

/// The results of a query, best first.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Matches {
    /// How many there are.
    pub count: usize,
    /// The matches.
    pub matches: Vec<Match>,
}

/// Facts about an index.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The number of values of every vector.
    pub dimensions: u32,
    /// How many vectors there are.
    pub vector_count: u64,
    /// When the last change was processed, RFC 3339.
    #[serde(default)]
    pub processed_up_to_datetime: Option<String>,
    /// The last change that was processed.
    #[serde(default)]
    pub processed_up_to_mutation: Option<String>,
}

/// A change that was accepted. Queries see it once it is [processed](Vectorize::processed).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mutation {
    /// Its id.
    pub mutation_id: String,
}

/// An index by the name of its binding. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vectorize(Binding);

impl Vectorize {
    /// The index behind a binding.
    pub fn new(binding: Binding) -> Self {
        Self(binding)
    }

    /// Facts about the index.
    pub async fn describe(&self) -> Result<Info, Error> {
        self.call("describe", "/info", None, &[]).await
    }

    /// The closest vectors to `values`.
    pub async fn query(&self, values: &[f32], options: &QueryOptions) -> Result<Matches, Error> {
        let vector = Some(values);
        self.search(
            "query",
            Query {
                options,
                vector,
                vector_id: None,
            },
        )
        .await
    }

    /// The closest vectors to a stored one, itself among them.
    pub async fn query_by_id(&self, id: &str, options: &QueryOptions) -> Result<Matches, Error> {
        let vector_id = Some(id);
        self.search(
            "query_by_id",
            Query {
                options,
                vector: None,
                vector_id,
            },
        )
        .await
    }

    /// Writes vectors whose ids do not exist yet; those that do are left as they are. At most 1000.
    pub async fn insert(&self, vectors: &[Vector]) -> Result<Mutation, Error> {
        self.write("insert", "/insert", vectors).await
    }

    /// Writes vectors, wholly replacing those whose ids exist. At most 1000.
    pub async fn upsert(&self, vectors: &[Vector]) -> Result<Mutation, Error> {
        self.write("upsert", "/upsert", vectors).await
    }

    /// The vectors of those ids that exist.
    pub async fn get_by_ids<S: AsRef<str>>(&self, ids: &[S]) -> Result<Vec<Vector>, Error> {
        let body = self.ids("get_by_ids", ids)?;
        self.call("get_by_ids", "/getByIds", Some((JSON, body)), &[])
            .await
    }

    /// Deletes those ids that exist.
    pub async fn delete_by_ids<S: AsRef<str>>(&self, ids: &[S]) -> Result<Mutation, Error> {
        let body = self.ids("delete_by_ids", ids)?;
        self.call("delete_by_ids", "/deleteByIds", Some((JSON, body)), &[])
            .await
    }

    /// Waits until `mutation` and all before it are seen by queries: asks [`describe`](Self::describe) at growing
    /// intervals, for two minutes.
    ///
    /// Ids of Bowline sort by time, so later ones count, too; with ids that do not, another writer's change that is
    /// processed between two questions can hide this one.
    pub async fn processed(&self, mutation: &Mutation) -> Result<(), Error> {
        let wait = async {
            let mut pause = *PAUSES.start();
            loop {
                let info = self.describe().await?;
                let done = info.processed_up_to_mutation;
                if done.is_some_and(|done| reached(&done, &mutation.mutation_id)) {
                    return Ok(());
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(*PAUSES.end());
            }
        };
        match tokio::time::timeout(PROCESSED, wait).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let (what, after) = ("processing the change", PROCESSED);
                Err(self.0.fails("processed", ErrorKind::TimedOut { what, after }))
            }
        }
    }

    async fn search(&self, operation: &'static str, query: Query<'_>) -> Result<Matches, Error> {
        let body = self.json(operation, &query)?;
        self.call(operation, "/query", Some((JSON, body)), &[]).await
    }

    async fn write(
        &self,
        operation: &'static str,
        path: &str,
        vectors: &[Vector],
    ) -> Result<Mutation, Error> {
        let mut body = Vec::new();
        for vector in vectors {
            if !vector.values.iter().all(|value| value.is_finite()) {
                // JSON would turn them into nulls.
                let text = format!("the values of vector {:?} are not all finite", vector.id);
                return Err(self.0.fails(operation, ErrorKind::Invalid(text)));
            }
            if !body.is_empty() {
                body.push(b'\n');
            }
            serde_json::to_writer(&mut body, vector)
                .map_err(|error| self.0.fails(operation, ErrorKind::Invalid(error.to_string())))?;
        }
        let width = vectors.first().map_or(0, |vector| vector.values.len());
        let headers = [
            ("cf-vector-search-dim-width", HeaderValue::from(width)),
            ("cf-vector-search-dim-height", HeaderValue::from(vectors.len())),
        ];
        let content = Some(("application/x-ndjson", body.into()));
        self.call(operation, path, content, &headers).await
    }

    fn ids<S: AsRef<str>>(&self, operation: &'static str, ids: &[S]) -> Result<Bytes, Error> {
        let ids = ids.iter().map(AsRef::as_ref).collect();
        self.json(operation, &Ids { ids })
    }

    fn json(&self, operation: &'static str, value: &impl Serialize) -> Result<Bytes, Error> {
        let body = serde_json::to_vec(value);
        body.map(Bytes::from)
            .map_err(|error| self.0.fails(operation, ErrorKind::Invalid(error.to_string())))
    }

    /// Success is exactly 200; else the body is `{"code","error"}`.
    async fn call<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        path: &str,
        content: Option<(&'static str, Bytes)>,
        headers: &[(&'static str, HeaderValue)],
    ) -> Result<T, Error> {
        let url = format!("{HOST}{path}");
        let (response, body) = self.0.call(operation, &url, content, headers).await?;
        if response.status() == StatusCode::OK {
            return self.0.read(operation, &body);
        }
        #[derive(Deserialize)]
        struct Refusal {
            code: i64,
            error: String,
        }
        Err(match serde_json::from_slice::<Refusal>(&body) {
            Ok(Refusal { code, error }) => self.0.refused(operation, response.status(), Some(code), error),
            Err(_) => {
                let said = String::from_utf8_lossy(&body[..body.len().min(1024)]);
                self.0.refused(operation, response.status(), None, said)
            }
        })
    }
}

const JSON: &str = "application/json";

/// The body of a query.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Query<'a> {
    #[serde(flatten)]
    options: &'a QueryOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Ids<'a> {
    ids: Vec<&'a str>,
}

/// Whether a change is among those processed up to `done`. Version 7 UUIDs sort by the time they were made.
fn reached(done: &str, mutation: &str) -> bool {
    let sorts = |id: &str| id.len() == 36 && id.as_bytes()[14] == b'7';
    done == mutation || sorts(done) && sorts(mutation) && done > mutation
}

#[cfg(test)]
mod tests {
    use super::reached;

    #[test]
    fn later_changes_count_where_ids_sort() {
        let (old, new) = (
            "019a0000-0000-7000-8000-000000000000",
            "019a0000-0001-7000-8000-000000000000",
        );
        let random = "f19a0000-0001-4000-8000-000000000000";
        assert!(reached(new, old) && reached(old, old) && reached(random, random));
        assert!(!reached(old, new) && !reached(random, old) && !reached(new, random) && !reached("", old));
    }
}
