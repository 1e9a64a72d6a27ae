//! What a metadata index holds, by slot.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::config::{MetadataIndex, PropertyType};

/// Bytes of a text that an index keeps.
const INDEXED_TEXT: usize = 64;

/// A value as an index holds it. `Null` stands for a property that is absent, null or of another type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Number(f64),
    Text(Arc<str>),
}

impl Scalar {
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(value) => Self::Number(value.as_f64()?),
            Value::String(text) => Self::Text(cut(text).into()),
            Value::Array(_) | Value::Object(_) => return None,
        })
    }

    /// The value `index` holds for `metadata`.
    pub(crate) fn of(metadata: Option<&Map<String, Value>>, index: &MetadataIndex) -> Self {
        metadata
            .and_then(|metadata| indexed_value(metadata, index))
            .and_then(Self::parse)
            .unwrap_or(Self::Null)
    }

    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(one), Self::Number(two)) => one.partial_cmp(two),
            (Self::Text(one), Self::Text(two)) => Some(one.cmp(two)),
            _ => None,
        }
    }
}

/// A metadata index and its values.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) index: MetadataIndex,
    /// Vectors of later mutations are in the index.
    pub(crate) since: u64,
    /// By slot; none where the index does not cover the vector.
    pub(crate) values: Vec<Option<Scalar>>,
}

impl Column {
    pub(crate) fn new(index: MetadataIndex, since: u64) -> Self {
        Self {
            index,
            since,
            values: Vec::new(),
        }
    }
}

/// The value `index` holds for `metadata`: at the property's path and of the index's type.
pub(crate) fn indexed_value<'a>(
    metadata: &'a Map<String, Value>,
    index: &MetadataIndex,
) -> Option<&'a Value> {
    let mut names = index.property.split('.');
    let first = metadata.get(names.next()?)?;
    let value = names.try_fold(first, |value, name| value.as_object()?.get(name))?;
    let fits = match index.kind {
        PropertyType::String => value.is_string(),
        PropertyType::Number => value.is_number(),
        PropertyType::Boolean => value.is_boolean(),
    };
    fits.then_some(value)
}

/// The first bytes of `text` that an index keeps, cut between characters.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(INDEXED_TEXT)]
}

/// The properties of `metadata` that some indexes hold, nested as they are there, texts cut as an index cuts them.
pub(crate) fn indexed_only<'a>(
    metadata: &Map<String, Value>,
    indexes: impl Iterator<Item = &'a MetadataIndex>,
) -> Map<String, Value> {
    let mut kept = Map::new();
    for index in indexes {
        if let Some(value) = indexed_value(metadata, index) {
            let text = value.as_str().map(|text| cut(text).into());
            insert_at(&mut kept, &index.property, text.unwrap_or_else(|| value.clone()));
        }
    }
    kept
}

/// Puts `value` at the dotted `path`, making the objects on the way.
fn insert_at(map: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            map.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = map.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert_at(inner, rest, value);
            }
        }
    }
}
