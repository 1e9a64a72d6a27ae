//! Vectorize's HTTP bodies: what the client in workerd sends and reads.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::VectorizeError;
use crate::filter::Filter;
use crate::store::{Info, Match, Mutation, Origin, Query, ReturnMetadata, Vector};

/// The largest upload, in bytes.
pub(crate) const MAX_UPLOAD: usize = 100_000_000;
/// The largest body of every other call, in bytes: a query vector of 1536 values and its options fit many times.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// Vectors or ids in one call.
const MAX_BATCH: usize = 1_000;
const MAX_ID: usize = 64;
const MAX_NAMESPACE: usize = 64;
const MAX_METADATA: usize = 10 << 10;

const DEFAULT_TOP_K: usize = 5;
const MAX_TOP_K: usize = 100;
/// With values or all metadata.
const MAX_TOP_K_FULL: usize = 20;

fn object(body: &[u8]) -> Result<Map<String, Value>, VectorizeError> {
    serde_json::from_slice(body).map_err(|error| {
        VectorizeError::Body(match error.classify() {
            serde_json::error::Category::Data => "request body must be a JSON object".to_owned(),
            _ => format!("request body is not JSON: {error}"),
        })
    })
}

/// Reads the body of `/query`. Unknown keys are let pass: the client spreads the caller's options verbatim.
pub(crate) fn query(body: &[u8], dimensions: usize) -> Result<Query, VectorizeError> {
    let refuse = |text: &str| VectorizeError::Option(text.to_owned());
    let mut body = object(body)?;
    // JavaScript's undefined is left out by the client; a null means the same.
    let mut take = |key: &str| body.remove(key).filter(|value| !value.is_null());
    let origin = match (take("vector"), take("vectorId")) {
        (Some(vector), None) => {
            let values = floats(&vector).ok_or_else(|| refuse("vector must be a list of finite numbers"))?;
            check_dimensions("", &values, dimensions)?;
            Origin::Values(values)
        }
        (None, Some(Value::String(id))) => Origin::Id(id),
        (None, Some(_)) => return Err(refuse("vectorId must be a text")),
        _ => return Err(refuse("either vector or vectorId is required")),
    };
    let return_values = match take("returnValues") {
        None => false,
        Some(Value::Bool(value)) => value,
        Some(_) => return Err(refuse("returnValues must be true or false")),
    };
    let return_metadata = match take("returnMetadata") {
        None | Some(Value::Bool(false)) => ReturnMetadata::None,
        Some(Value::Bool(true)) => ReturnMetadata::All,
        Some(value) => match value.as_str() {
            Some("none") => ReturnMetadata::None,
            Some("indexed") => ReturnMetadata::Indexed,
            Some("all") => ReturnMetadata::All,
            _ => return Err(refuse("returnMetadata must be \"none\", \"indexed\" or \"all\"")),
        },
    };
    let full = return_values || return_metadata == ReturnMetadata::All;
    let max = if full { MAX_TOP_K_FULL } else { MAX_TOP_K };
    let top_k = match take("topK") {
        None => DEFAULT_TOP_K,
        // JSON from JavaScript may write whole numbers as 5.0 or 5e0.
        Some(value) => value
            .as_f64()
            .filter(|top_k| top_k.fract() == 0.0 && *top_k >= 1.0 && *top_k <= max as f64)
            .map(|top_k| top_k as usize)
            .ok_or_else(|| {
                let with = if full {
                    " with returnValues or returnMetadata \"all\""
                } else {
                    ""
                };
                VectorizeError::Option(format!("topK must be a whole number from 1 to {max}{with}"))
            })?,
    };
    let namespace = match take("namespace") {
        None => None,
        Some(Value::String(namespace)) if (1..=MAX_NAMESPACE).contains(&namespace.len()) => Some(namespace),
        Some(_) => {
            return Err(VectorizeError::Option(format!(
                "namespace must be a text of 1 to {MAX_NAMESPACE} bytes"
            )));
        }
    };
    let filter = take("filter").map(|filter| Filter::parse(&filter)).transpose()?;
    Ok(Query {
        origin,
        top_k,
        namespace,
        filter,
        return_values,
        return_metadata,
    })
}

/// Reads the NDJSON body of `/insert` and `/upsert`. Empty lines are let pass.
pub(crate) fn vectors(body: &[u8], dimensions: usize) -> Result<Vec<Vector>, VectorizeError> {
    let mut vectors = Vec::new();
    let lines = body.split(|byte| *byte == b'\n').enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        if vectors.len() == MAX_BATCH {
            return Err(VectorizeError::TooMany(format!(
                "a call may write at most {MAX_BATCH} vectors"
            )));
        }
        let line: Value = serde_json::from_slice(line)
            .map_err(|error| VectorizeError::Body(format!("line {} is not JSON: {error}", number + 1)))?;
        vectors.push(vector(line, dimensions, number + 1)?);
    }
    if vectors.is_empty() {
        return Err(VectorizeError::Body("no vectors given".to_owned()));
    }
    Ok(vectors)
}

fn vector(line: Value, dimensions: usize, number: usize) -> Result<Vector, VectorizeError> {
    let Value::Object(mut line) = line else {
        return Err(VectorizeError::Body(format!("line {number} must be an object")));
    };
    let Some(Value::String(id)) = line.remove("id").filter(|id| is_text(id, MAX_ID)) else {
        return Err(VectorizeError::Vector(format!(
            "invalid vector on line {number}: id must be a text of 1 to {MAX_ID} bytes"
        )));
    };
    let refuse = |text: String| VectorizeError::Vector(format!("invalid vector for id=\"{id}\": {text}"));
    let values = line
        .get("values")
        .and_then(floats)
        .ok_or_else(|| refuse("values must be a list of finite numbers".to_owned()))?;
    check_dimensions(&id, &values, dimensions)?;
    let namespace = match line.remove("namespace") {
        None | Some(Value::Null) => None,
        Some(Value::String(namespace)) if (1..=MAX_NAMESPACE).contains(&namespace.len()) => Some(namespace),
        Some(_) => {
            return Err(refuse(format!(
                "namespace must be a text of 1 to {MAX_NAMESPACE} bytes"
            )));
        }
    };
    let metadata = match line.remove("metadata") {
        None | Some(Value::Null) => None,
        Some(metadata @ Value::Object(_)) if metadata.to_string().len() > MAX_METADATA => {
            return Err(refuse(format!(
                "metadata must be at most {MAX_METADATA} bytes of JSON"
            )));
        }
        Some(Value::Object(metadata)) => Some(metadata),
        Some(_) => return Err(refuse("metadata must be an object".to_owned())),
    };
    Ok(Vector {
        id,
        values,
        namespace,
        metadata,
    })
}

/// Reads the body of `/getByIds` and `/deleteByIds`.
pub(crate) fn ids(body: &[u8]) -> Result<Vec<String>, VectorizeError> {
    let refuse = || VectorizeError::Body(format!("ids must be a list of 1 to {MAX_BATCH} texts"));
    let Some(Value::Array(list)) = object(body)?.remove("ids") else {
        return Err(refuse());
    };
    if !(1..=MAX_BATCH).contains(&list.len()) {
        return Err(refuse());
    }
    let id = |id| match id {
        Value::String(id) => Ok(id),
        _ => Err(refuse()),
    };
    list.into_iter().map(id).collect()
}

fn is_text(value: &Value, max: usize) -> bool {
    value.as_str().is_some_and(|text| (1..=max).contains(&text.len()))
}

/// The numbers of a list, if all are finite as f32.
fn floats(value: &Value) -> Option<Vec<f32>> {
    let float = |value: &Value| {
        value
            .as_f64()
            .map(|value| value as f32)
            .filter(|value| value.is_finite())
    };
    value.as_array()?.iter().map(float).collect()
}

fn check_dimensions(id: &str, values: &[f32], expected: usize) -> Result<(), VectorizeError> {
    if values.len() == expected {
        return Ok(());
    }
    let id = if id.is_empty() {
        String::new()
    } else {
        format!(" for id=\"{id}\"")
    };
    Err(VectorizeError::Dimensions {
        id,
        expected,
        got: values.len(),
    })
}

/// A vector or match as it is written. Values stay f32, so that they come out as short as they went in.
#[derive(Serialize)]
struct Out<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
}

#[derive(Serialize)]
struct Matches<'a> {
    count: usize,
    matches: Vec<Out<'a>>,
}

impl<'a> From<&'a Match> for Out<'a> {
    fn from(one: &'a Match) -> Self {
        Self {
            id: &one.id,
            score: Some(one.score),
            values: one.values.as_deref(),
            metadata: one.metadata.as_ref(),
            namespace: one.namespace.as_deref(),
        }
    }
}

impl<'a> From<&'a Vector> for Out<'a> {
    fn from(vector: &'a Vector) -> Self {
        Self {
            id: &vector.id,
            score: None,
            values: Some(&vector.values),
            metadata: vector.metadata.as_ref(),
            namespace: vector.namespace.as_deref(),
        }
    }
}

pub(crate) fn matches_body(matches: &[Match]) -> Vec<u8> {
    json(&Matches {
        count: matches.len(),
        matches: matches.iter().map(Out::from).collect(),
    })
}

pub(crate) fn vectors_body(vectors: &[Vector]) -> Vec<u8> {
    json(&vectors.iter().map(Out::from).collect::<Vec<_>>())
}

pub(crate) fn mutation_body(mutation: &Mutation) -> Vec<u8> {
    json(&serde_json::json!({"mutationId": mutation.id}))
}

pub(crate) fn info_body(info: &Info) -> Vec<u8> {
    let processed = info.processed.as_ref();
    json(&serde_json::json!({
        "dimensions": info.dimensions,
        "vectorCount": info.vectors,
        "processedUpToDatetime": processed.map(|mutation| &mutation.at),
        "processedUpToMutation": processed.map(|mutation| &mutation.id),
    }))
}

pub(crate) fn error_body(error: &VectorizeError) -> Vec<u8> {
    json(&serde_json::json!({"code": error.code(), "error": error.to_string()}))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts, numbers and maps keyed by texts are always JSON")
}
