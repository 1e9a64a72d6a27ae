//! The binding's own configuration: which index, and its shape.

use std::collections::HashSet;

use bowline_binding::ConfigError;
use bowline_vectors::Metric;
use serde_json::Value;

/// The largest number of dimensions.
pub(crate) const MAX_DIMENSIONS: usize = 1536;
/// The largest number of metadata indexes.
pub(crate) const MAX_METADATA_INDEXES: usize = 10;

/// What a metadata index holds; values of another type are not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PropertyType {
    String,
    Number,
    Boolean,
}

impl PropertyType {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "string" => Some(Self::String),
            "number" => Some(Self::Number),
            "boolean" => Some(Self::Boolean),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// A property that filters may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetadataIndex {
    /// The property's name; `.` separates the names of nested objects.
    pub(crate) property: String,
    pub(crate) kind: PropertyType,
}

/// When the approximate index is used, and how hard it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ann {
    /// The fewest vectors it is used for; fewer are scanned.
    pub(crate) threshold: usize,
    /// Candidates kept on the way through the graph, all of which are scored exactly.
    pub(crate) effort: usize,
}

impl Default for Ann {
    fn default() -> Self {
        Self {
            threshold: 200_000,
            effort: 128,
        }
    }
}

/// When a change is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mutations {
    /// Soon after it is acknowledged.
    #[default]
    Asynchronous,
    /// Once it is acknowledged.
    Synchronous,
}

/// An index and its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Names the file; safe as a file name.
    pub(crate) index_name: String,
    pub(crate) dimensions: usize,
    pub(crate) metric: Metric,
    pub(crate) metadata_indexes: Vec<MetadataIndex>,
    /// None where every search is exact.
    pub(crate) ann: Option<Ann>,
    pub(crate) mutations: Mutations,
}

impl Config {
    pub(crate) fn parse(entry: &Value) -> Result<Self, ConfigError> {
        let text = |key: &'static str| {
            entry
                .get(key)
                .and_then(Value::as_str)
                .ok_or_else(|| ConfigError::new(key, "is required and must be a text"))
        };
        let index_name = text("index_name")?;
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if index_name.is_empty()
            || index_name.len() > 128
            || index_name.starts_with('.')
            || !index_name.bytes().all(safe)
        {
            return Err(ConfigError::new(
                "index_name",
                "must be 1 to 128 letters, digits, `-`, `_` or `.`, and not start with `.`",
            ));
        }
        let dimensions = entry
            .get("dimensions")
            .and_then(Value::as_u64)
            .and_then(|dimensions| usize::try_from(dimensions).ok())
            .filter(|dimensions| (1..=MAX_DIMENSIONS).contains(dimensions))
            .ok_or_else(|| {
                ConfigError::new(
                    "dimensions",
                    format!("is required and must be a whole number from 1 to {MAX_DIMENSIONS}"),
                )
            })?;
        let metric = Metric::parse(text("metric")?).ok_or_else(|| {
            ConfigError::new("metric", "must be \"cosine\", \"euclidean\" or \"dot-product\"")
        })?;
        Ok(Self {
            index_name: index_name.to_owned(),
            dimensions,
            metric,
            metadata_indexes: metadata_indexes(entry.get("metadata_indexes"))?,
            ann: ann(entry.get("ann"))?,
            mutations: match entry.get("mutations").map(Value::as_str) {
                None | Some(Some("asynchronous")) => Mutations::Asynchronous,
                Some(Some("synchronous")) => Mutations::Synchronous,
                Some(_) => {
                    let problem = "must be \"asynchronous\" or \"synchronous\"";
                    return Err(ConfigError::new("mutations", problem));
                }
            },
        })
    }

    /// Lanes of a vector.
    pub(crate) fn lanes(&self) -> usize {
        self.dimensions.div_ceil(bowline_vectors::WIDTH)
    }
}

fn ann(value: Option<&Value>) -> Result<Option<Ann>, ConfigError> {
    let default = Ann::default();
    let members = match value {
        None => return Ok(Some(default)),
        Some(Value::Bool(false)) => return Ok(None),
        Some(Value::Object(members)) => members,
        Some(_) => {
            let problem = "must be false or an object of \"threshold\" and \"effort\"";
            return Err(ConfigError::new("ann", problem));
        }
    };
    let number = |key: &str, default: usize, range: std::ops::RangeInclusive<usize>| {
        let Some(value) = members.get(key) else {
            return Ok(default);
        };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (least, most) = range.into_inner();
            let problem = format!("must be a whole number from {least} to {most}");
            ConfigError::new(format!("ann.{key}"), problem)
        })
    };
    if let Some(key) = members
        .keys()
        .find(|key| !["threshold", "effort"].contains(&key.as_str()))
    {
        return Err(ConfigError::new(format!("ann.{key}"), "is no setting"));
    }
    Ok(Some(Ann {
        threshold: number("threshold", default.threshold, 100..=10_000_000)?,
        effort: number("effort", default.effort, 16..=2048)?,
    }))
}

fn metadata_indexes(list: Option<&Value>) -> Result<Vec<MetadataIndex>, ConfigError> {
    let problem = |problem: &str| ConfigError::new("metadata_indexes", problem);
    let list = match list {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(problem("must be a list of {\"property\", \"type\"}")),
    };
    if list.len() > MAX_METADATA_INDEXES {
        return Err(problem("must hold at most 10 metadata indexes"));
    }
    let mut seen = HashSet::new();
    list.iter()
        .map(|item| {
            let text = |key| item.get(key).and_then(Value::as_str);
            let property = text("property")
                .filter(|property| !property.is_empty() && property.len() <= 512)
                .ok_or_else(|| problem("each needs a \"property\", a text of 1 to 512 bytes"))?;
            let kind = text("type")
                .and_then(PropertyType::parse)
                .ok_or_else(|| problem("each needs a \"type\": \"string\", \"number\" or \"boolean\""))?;
            if !seen.insert(property) {
                return Err(problem("must not name a property twice"));
            }
            Ok(MetadataIndex {
                property: property.to_owned(),
                kind,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries() {
        let good = json!({"binding": "VEC", "index_name": "x", "dimensions": 3, "metric": "cosine",
            "metadata_indexes": [{"property": "genre", "type": "string"}]});
        let config = Config::parse(&good).unwrap();
        assert_eq!((config.dimensions, config.metric), (3, Metric::Cosine));
        assert_eq!(config.metadata_indexes[0].kind, PropertyType::String);
        for (key, value) in [
            ("index_name", json!(null)),
            ("index_name", json!("../x")),
            ("index_name", json!("")),
            ("dimensions", json!(0)),
            ("dimensions", json!(1537)),
            ("dimensions", json!("3")),
            ("metric", json!("manhattan")),
            ("metric", json!(1)),
            ("metadata_indexes", json!({})),
            ("metadata_indexes", json!([{"property": "a"}])),
            ("metadata_indexes", json!([{"property": "a", "type": "date"}])),
            ("metadata_indexes", json!([{"property": "", "type": "string"}])),
            (
                "metadata_indexes",
                json!([{"property": "a", "type": "string"}, {"property": "a", "type": "number"}]),
            ),
            ("ann", json!(true)),
            ("ann", json!(7)),
            ("mutations", json!("later")),
            ("mutations", json!(null)),
            (
                "metadata_indexes",
                json!(vec![json!({"property": "a", "type": "string"}); 11]),
            ),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            let error = Config::parse(&bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{key}`")), "{bad}: {error}");
        }
        for (ann, expected) in [
            (
                json!({"threshold": 99}),
                "`ann.threshold`: must be a whole number from 100 to 10000000",
            ),
            (
                json!({"effort": 1.5}),
                "`ann.effort`: must be a whole number from 16 to 2048",
            ),
            (json!({"m": 16}), "`ann.m`: is no setting"),
        ] {
            let mut bad = good.clone();
            bad["ann"] = ann;
            assert_eq!(Config::parse(&bad).unwrap_err().to_string(), expected);
        }
        assert_eq!(config.ann, Some(Ann::default()));
        let mut exact = good.clone();
        exact["ann"] = json!(false);
        assert_eq!(Config::parse(&exact).unwrap().ann, None);
    }
}
