//! Vectors as points.
//!
//! A payload is `{"id", "namespace"?, "metadata"?, "values"?, "covered", FIELD…}`: metadata as JSON text, so that it comes
//! back as it was; values where the server would give them back at length 1 (cosine); a field for each indexed property
//! that the vector has; and the names of all fields there were when it was written, which is what its indexes cover.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bowline_vectors::Metric;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::server::garbage;
use crate::column::{cut, indexed_only, indexed_value};
use crate::config::{Config, MetadataIndex, PropertyType};
use crate::error::VectorizeError;
use crate::rows;
use crate::store::{Match, Query, ReturnMetadata, Vector};

/// Body of an upsert.
#[derive(Serialize)]
pub(super) struct Upsert<'a> {
    pub(super) points: Vec<Written<'a>>,
    pub(super) update_mode: &'static str,
}

#[derive(Serialize)]
pub(super) struct Written<'a> {
    id: String,
    vector: &'a [f32],
    payload: Map<String, Value>,
}

/// The id of a point: Qdrant takes numbers and UUIDs only.
pub(super) fn point_id(id: &str) -> String {
    let digest = Sha256::digest(id.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    // Version 8 is for digests of one's own choice.
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// The field an indexed property has in payloads. Another type is another field, so that changing it starts anew. In names
/// of fields `.` and the like mean something to Qdrant.
pub(super) fn field(index: &MetadataIndex) -> String {
    use std::fmt::Write as _;
    let mut field = format!("{}_", index.kind.name());
    for byte in index.property.bytes() {
        if byte.is_ascii_alphanumeric() {
            field.push(char::from(byte));
        } else {
            let _ = write!(field, "_{byte:02x}");
        }
    }
    field
}

/// Every metadata index with its field and the field's schema at the server.
pub(super) fn fields(config: &Config) -> impl Iterator<Item = (&MetadataIndex, String, &'static str)> {
    config.metadata_indexes.iter().map(|index| {
        let schema = match index.kind {
            PropertyType::String => "keyword",
            PropertyType::Number => "float",
            PropertyType::Boolean => "bool",
        };
        (index, field(index), schema)
    })
}

pub(super) fn write<'a>(vector: &'a Vector, config: &Config) -> Written<'a> {
    let mut payload = Map::new();
    payload.insert("id".to_owned(), json!(vector.id));
    if let Some(namespace) = &vector.namespace {
        payload.insert("namespace".to_owned(), json!(namespace));
    }
    if let Some(metadata) = &vector.metadata {
        payload.insert("metadata".to_owned(), json!(rows::json(metadata)));
    }
    if config.metric == Metric::Cosine {
        let bytes: Vec<u8> = vector
            .values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        payload.insert("values".to_owned(), json!(STANDARD.encode(bytes)));
    }
    let mut covered = Vec::new();
    for (index, field, _) in fields(config) {
        let value = vector
            .metadata
            .as_ref()
            .and_then(|metadata| indexed_value(metadata, index));
        if let Some(value) = value {
            let cut = value.as_str().map(|text| json!(cut(text)));
            payload.insert(field.clone(), cut.unwrap_or_else(|| value.clone()));
        }
        covered.push(field);
    }
    payload.insert("covered".to_owned(), json!(covered));
    Written {
        id: point_id(&vector.id),
        vector: &vector.values,
        payload,
    }
}

/// A point as the server gives it.
pub(super) struct Point<'a> {
    id: &'a str,
    payload: &'a Map<String, Value>,
    vector: &'a Value,
    config: &'a Config,
}

impl<'a> Point<'a> {
    pub(super) fn read(point: &'a Value, config: &'a Config) -> Result<Self, VectorizeError> {
        let payload = point["payload"]
            .as_object()
            .ok_or_else(|| garbage("a point of ours"))?;
        let id = payload.get("id").and_then(Value::as_str);
        Ok(Self {
            id: id.ok_or_else(|| garbage("a point of ours"))?,
            payload,
            vector: &point["vector"],
            config,
        })
    }

    /// All of it.
    pub(super) fn vector(&self) -> Result<Vector, VectorizeError> {
        Ok(Vector {
            id: self.id.to_owned(),
            values: self.values()?,
            namespace: self.namespace(),
            metadata: self.metadata()?,
        })
    }

    /// As a match, with what the query wants of it.
    pub(super) fn found(&self, score: f64, query: &Query) -> Result<Match, VectorizeError> {
        Ok(Match {
            id: self.id.to_owned(),
            score: match self.config.metric {
                Metric::Cosine => score.clamp(-1.0, 1.0),
                Metric::Euclidean => score,
                // Adding 0.0 turns -0.0 into 0.0.
                Metric::DotProduct => -score + 0.0,
            },
            values: query.return_values.then(|| self.values()).transpose()?,
            namespace: self.namespace(),
            metadata: match query.return_metadata {
                ReturnMetadata::None => None,
                ReturnMetadata::All => self.metadata()?,
                ReturnMetadata::Indexed => self.metadata()?.map(|metadata| {
                    let covered = self.payload.get("covered").and_then(Value::as_array);
                    let covers = |field: &str| covered.is_some_and(|all| all.iter().any(|one| one == field));
                    let indexes = fields(self.config).filter(|(_, field, _)| covers(field));
                    indexed_only(&metadata, indexes.map(|(index, _, _)| index))
                }),
            },
        })
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.payload.get(key)?.as_str()
    }

    fn namespace(&self) -> Option<String> {
        self.text("namespace").map(str::to_owned)
    }

    fn metadata(&self) -> Result<Option<Map<String, Value>>, VectorizeError> {
        self.text("metadata")
            .map(|text| serde_json::from_str(text).map_err(|_| garbage("metadata of ours")))
            .transpose()
    }

    fn values(&self) -> Result<Vec<f32>, VectorizeError> {
        let values: Option<Vec<f32>> = match self.config.metric {
            Metric::Cosine => self.text("values").and_then(|text| {
                let bytes = STANDARD.decode(text).ok()?;
                let (values, rest) = bytes.as_chunks::<4>();
                rest.is_empty()
                    .then(|| values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
            }),
            Metric::Euclidean | Metric::DotProduct => self.vector.as_array().and_then(|values| {
                let value = |value: &Value| value.as_f64().map(|value| value as f32);
                values.iter().map(value).collect()
            }),
        };
        values
            .filter(|values| values.len() == self.config.dimensions)
            .ok_or_else(|| garbage("values of ours"))
    }
}
