//! What a backing store must do.

use serde_json::{Map, Value};

use crate::error::VectorizeError;
use crate::filter::Filter;

/// A vector as a Worker writes and reads it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Vector {
    pub(crate) id: String,
    pub(crate) values: Vec<f32>,
    pub(crate) namespace: Option<String>,
    pub(crate) metadata: Option<Map<String, Value>>,
}

/// What a query starts from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Origin {
    Values(Vec<f32>),
    /// The values of a stored vector.
    Id(String),
}

/// Which metadata matches carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReturnMetadata {
    None,
    /// Only indexed properties, texts cut to 64 bytes.
    Indexed,
    All,
}

/// One search.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub(crate) origin: Origin,
    pub(crate) top_k: usize,
    pub(crate) namespace: Option<String>,
    pub(crate) filter: Option<Filter>,
    pub(crate) return_values: bool,
    pub(crate) return_metadata: ReturnMetadata,
}

/// One result of a search.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Match {
    pub(crate) id: String,
    pub(crate) score: f64,
    pub(crate) values: Option<Vec<f32>>,
    pub(crate) namespace: Option<String>,
    pub(crate) metadata: Option<Map<String, Value>>,
}

/// The last change of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mutation {
    pub(crate) id: String,
    /// UTC, RFC 3339 with milliseconds.
    pub(crate) at: String,
}

impl Mutation {
    /// A new one, accepted now.
    pub(crate) fn now() -> Self {
        Self {
            // Version 7 sorts by time, so that clients can tell what was processed before what.
            id: uuid::Uuid::now_v7().to_string(),
            at: jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
                .to_string(),
        }
    }
}

/// Facts about an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) dimensions: usize,
    pub(crate) vectors: usize,
    /// Absent before the first change.
    pub(crate) processed: Option<Mutation>,
}

/// What happens to ids that exist already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Keep,
    Replace,
}

/// An index. A change is on disk when it is acknowledged; it is seen, whole and in the order of acknowledgement, once it
/// is processed. Cancel safe: a change whose future is dropped is either not begun or will be processed.
#[async_trait::async_trait]
pub(crate) trait Store: Send + Sync + 'static {
    /// The number of values of every vector.
    fn dimensions(&self) -> usize;

    async fn info(&self) -> Result<Info, VectorizeError>;

    /// The closest vectors, best first.
    async fn query(&self, query: Query) -> Result<Vec<Match>, VectorizeError>;

    /// Writes vectors (all with the right dimensions).
    async fn write(&self, vectors: Vec<Vector>, existing: Existing) -> Result<Mutation, VectorizeError>;

    /// The vectors of those ids that exist, in the order asked for.
    async fn get(&self, ids: Vec<String>) -> Result<Vec<Vector>, VectorizeError>;

    /// Deletes those ids that exist.
    async fn delete(&self, ids: Vec<String>) -> Result<Mutation, VectorizeError>;
}
