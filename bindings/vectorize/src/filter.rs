//! Metadata filters.

use std::cmp::Ordering;

use serde_json::Value;

use crate::column::{Column, Scalar};
use crate::error::VectorizeError;

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
pub(crate) enum Test {
    Equal(Scalar),
    NotEqual(Scalar),
    In(Vec<Scalar>),
    NotIn(Vec<Scalar>),
    /// The comparison must give one of the two orderings.
    Order(Scalar, [Ordering; 2]),
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

    /// The conditions, each a property and what it must be.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = (&str, &Test)> {
        let conditions = self.0.iter();
        conditions.map(|condition| (condition.property.as_str(), &condition.test))
    }

    /// The filter over an index's columns. `None` when a property has none: a condition on it never holds.
    pub(crate) fn over<'a>(&'a self, columns: &'a [Column]) -> Option<Bound<'a>> {
        let bound = self.0.iter().map(|condition| {
            let column = columns
                .iter()
                .find(|column| column.index.property == condition.property)?;
            Some((column, &condition.test))
        });
        bound.collect::<Option<_>>().map(Bound)
    }
}

/// A filter with the columns it looks at.
pub(crate) struct Bound<'a>(Vec<(&'a Column, &'a Test)>);

impl Bound<'_> {
    /// Whether the vector in `slot` matches; not unless every condition's index covers it.
    pub(crate) fn matches(&self, slot: usize) -> bool {
        self.0.iter().all(|(column, test)| {
            let value = column.values.get(slot).and_then(Option::as_ref);
            value.is_some_and(|value| test.holds(value))
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
