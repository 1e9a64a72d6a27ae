//! Metadata filters.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::config::{MetadataIndex, PropertyType};
use crate::error::VectorizeError;

/// Bytes of a text that an index keeps.
pub(crate) const INDEXED_TEXT: usize = 64;
/// The size a filter must stay below, in bytes of compact JSON.
const MAX_FILTER: usize = 2048;
/// The longest property name, in characters.
const MAX_KEY: usize = 512;

/// Conditions that must all hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Filter(Vec<Condition>);

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    property: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Equal(Scalar),
    NotEqual(Scalar),
    In(Vec<Scalar>),
    NotIn(Vec<Scalar>),
    /// The comparison must give one of the two orderings.
    Order(Scalar, [Ordering; 2]),
}

/// A value as an index holds it. `Null` stands for a property that is absent, null or of another type.
#[derive(Debug, Clone, PartialEq)]
enum Scalar {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
}

impl Scalar {
    fn parse(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(value) => Self::Number(value.as_f64()?),
            Value::String(text) => Self::Text(cut(text).to_owned()),
            Value::Array(_) | Value::Object(_) => return None,
        })
    }

    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(one), Self::Number(two)) => one.partial_cmp(two),
            (Self::Text(one), Self::Text(two)) => Some(one.cmp(two)),
            _ => None,
        }
    }
}

impl Filter {
    /// Reads the `filter` of a query.
    pub(crate) fn parse(value: &Value) -> Result<Self, VectorizeError> {
        let refuse = |text: String| VectorizeError::Filter(text);
        let Value::Object(object) = value else {
            return Err(refuse("must be an object".to_owned()));
        };
        if object.is_empty() {
            return Err(refuse("must not be empty".to_owned()));
        }
        if value.to_string().len() >= MAX_FILTER {
            return Err(refuse(format!("must be smaller than {MAX_FILTER} bytes")));
        }
        let mut conditions = Vec::new();
        for (property, value) in object {
            if property.is_empty()
                || property.chars().count() > MAX_KEY
                || property.starts_with('$')
                || property.contains('"')
            {
                return Err(refuse(format!(
                    "a property must have 1 to {MAX_KEY} characters, no `\"` and no leading `$`, unlike {property:?}"
                )));
            }
            let mut add = |test| {
                let property = property.clone();
                conditions.push(Condition { property, test });
            };
            match value {
                Value::Object(operators) if operators.is_empty() => {
                    return Err(refuse(format!("{property:?} has no operator")));
                }
                Value::Object(operators) => {
                    for (operator, operand) in operators {
                        add(test(operator, operand)
                            .map_err(|text| refuse(format!("{property:?}: {text}")))?);
                    }
                }
                value => add(Test::Equal(Scalar::parse(value).ok_or_else(|| {
                    refuse(format!(
                        "{property:?} must be a text, number, boolean, null or an object of operators"
                    ))
                })?)),
            }
        }
        Ok(Self(conditions))
    }

    /// Whether a vector with `metadata` matches. `index_of` gives the index of a property if it covers this vector;
    /// a condition on a property without one never holds.
    pub(crate) fn matches<'a>(
        &self,
        metadata: Option<&Map<String, Value>>,
        index_of: impl Fn(&str) -> Option<&'a MetadataIndex>,
    ) -> bool {
        self.0.iter().all(|condition| {
            index_of(&condition.property).is_some_and(|index| {
                let value = metadata
                    .and_then(|metadata| indexed_value(metadata, index))
                    .and_then(Scalar::parse)
                    .unwrap_or(Scalar::Null);
                condition.test.holds(&value)
            })
        })
    }
}

impl Test {
    fn holds(&self, value: &Scalar) -> bool {
        match self {
            Self::Equal(wanted) => value == wanted,
            Self::NotEqual(wanted) => value != wanted,
            Self::In(wanted) => wanted.contains(value),
            Self::NotIn(wanted) => !wanted.contains(value),
            Self::Order(bound, orders) => value.compare(bound).is_some_and(|order| orders.contains(&order)),
        }
    }
}

fn test(operator: &str, operand: &Value) -> Result<Test, String> {
    let scalar =
        || Scalar::parse(operand).ok_or_else(|| format!("{operator} takes a text, number, boolean or null"));
    let order = |orders| match scalar()? {
        bound @ (Scalar::Number(_) | Scalar::Text(_)) => Ok(Test::Order(bound, orders)),
        Scalar::Null | Scalar::Bool(_) => Err(format!("{operator} takes a text or number")),
    };
    let list = || match operand {
        Value::Array(list) if !list.is_empty() => list
            .iter()
            .map(Scalar::parse)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| format!("{operator} takes texts, numbers, booleans and nulls")),
        _ => Err(format!("{operator} takes a list with at least one value")),
    };
    match operator {
        "$eq" => scalar().map(Test::Equal),
        "$ne" => scalar().map(Test::NotEqual),
        "$lt" => order([Ordering::Less; 2]),
        "$lte" => order([Ordering::Less, Ordering::Equal]),
        "$gt" => order([Ordering::Greater; 2]),
        "$gte" => order([Ordering::Greater, Ordering::Equal]),
        "$in" => list().map(Test::In),
        "$nin" => list().map(Test::NotIn),
        _ => Err(format!(
            "{operator:?} is no operator; there are $eq, $ne, $lt, $lte, $gt, $gte, $in and $nin"
        )),
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
