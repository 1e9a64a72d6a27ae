//! Which images `list` is to show, by their metadata.
//!
//! Source: miniflare 5's simulator. An operator it does not know matches nothing there; here it is refused.

use serde_json::{Map, Value};

use super::Refused;

/// Conditions that are looked at, a request.
const MOST_CONDITIONS: usize = 64;

/// Conditions that must all hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Filter(Vec<(String, Condition)>);

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    Equal(Value),
    In(Vec<Value>),
    Greater(f64),
    GreaterOrEqual(f64),
    Less(f64),
    LessOrEqual(f64),
}

impl Filter {
    /// Reads conditions by field: a value to be equal to, or an object of operators.
    pub(crate) fn parse(fields: &Map<String, Value>) -> Result<Self, Refused> {
        let mut conditions = Vec::new();
        for (field, condition) in fields {
            match condition {
                Value::Object(operators) => {
                    for (operator, operand) in operators {
                        conditions.push((field.clone(), Condition::parse(operator, operand)?));
                    }
                }
                value => conditions.push((field.clone(), Condition::Equal(value.clone()))),
            }
            if conditions.len() > MOST_CONDITIONS {
                return Err(Refused::new(format!(
                    "a filter has at most {MOST_CONDITIONS} conditions"
                )));
            }
        }
        Ok(Self(conditions))
    }

    /// Whether metadata, a JSON object as text, is what is sought.
    pub(crate) fn matches(&self, meta: &str) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let Ok(meta) = serde_json::from_str::<Value>(meta) else {
            return false;
        };
        self.0.iter().all(|(field, condition)| {
            let found = field.split('.').try_fold(&meta, |value, key| value.get(key));
            found.is_some_and(|value| condition.holds(value))
        })
    }
}

impl Condition {
    fn parse(operator: &str, operand: &Value) -> Result<Self, Refused> {
        let number = || {
            operand
                .as_f64()
                .ok_or_else(|| Refused::new(format!("the operand of `{operator}` must be a number")))
        };
        Ok(match operator {
            "eq" => Self::Equal(operand.clone()),
            "in" => Self::In(
                operand
                    .as_array()
                    .ok_or_else(|| Refused::new("the operand of `in` must be a list"))?
                    .clone(),
            ),
            "gt" => Self::Greater(number()?),
            "gte" => Self::GreaterOrEqual(number()?),
            "lt" => Self::Less(number()?),
            "lte" => Self::LessOrEqual(number()?),
            _ => {
                return Err(Refused::new(
                    "a filter knows the operators eq, in, gt, gte, lt and lte, and no others",
                ));
            }
        })
    }

    fn holds(&self, value: &Value) -> bool {
        let number = value.as_f64();
        match self {
            Self::Equal(sought) => same(value, sought),
            Self::In(list) => list.iter().any(|sought| same(value, sought)),
            Self::Greater(bound) => number.is_some_and(|number| number > *bound),
            Self::GreaterOrEqual(bound) => number.is_some_and(|number| number >= *bound),
            Self::Less(bound) => number.is_some_and(|number| number < *bound),
            Self::LessOrEqual(bound) => number.is_some_and(|number| number <= *bound),
        }
    }
}

/// As `===` has it of plain values: objects and lists are equal to nothing.
fn same(value: &Value, sought: &Value) -> bool {
    match (value, sought) {
        // An integer and a float of the same value are two things for serde_json.
        (Value::Number(_), Value::Number(_)) => value.as_f64() == sought.as_f64(),
        (Value::Object(_) | Value::Array(_), _) => false,
        _ => value == sought,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_are_those_of_the_simulator() {
        let meta = json!({"kind": "cat", "age": 4, "home": {"city": "Porto"}, "tags": ["a"], "none": null})
            .to_string();
        for (filter, holds) in [
            (json!({}), true),
            (json!({"kind": "cat"}), true),
            (json!({"kind": "dog"}), false),
            (json!({"age": 4.0}), true),
            (json!({"age": "4"}), false),
            (
                json!({"home.city": "Porto", "kind": {"in": ["dog", "cat"]}}),
                true,
            ),
            (json!({"home.city.street": "x"}), false),
            (json!({"tags": ["a"]}), false),
            (json!({"none": null}), true),
            (json!({"missing": null}), false),
            (json!({"age": {"gt": 3, "lte": 4}}), true),
            (json!({"age": {"gt": 4}}), false),
            (json!({"age": {"gte": 4, "lt": 4}}), false),
            (json!({"kind": {"gt": 0}}), false),
            (json!({"kind": {"eq": "cat"}}), true),
        ] {
            let parsed = Filter::parse(filter.as_object().unwrap()).unwrap();
            assert_eq!(parsed.matches(&meta), holds, "{filter}");
        }
        for bad in [
            json!({"a": {"ne": 1}}),
            json!({"a": {"in": 1}}),
            json!({"a": {"gt": "x"}}),
        ] {
            assert!(Filter::parse(bad.as_object().unwrap()).is_err(), "{bad}");
        }
    }
}
