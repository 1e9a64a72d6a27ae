//! The store beyond one machine: a collection of a Qdrant server, by its REST API (<https://api.qdrant.tech>).
//!
//! ```text
//! id ─▶ UUID of its digest          collection INDEX: one point a vector
//! metadata ─▶ JSON text, and a field for each indexed property
//! last mutation ─▶ the one point of collection INDEX-state
//! ```

mod filter;
mod point;
mod server;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bowline_binding::{ConfigError, Credential, Resources, url};
use bowline_upstream::{Http, Waits};
use bowline_vectors::Metric;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use self::point::{Point, fields, point_id};
use self::server::Server;
use crate::config::{Ann, Config};
use crate::error::VectorizeError;
use crate::store::{Existing, Info, Match, Mutation, Origin, Query, ReturnMetadata, Store, Vector};

/// Calls at the server at the same time, and how long others wait for their turn.
const CALLS: usize = 64;
const TURN: Duration = Duration::from_secs(30);
/// Vectors of one request: with the most values and metadata they stay well below the 32 MB that Qdrant takes.
const CHUNK: usize = 256;
/// The first version that inserts without replacing (`update_mode`), which older ones would silently not do.
const VERSION: (u32, u32) = (1, 17);
/// The point that holds the last mutation.
const LAST: u64 = 1;

/// An index at a Qdrant server. Nothing is asked of it before the first call.
pub(crate) struct Qdrant {
    server: Server,
    config: Config,
    ready: OnceCell<()>,
    turns: Semaphore,
}

impl Qdrant {
    /// Reads `store`; `None` where the index is kept by Bowline itself.
    pub(crate) fn configured(
        entry: &Value,
        config: &Config,
        resources: &Resources,
    ) -> Result<Option<Self>, ConfigError> {
        let Some(store) = entry.get("store") else {
            return Ok(None);
        };
        if store.get("type").and_then(Value::as_str) != Some("qdrant") {
            return Err(ConfigError::new("store.type", "must be \"qdrant\""));
        }
        // Settings that would have no effect are mistakes.
        if entry.pointer("/ann/threshold").is_some() {
            let problem = "does not belong to a store of type \"qdrant\", which decides by itself";
            return Err(ConfigError::new("ann.threshold", problem));
        }
        if entry.get("mutations").is_some_and(|value| value != "synchronous") {
            let problem = "must be \"synchronous\" with a store of type \"qdrant\", or left out";
            return Err(ConfigError::new("mutations", problem));
        }
        let url = url(store.get("url").unwrap_or(&Value::Null), "store.url")?;
        let credential = Credential::read(store, "store", resources)?;
        let http = Http::new(resources.authorities.clone(), Waits::default());
        Ok(Some(Self {
            server: Server::new(http, url, credential),
            config: config.clone(),
            ready: OnceCell::new(),
            turns: Semaphore::new(CALLS),
        }))
    }

    fn collection(&self, rest: &str) -> String {
        format!("/collections/{}{rest}", self.config.index_name)
    }

    fn state(&self, rest: &str) -> String {
        format!("/collections/{}-state{rest}", self.config.index_name)
    }

    /// Waits for a turn, and before the first call for the collections.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, VectorizeError> {
        let turn = tokio::time::timeout(TURN, self.turns.acquire()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(VectorizeError::Overloaded);
        };
        self.ready.get_or_try_init(|| self.prepare()).await?;
        Ok(turn)
    }

    /// Makes the collections where there are none, and sees that they are what the configuration says.
    async fn prepare(&self) -> Result<(), VectorizeError> {
        let root = self.server.ok(Method::GET, "/", None::<&()>).await?;
        let version = root["version"].as_str().unwrap_or_default();
        if parse(version).is_none_or(|found| found < VERSION) {
            let (major, minor) = VERSION;
            return Err(VectorizeError::Backend(format!(
                "Qdrant {version:?} is too old: {major}.{minor} is needed"
            )));
        }
        let distance = match self.config.metric {
            Metric::Cosine => "Cosine",
            Metric::Euclidean => "Euclid",
            Metric::DotProduct => "Dot",
        };
        let wanted = json!({"size": self.config.dimensions, "distance": distance});
        self.create(&self.collection(""), &wanted).await?;
        self.create(&self.state(""), &json!({"size": 1, "distance": "Dot"}))
            .await?;
        let keywords = ["namespace", "covered"].map(|field| (field.to_owned(), "keyword"));
        let indexed = fields(&self.config).map(|(_, field, schema)| (field, schema));
        for (field, schema) in keywords.into_iter().chain(indexed) {
            let index = json!({"field_name": field, "field_schema": schema});
            self.server
                .ok(Method::PUT, &self.collection("/index?wait=true"), Some(&index))
                .await?;
        }
        Ok(())
    }

    async fn create(&self, path: &str, wanted: &Value) -> Result<(), VectorizeError> {
        let mut found = self.server.call(Method::GET, path, None::<&()>).await?;
        if found.status == StatusCode::NOT_FOUND {
            let body = json!({"vectors": wanted});
            let made = self.server.call(Method::PUT, path, Some(&body)).await?;
            // Another Bowline may have been faster.
            if made.status != StatusCode::CONFLICT {
                made.ok()?;
            }
            found = self.server.call(Method::GET, path, None::<&()>).await?;
        }
        let found = found.ok()?;
        let vectors = &found["config"]["params"]["vectors"];
        for key in ["size", "distance"] {
            if vectors[key] != wanted[key] {
                return Err(VectorizeError::Backend(format!(
                    "Qdrant's {path} has the {key} {}, and the configuration says {}",
                    vectors[key], wanted[key]
                )));
            }
        }
        Ok(())
    }

    /// Keeps a mutation as the last one, unless a later one of another process is there already.
    async fn finished(&self, mutation: &Mutation) -> Result<(), VectorizeError> {
        let order = jiff::Timestamp::now().as_microsecond();
        let payload = json!({"mutation": mutation.id, "at": mutation.at, "order": order});
        let body = json!({
            "points": [{"id": LAST, "vector": [1.0], "payload": payload}],
            "update_filter": {"must": [{"key": "order", "range": {"lte": order}}]},
        });
        self.server
            .ok(Method::PUT, &self.state(WRITTEN), Some(&body))
            .await?;
        Ok(())
    }

    /// The points of some ids that exist, by id.
    async fn points(&self, ids: &[String]) -> Result<HashMap<String, Vector>, VectorizeError> {
        let body = json!({
            "ids": ids.iter().map(|id| point_id(id)).collect::<Vec<_>>(),
            "with_payload": true, "with_vector": self.config.metric != Metric::Cosine,
        });
        let found = self
            .server
            .ok(Method::POST, &self.collection("/points"), Some(&body))
            .await?;
        let points = found.as_array().into_iter().flatten();
        let vectors = points.map(|point| Point::read(point, &self.config)?.vector());
        vectors
            .map(|vector| vector.map(|vector| (vector.id.clone(), vector)))
            .collect()
    }
}

/// A change is seen by everybody once it is answered.
const WRITTEN: &str = "/points?wait=true&ordering=strong";

/// Major and minor of a version.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[async_trait::async_trait]
impl Store for Qdrant {
    fn dimensions(&self) -> usize {
        self.config.dimensions
    }

    async fn info(&self) -> Result<Info, VectorizeError> {
        let _turn = self.turn().await?;
        let exact = json!({"exact": true});
        let count = self
            .server
            .ok(Method::POST, &self.collection("/points/count"), Some(&exact))
            .await?;
        let last = json!({"ids": [LAST], "with_payload": true});
        let state = self
            .server
            .ok(Method::POST, &self.state("/points"), Some(&last))
            .await?;
        let text = |key: &str| Some(state[0]["payload"][key].as_str()?.to_owned());
        Ok(Info {
            dimensions: self.config.dimensions,
            vectors: count["count"]
                .as_u64()
                .and_then(|count| usize::try_from(count).ok())
                .ok_or_else(|| server::garbage("a count"))?,
            processed: text("mutation")
                .zip(text("at"))
                .map(|(id, at)| Mutation { id, at }),
        })
    }

    async fn query(&self, query: Query) -> Result<Vec<Match>, VectorizeError> {
        let _turn = self.turn().await?;
        let values = match &query.origin {
            Origin::Values(values) => values.clone(),
            // Qdrant's own query by id leaves that vector out.
            Origin::Id(id) => {
                let mut found = self.points(std::slice::from_ref(id)).await?;
                let vector = found.remove(id);
                vector.ok_or_else(|| VectorizeError::NoVector(id.clone()))?.values
            }
        };
        let Some(filter) = filter::translate(&query, &self.config)? else {
            return Ok(Vec::new());
        };
        let normalised = self.config.metric == Metric::Cosine;
        let mut fields = vec!["id", "namespace"];
        if query.return_metadata != ReturnMetadata::None {
            fields.extend(["metadata", "covered"]);
        }
        if query.return_values && normalised {
            fields.push("values");
        }
        let params = match self.config.ann {
            None => json!({"exact": true}),
            Some(Ann { effort, .. }) => json!({"hnsw_ef": effort.max(2 * query.top_k)}),
        };
        let body = json!({
            "query": values, "limit": query.top_k, "filter": filter, "params": params,
            "with_payload": {"include": fields}, "with_vector": query.return_values && !normalised,
        });
        let answer = self
            .server
            .ok(Method::POST, &self.collection("/points/query"), Some(&body))
            .await?;
        let points = answer["points"]
            .as_array()
            .ok_or_else(|| server::garbage("matches"))?;
        let found = points.iter().map(|found| {
            let score = found["score"]
                .as_f64()
                .ok_or_else(|| server::garbage("a score"))?;
            Point::read(found, &self.config)?.found(score, &query)
        });
        let mut matches: Vec<Match> = found.collect::<Result<_, _>>()?;
        let rank = |one: &Match| match self.config.metric {
            Metric::Cosine => -one.score,
            Metric::Euclidean | Metric::DotProduct => one.score,
        };
        matches.sort_by(|one, two| rank(one).total_cmp(&rank(two)).then_with(|| one.id.cmp(&two.id)));
        Ok(matches)
    }

    async fn write(&self, vectors: Vec<Vector>, existing: Existing) -> Result<Mutation, VectorizeError> {
        let _turn = self.turn().await?;
        let mut wanted: HashMap<&str, &Vector> = HashMap::with_capacity(vectors.len());
        for vector in &vectors {
            // Of several with one id the first is kept, or the last replaces.
            if existing == Existing::Replace || !wanted.contains_key(vector.id.as_str()) {
                wanted.insert(&vector.id, vector);
            }
        }
        let wanted: Vec<&Vector> = wanted.into_values().collect();
        let mode = match existing {
            Existing::Keep => "insert_only",
            Existing::Replace => "upsert",
        };
        for chunk in wanted.chunks(CHUNK) {
            let points: Vec<_> = chunk
                .iter()
                .map(|vector| point::write(vector, &self.config))
                .collect();
            let body = point::Upsert {
                points,
                update_mode: mode,
            };
            self.server
                .ok(Method::PUT, &self.collection(WRITTEN), Some(&body))
                .await?;
        }
        let mutation = Mutation::now();
        self.finished(&mutation).await?;
        Ok(mutation)
    }

    async fn get(&self, ids: Vec<String>) -> Result<Vec<Vector>, VectorizeError> {
        let _turn = self.turn().await?;
        let found = self.points(&ids).await?;
        Ok(ids.iter().filter_map(|id| found.get(id).cloned()).collect())
    }

    async fn delete(&self, ids: Vec<String>) -> Result<Mutation, VectorizeError> {
        let _turn = self.turn().await?;
        let body = json!({"points": ids.iter().map(|id| point_id(id)).collect::<Vec<_>>()});
        let path = self.collection("/points/delete?wait=true&ordering=strong");
        self.server.ok(Method::POST, &path, Some(&body)).await?;
        let mutation = Mutation::now();
        self.finished(&mutation).await?;
        Ok(mutation)
    }
}

/// The store an entry asks for, if it is not one of Bowline's own.
pub(crate) fn configured(
    entry: &Value,
    config: &Config,
    resources: &Resources,
) -> Result<Option<Arc<dyn Store>>, ConfigError> {
    let store = Qdrant::configured(entry, config, resources)?;
    Ok(store.map(|store| Arc::new(store) as Arc<dyn Store>))
}
