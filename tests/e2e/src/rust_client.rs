//! `bowline-client` in the place of the test Worker, for what both can do: the contract suites then run from it, too.

mod artifacts;
mod images;
mod service;

use anyhow::{Context, Result, bail};
use bowline_client::vectorize::{Matches, QueryOptions, ReturnMetadata, Vector};
use bowline_client::{Client, Error, ErrorKind};
use serde_json::{Value, json};

use crate::worker::TestWorker;

/// A client whose bindings are called as the Worker's are, with results and errors in JavaScript's form.
#[derive(Debug)]
pub struct RustClient(pub Client);

impl TestWorker for RustClient {
    async fn call(&mut self, call: &str, args: Value) -> Result<Value> {
        let (binding, method) = call.split_once('.').context("a call names its binding")?;
        let outcome = match binding {
            "vec" => match self.vectorize(method, &args).await? {
                Ok(result) => Ok(result),
                Err((prefix, error)) => Err(prefixed(prefix, &error)),
            },
            "art" => told(self.artifacts(method, &args).await)?,
            "dispatch" => told(self.dispatch(method, &args).await)?,
            "images" if method.starts_with("hosted.") => told(self.hosted_images(method, &args).await)?,
            "images" => match self.images(method, &args).await? {
                Ok(result) => Ok(result),
                Err((prefix, error)) => Err(coded(prefix, &error)),
            },
            "svc" => told(self.service(method, &args).await)?,
            _ => bail!("{call} is no call of a typed client"),
        };
        Ok(match outcome {
            Ok(result) => json!({"call": call, "ok": true, "result": result}),
            Err(error) => json!({"call": call, "ok": false, "error": error}),
        })
    }
}

/// An error as JavaScript's client of Vectorize throws it.
fn prefixed(prefix: &str, error: &Error) -> Value {
    let message = match &*error.kind {
        ErrorKind::Binding {
            code: Some(code),
            message,
            ..
        } => format!("{prefix} (code = {code}): {message}"),
        other => format!("{prefix}: {other}"),
    };
    json!({"name": "Error", "message": message})
}

/// An error as JavaScript's client of Images throws it.
fn coded(prefix: &str, error: &Error) -> Value {
    match &*error.kind {
        ErrorKind::Binding {
            code: Some(code),
            message,
            ..
        } => json!({"name": "Error", "message": format!("{prefix}_{message}"), "code": code}),
        other => json!({"name": "Error", "message": format!("{prefix}: {other}")}),
    }
}

/// What a rejected call threw, as user code catches it. Other failures are the test's own.
fn told(outcome: Result<Value>) -> Result<Result<Value, Value>> {
    let error = match outcome {
        Ok(result) => return Ok(Ok(result)),
        Err(error) => error,
    };
    let thrown = match error.downcast_ref::<Error>() {
        Some(error) => error.rejection(),
        None => error.downcast_ref::<capnweb::Error>(),
    };
    match thrown {
        Some(thrown) => {
            let code: Option<Value> = thrown.prop("code");
            Ok(Err(
                json!({"name": thrown.name(), "message": thrown.message(), "code": code}),
            ))
        }
        None => Err(error),
    }
}

impl RustClient {
    /// The outcome, with the prefix that JavaScript's client puts before an error.
    async fn vectorize(&self, call: &str, args: &Value) -> Result<Result<Value, (&'static str, Error)>> {
        let index = self.0.vectorize("VEC");
        let vectors = || serde_json::from_value::<Vec<Vector>>(args["vectors"].clone());
        let ids = || serde_json::from_value::<Vec<String>>(args["ids"].clone());
        let found = |matches: Matches| {
            let list: Vec<Value> = matches
                .matches
                .into_iter()
                .map(|one| {
                    let mut found = json!({"id": one.id, "score": one.score});
                    for (key, value) in [
                        ("values", json!(one.values.as_deref().map(numbers))),
                        ("metadata", json!(one.metadata)),
                        ("namespace", json!(one.namespace)),
                    ] {
                        if !value.is_null() {
                            found[key] = value;
                        }
                    }
                    found
                })
                .collect();
            json!({"count": matches.count, "matches": list})
        };
        let mutation =
            |mutation: bowline_client::vectorize::Mutation| json!({"mutationId": mutation.mutation_id});
        Ok(match call {
            "describe" => index
                .describe()
                .await
                .map_err(|error| ("INDEX_GET_ERROR", error))
                .map(|info| {
                    json!({
                        "dimensions": info.dimensions, "vectorCount": info.vector_count,
                        "processedUpToDatetime": info.processed_up_to_datetime,
                        "processedUpToMutation": info.processed_up_to_mutation,
                    })
                }),
            "insert" => index
                .insert(&vectors()?)
                .await
                .map_err(|error| ("VECTOR_INSERT_ERROR", error))
                .map(mutation),
            "upsert" => index
                .upsert(&vectors()?)
                .await
                .map_err(|error| ("VECTOR_UPSERT_ERROR", error))
                .map(mutation),
            "deleteByIds" => index
                .delete_by_ids(&ids()?)
                .await
                .map_err(|error| ("VECTOR_DELETE_ERROR", error))
                .map(mutation),
            "getByIds" => index
                .get_by_ids(&ids()?)
                .await
                .map_err(|error| ("VECTOR_GET_ERROR", error))
                .map(|vectors| vectors.iter().map(read).collect()),
            "query" => {
                let values: Vec<f32> = serde_json::from_value(args["vector"].clone())?;
                let options = options(&args["options"])?;
                index
                    .query(&values, &options)
                    .await
                    .map_err(|error| ("VECTOR_QUERY_ERROR", error))
                    .map(found)
            }
            "queryById" => {
                let id = args["id"].as_str().unwrap_or_default();
                let options = options(&args["options"])?;
                index
                    .query_by_id(id, &options)
                    .await
                    .map_err(|error| ("VECTOR_QUERY_ERROR", error))
                    .map(found)
            }
            other => bail!("{other} is no call of Vectorize"),
        })
    }
}

fn options(value: &Value) -> Result<QueryOptions> {
    Ok(QueryOptions {
        top_k: value["topK"].as_u64().map(u32::try_from).transpose()?,
        namespace: value["namespace"].as_str().map(str::to_owned),
        return_values: value["returnValues"].as_bool().unwrap_or_default(),
        return_metadata: match value["returnMetadata"].as_str() {
            Some("all") => ReturnMetadata::All,
            Some("indexed") => ReturnMetadata::Indexed,
            _ => ReturnMetadata::None,
        },
        filter: value["filter"].as_object().cloned(),
    })
}

/// A vector as JavaScript would show it: absent members are left out, and whole numbers have no fraction.
fn read(vector: &Vector) -> Value {
    let mut shown = json!(vector);
    shown["values"] = json!(numbers(&vector.values));
    shown
}

fn numbers(values: &[f32]) -> Vec<Value> {
    let number = |value: &f32| {
        if value.fract() == 0.0 {
            json!(*value as i64)
        } else {
            json!(value)
        }
    };
    values.iter().map(number).collect()
}
