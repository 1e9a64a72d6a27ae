//! D1's HTTP bodies: what the client in workerd sends and reads.

use std::io::Write as _;

use serde_json::Value;

use crate::error::D1Error;
use crate::store::{Answer, Meta, Param, ResultsFormat, Statement};

/// The largest request body, in bytes: room for a few values at the limit written as byte arrays.
pub(crate) const MAX_BODY: usize = 32 << 20;

/// Cloudflare's limit on queries per invocation of a Worker; one request cannot exceed it either.
pub(crate) const MAX_STATEMENTS: usize = 1_000;

/// A request's statements, and whether they came as a list.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) statements: Vec<Statement>,
    pub(crate) list: bool,
}

/// The format named by a query string. Absent and unknown names mean objects.
pub(crate) fn results_format(query: &str) -> ResultsFormat {
    let name = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("resultsFormat="));
    match name {
        Some("ROWS_AND_COLUMNS") => ResultsFormat::RowsAndColumns,
        Some("NONE") => ResultsFormat::None,
        _ => ResultsFormat::ArrayOfObjects,
    }
}

/// Reads the body of `/query` and `/execute`: one statement or a list of them.
pub(crate) fn parse(body: &[u8]) -> Result<Request, D1Error> {
    let refuse = |text: String| Err(D1Error::Request(text));
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => return refuse(format!("request body is not JSON: {error}")),
    };
    match value {
        Value::Array(list) if list.len() > MAX_STATEMENTS => refuse(format!(
            "a request may hold at most {MAX_STATEMENTS} statements, not {}",
            list.len()
        )),
        Value::Array(list) => {
            let statements = list
                .into_iter()
                .enumerate()
                .map(|(index, item)| statement(item, &format!("statement {index}: ")))
                .collect::<Result<_, _>>()?;
            Ok(Request {
                statements,
                list: true,
            })
        }
        value => Ok(Request {
            statements: vec![statement(value, "")?],
            list: false,
        }),
    }
}

fn statement(value: Value, place: &str) -> Result<Statement, D1Error> {
    let refuse = |text: &str| Err(D1Error::Request(format!("{place}{text}")));
    let Value::Object(mut object) = value else {
        return refuse("must be an object {\"sql\", \"params\"}");
    };
    let Some(Value::String(sql)) = object.remove("sql") else {
        return refuse("\"sql\" must be a text");
    };
    let params = match object.remove("params") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(params)) => params,
        Some(_) => return refuse("\"params\" must be a list"),
    };
    let params = params
        .iter()
        .enumerate()
        .map(|(index, value)| {
            param(value).ok_or_else(|| {
                D1Error::Request(format!(
                    "{place}params[{index}] must be a number, a text, null or a list of byte values"
                ))
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Statement { sql, params })
}

fn param(value: &Value) -> Option<Param> {
    Some(match value {
        Value::Null => Param::Null,
        Value::Bool(value) => Param::Real(f64::from(u8::from(*value))),
        Value::Number(number) => Param::Real(number.as_f64()?),
        Value::String(text) => Param::Text(text.clone()),
        Value::Array(bytes) => Param::Blob(
            bytes
                .iter()
                .map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()))
                .collect::<Option<_>>()?,
        ),
        Value::Object(_) => return None,
    })
}

/// The body of a success: one element per statement.
pub(crate) fn success(answer: &Answer) -> Vec<u8> {
    let size: usize = answer
        .outcomes
        .iter()
        .map(|outcome| outcome.results.as_ref().map_or(0, Vec::len) + 512)
        .sum();
    let mut body = Vec::with_capacity(size);
    body.push(b'[');
    for (index, outcome) in answer.outcomes.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(b"{\"success\":true,\"meta\":");
        write_meta(&mut body, &outcome.meta);
        if let Some(results) = &outcome.results {
            body.extend_from_slice(b",\"results\":");
            body.extend_from_slice(results);
        }
        body.push(b'}');
    }
    body.push(b']');
    body
}

/// The body of a failure.
pub(crate) fn failure(error: &D1Error) -> Vec<u8> {
    serde_json::json!({"success": false, "error": error.to_string()})
        .to_string()
        .into_bytes()
}

/// Facts about one statement as JSON. Written by hand: a batch has a hundred of them, and a tree for each costs more than
/// its query.
fn write_meta(body: &mut Vec<u8>, meta: &Meta) {
    let duration = meta.duration_ms;
    write!(
        body,
        "{{\"served_by\":\"bowline\",\"served_by_region\":\"LOCAL\",\"served_by_colo\":\"LOCAL\",\
         \"served_by_primary\":true,\"timings\":{{\"sql_duration_ms\":{duration:?}}},\"duration\":{duration:?},\
         \"changes\":{},\"last_row_id\":{},\"changed_db\":{},\"size_after\":{},\"rows_read\":{},\"rows_written\":{},\
         \"total_attempts\":1}}",
        meta.changes,
        meta.last_row_id,
        meta.changed_db,
        meta.size_after,
        meta.rows_read,
        meta.rows_written,
    )
    .expect("writing to memory");
}

/// The same facts as a value.
pub(crate) fn meta(meta: &Meta) -> Value {
    let mut text = Vec::new();
    write_meta(&mut text, meta);
    serde_json::from_slice(&text).expect("it was written as JSON")
}
