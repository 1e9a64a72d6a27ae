//! The rpc surface: one method, `query` (compatibility flag `d1_binding_jsrpc`; reference: workerd 2026-11-17).

use std::sync::Arc;

use capnweb::{Answer, BytesKind, Call, Error, Target, Value};

use crate::bookmark::is_session_start;
use crate::error::D1Error;
use crate::store::{self, Param, ResultsFormat, Statement, Store};
use crate::wire;

/// The main object of a session with a database.
pub(crate) struct Rpc(pub(crate) Arc<dyn Store>);

impl Target for Rpc {
    fn call(&self, mut call: Call) -> Answer {
        if call.method != "query" {
            return Answer::error(call.not_a_function());
        }
        let store = Arc::clone(&self.0);
        let request = call.take(0);
        Answer::later(async move {
            let answered = match read(&request) {
                Ok(statements) => run(store.as_ref(), statements).await,
                Err(error) => Err(error),
            };
            answered.map_err(|error| {
                tracing::debug!(binding.kind = "d1", %error, "call failed");
                // The name is the simulators'; the client puts `D1_ERROR: ` before the message.
                Error::new("D1_ERROR", error.to_string())
            })
        })
    }

    fn methods(&self) -> &[&str] {
        &["query"]
    }
}

async fn run(store: &dyn Store, statements: Vec<Statement>) -> Result<Value, D1Error> {
    let call = store::Call {
        statements,
        format: ResultsFormat::RowsAndColumns,
    };
    let answer = store.run(call).await?;
    let results = answer
        .outcomes
        .iter()
        .map(|outcome| {
            let rows = outcome.results.as_deref().unwrap_or(b"{}");
            let rows: serde_json::Value = serde_json::from_slice(rows).expect("the store writes JSON");
            let serde_json::Value::Object(rows) = rows else {
                unreachable!("this format is an object")
            };
            let mut data = vec![("kind".into(), Value::from("raw"))];
            data.extend(rows.into_iter().map(|(name, rows)| (name.into(), value(rows))));
            Value::object([
                ("meta", value(wire::meta(&outcome.meta))),
                ("data", Value::Object(data)),
            ])
        })
        .collect();
    Ok(Value::object([
        ("results", Value::Array(results)),
        ("bookmark", Value::from(answer.bookmark.to_string())),
    ]))
}

/// Reads `{queries: [{sql, params?}], bookmark?}`.
fn read(request: &Value) -> Result<Vec<Statement>, D1Error> {
    let refuse = |text: String| D1Error::Request(text);
    match request.member("bookmark") {
        None | Some(Value::Undefined | Value::Null) => {}
        Some(Value::String(start)) if is_session_start(start.as_bytes()) => {}
        Some(_) => return Err(D1Error::SessionStart),
    }
    let Some(Value::Array(queries)) = request.member("queries") else {
        return Err(refuse(
            "query() takes {\"queries\": [{\"sql\", \"params\"}]}".to_owned(),
        ));
    };
    if queries.len() > wire::MAX_STATEMENTS {
        return Err(refuse(format!(
            "a request may hold at most {} statements, not {}",
            wire::MAX_STATEMENTS,
            queries.len()
        )));
    }
    queries
        .iter()
        .enumerate()
        .map(|(index, query)| {
            let Some(Value::String(sql)) = query.member("sql") else {
                return Err(refuse(format!("statement {index}: \"sql\" must be a text")));
            };
            let params = match query.member("params") {
                None | Some(Value::Undefined | Value::Null) => &[][..],
                Some(Value::Array(params)) => params,
                Some(_) => return Err(refuse(format!("statement {index}: \"params\" must be a list"))),
            };
            let params = params
                .iter()
                .enumerate()
                .map(|(at, value)| {
                    param(value).ok_or_else(|| {
                        refuse(format!(
                            "statement {index}: params[{at}] must be a number, a text, null or a list of byte values"
                        ))
                    })
                })
                .collect::<Result<_, _>>()?;
            Ok(Statement {
                sql: sql.to_string(),
                params,
            })
        })
        .collect()
}

fn param(value: &Value) -> Option<Param> {
    Some(match value {
        Value::Null => Param::Null,
        Value::Bool(value) => Param::Real(f64::from(u8::from(*value))),
        Value::Number(number) => Param::Real(*number),
        Value::String(text) => Param::Text(text.to_string()),
        Value::Bytes(bytes, BytesKind::Uint8Array | BytesKind::ArrayBuffer) => Param::Blob(bytes.clone()),
        Value::Array(bytes) => Param::Blob(bytes.iter().map(byte).collect::<Option<_>>()?),
        _ => return None,
    })
}

fn byte(value: &Value) -> Option<u8> {
    let Value::Number(number) = value else { return None };
    (number.fract() == 0.0 && (0.0..256.0).contains(number)).then_some(*number as u8)
}

fn value(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::from(text),
        serde_json::Value::Array(items) => Value::Array(items.into_iter().map(value).collect()),
        serde_json::Value::Object(members) => {
            Value::object(members.into_iter().map(|(name, member)| (name, value(member))))
        }
    }
}
