//! Values as JSON.

use capnweb::{Capability, Error, Promise, Value};
use serde_json::{Map, Number, json};

use crate::kinds::{class, prop_tags, tag};

/// Plain data as JSON; undefined as null.
pub(crate) fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(value) => json!(value),
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => json!(*number as i64),
        Value::Number(number) => Number::from_f64(*number).map_or(serde_json::Value::Null, Into::into),
        Value::String(text) => json!(text.as_str()),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => {
            let members: Map<String, serde_json::Value> = members
                .iter()
                .map(|(name, value)| (name.to_string(), plain(value)))
                .collect();
            members.into()
        }
        Value::BigInt(digits) => json!(digits),
        Value::Undefined | Value::Null => serde_json::Value::Null,
        other => json!(format!("{other:?}")),
    }
}

/// The tag of a value as JSON.
pub(crate) async fn tagged(value: &Value) -> Result<serde_json::Value, Error> {
    Ok(plain(&tag(value).await?))
}

/// The `error` part of an outcome.
pub(crate) async fn failure(error: &Error) -> Result<serde_json::Value, Error> {
    Ok(match error.as_error() {
        Some(error) => json!({
            "name": class(&error.name),
            "message": error.message,
            "props": plain(&prop_tags(error).await?),
        }),
        None => json!({"thrown": tagged(error.value()).await?}),
    })
}

/// What came of a promise.
pub(crate) async fn outcome(promise: Promise) -> Result<serde_json::Value, Error> {
    Ok(match promise.await {
        Ok(value) => json!({"value": tagged(&value).await?}),
        Err(error) => json!({"error": failure(&error).await?}),
    })
}

/// A member that holds a stub.
pub(crate) fn stub_in(value: &Value, name: &str) -> Result<capnweb::Stub, Error> {
    match value.member(name) {
        Some(Value::Capability(Capability::Stub(stub))) => Ok(stub.clone()),
        other => Err(Error::new(
            "TypeError",
            format!("{name} is no stub but {other:?}"),
        )),
    }
}
