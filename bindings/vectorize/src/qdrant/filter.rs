//! Namespaces and filters as Qdrant's.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::point::field;
use crate::column::Scalar;
use crate::config::Config;
use crate::error::VectorizeError;
use crate::filter::Test;
use crate::store::Query;

/// The filter of a query. `None` when nothing can match: a property without an index is found by no filter.
pub(super) fn translate(query: &Query, config: &Config) -> Result<Option<Value>, VectorizeError> {
    let mut must = Vec::new();
    if let Some(namespace) = &query.namespace {
        must.push(json!({"key": "namespace", "match": {"value": namespace}}));
    }
    for (property, test) in query.filter.iter().flat_map(|filter| filter.conditions()) {
        let mut indexes = config.metadata_indexes.iter();
        let Some(index) = indexes.find(|index| index.property == property) else {
            return Ok(None);
        };
        let field = field(index);
        // Only vectors that the index covers, even where what is asked for is absence.
        must.push(json!({"key": "covered", "match": {"value": field}}));
        must.push(condition(&field, property, test)?);
    }
    Ok(Some(json!({ "must": must })))
}

fn condition(field: &str, property: &str, test: &Test) -> Result<Value, VectorizeError> {
    let any = |wanted: &[Scalar]| -> Vec<Value> { wanted.iter().map(|one| equal(field, one)).collect() };
    Ok(match test {
        Test::Equal(wanted) => equal(field, wanted),
        Test::NotEqual(wanted) => json!({"must_not": [equal(field, wanted)]}),
        Test::In(wanted) => json!({"should": any(wanted)}),
        Test::NotIn(wanted) => json!({"must_not": any(wanted)}),
        Test::Order(Scalar::Number(bound), orders) => {
            let range = match orders {
                [Ordering::Less, Ordering::Less] => json!({"lt": bound}),
                [Ordering::Less, _] => json!({"lte": bound}),
                [_, Ordering::Greater] => json!({"gt": bound}),
                _ => json!({"gte": bound}),
            };
            json!({"key": field, "range": range})
        }
        Test::Order(..) => {
            return Err(VectorizeError::Filter(format!(
                "{property:?}: an index at Qdrant has no ranges of texts"
            )));
        }
    })
}

fn equal(field: &str, wanted: &Scalar) -> Value {
    match wanted {
        Scalar::Null => json!({"is_empty": {"key": field}}),
        Scalar::Bool(value) => json!({"key": field, "match": {"value": value}}),
        Scalar::Text(value) => json!({"key": field, "match": {"value": &**value}}),
        // Matching is for whole numbers only.
        Scalar::Number(value) => json!({"key": field, "range": {"gte": value, "lte": value}}),
    }
}
