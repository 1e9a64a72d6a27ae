//! The values and errors both test programs make, and the tags they describe values by.

use capnweb::{
    Blob, BytesKind, Capability, Error, ErrorValue, Promise, ReadableStream, Request, Response, Stub, Value,
    normal_headers,
};

fn array(items: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(items.into_iter().collect())
}

fn bytes(bytes: &[u8], kind: &str) -> Value {
    Value::Bytes(bytes.to_vec(), BytesKind::named(kind).unwrap_or_default())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    normal_headers(
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    )
}

/// A body travels as a stream of bytes.
fn body(text: &str) -> Value {
    let chunk = Value::from(text.as_bytes().to_vec());
    ReadableStream::new(futures_util::stream::iter([Ok(chunk)])).into()
}

const PLAIN: (&str, &str) = ("content-type", "text/plain;charset=UTF-8");

/// The value of a kind.
pub(crate) fn make(kind: &str) -> Option<Value> {
    Some(match kind {
        "null" => Value::Null,
        "undefined" => Value::Undefined,
        "true" => true.into(),
        "false" => false.into(),
        "int" => 42.into(),
        "neg" => (-7).into(),
        "float" => 1.5.into(),
        "negzero" => (-0.0).into(),
        "maxsafe" => 9_007_199_254_740_991.0.into(),
        "big" => 1e300.into(),
        "tiny" => 5e-324.into(),
        "inf" => f64::INFINITY.into(),
        "-inf" => f64::NEG_INFINITY.into(),
        "nan" => f64::NAN.into(),
        "string" => "hello".into(),
        "string-empty" => "".into(),
        "string-unicode" => "h\u{e9}llo \u{1f600} \u{0} \" \\ \n".into(),
        "bigint" => Value::BigInt("12345678901234567890".into()),
        "bigint-neg" => Value::BigInt("-5".into()),
        "bigint-zero" => Value::BigInt("0".into()),
        "date" => Value::Date(Some(1_749_342_170_815.0)),
        "date-frac" => Value::Date(Some(-1.0)),
        "date-invalid" => Value::Date(None),
        "bytes" => bytes(&[0, 1, 2, 255], "Uint8Array"),
        "bytes-empty" => bytes(&[], "Uint8Array"),
        "bytes-1" => bytes(&[0xfb], "Uint8Array"),
        "bytes-2" => bytes(&[0xfb, 0xff], "Uint8Array"),
        "arraybuffer" => bytes(&[1, 2, 3], "ArrayBuffer"),
        "dataview" => bytes(&[1, 2, 3], "DataView"),
        "int8array" => bytes(&[0xff, 1], "Int8Array"),
        "uint8clampedarray" => bytes(&[0, 255], "Uint8ClampedArray"),
        "int16array" => bytes(&[0xfe, 0xff, 2, 1], "Int16Array"),
        "uint16array" => bytes(&[1, 0, 2, 1], "Uint16Array"),
        "int32array" => bytes(&[0xff, 0xff, 0xff, 0xff, 4, 3, 2, 1], "Int32Array"),
        "uint32array" => bytes(&[4, 3, 2, 1], "Uint32Array"),
        "bigint64array" => bytes(&[0xff; 8], "BigInt64Array"),
        "biguint64array" => bytes(&[1, 0, 0, 0, 0, 0, 0, 0], "BigUint64Array"),
        "float32array" => bytes(&1.5f32.to_le_bytes(), "Float32Array"),
        "float64array" => bytes(&(-2.25f64).to_le_bytes(), "Float64Array"),
        "array" => array([1.into(), "two".into(), Value::Null]),
        "array-empty" => array([]),
        "array-nested" => array([array([1.into()]), array([array([2.into(), array([3.into()])])])]),
        "array-like-expr" => array(["date".into(), 5.into()]),
        "object" => Value::object([("a", 1.into()), ("b", "x".into()), ("c", array([true.into()]))]),
        "object-empty" => Value::Object(Vec::new()),
        "object-undef" => Value::object([("a", Value::Undefined), ("b", Value::Null)]),
        "object-order" => Value::object([
            ("z", 1.into()),
            ("y", 2.into()),
            ("10", 3.into()),
            ("9", 4.into()),
            ("x", 5.into()),
        ]),
        "url" => Value::Url("https://example.com/a%20b?q=1#f".into()),
        "headers" => Value::Headers(pairs(&[("A", "1"), ("X-B", "2")])),
        "headers-multi" => Value::Headers(pairs(&[
            ("a", "1"),
            ("a", "2"),
            ("set-cookie", "x=1"),
            ("set-cookie", "y=2"),
        ])),
        "request" | "request-post" => {
            let post = kind == "request-post";
            Value::Request(Box::new(Request {
                url: if post {
                    "http://example.com/p"
                } else {
                    "http://example.com/p?q=1"
                }
                .into(),
                method: if post { "POST" } else { "GET" }.into(),
                headers: if post {
                    pairs(&[("x-a", "b"), PLAIN])
                } else {
                    Vec::new()
                },
                body: if post { body("body text") } else { Value::Null },
                init: Vec::new(),
            }))
        }
        "response" => Value::Response(Box::new(Response {
            status: 204,
            status_text: String::new(),
            headers: Vec::new(),
            body: Value::Null,
            init: Vec::new(),
        })),
        "response-body" => Value::Response(Box::new(Response {
            status: 201,
            status_text: "Made".into(),
            headers: pairs(&[("x-a", "b"), PLAIN]),
            body: body("hi there"),
            init: Vec::new(),
        })),
        "blob" => Value::Blob(Box::new(Blob {
            media_type: "text/plain".into(),
            bytes: b"blob text".to_vec(),
        })),
        "blob-empty" => Value::Blob(Box::default()),
        _ => return None,
    })
}

/// The error of a kind. `counter` is what the kind `stubprop` carries.
pub(crate) fn make_error(kind: &str, counter: impl FnOnce() -> Stub) -> Option<ErrorValue<Capability>> {
    Some(match kind {
        "error" => ErrorValue::new("Error", "plain"),
        "type" => ErrorValue::new("TypeError", "bad type"),
        "range" => ErrorValue::new("RangeError", "bad range"),
        "syntax" => ErrorValue::new("SyntaxError", "bad syntax"),
        "reference" => ErrorValue::new("ReferenceError", "bad ref"),
        "uri" => ErrorValue::new("URIError", "bad uri"),
        "eval" => ErrorValue::new("EvalError", "bad eval"),
        "custom" => ErrorValue::new("CustomError", "custom"),
        "props" => ErrorValue::new("RangeError", "rich")
            .with("code", "E_RICH".into())
            .with(
                "details",
                Value::object([("reason", "because".into()), ("count", 7.into())]),
            )
            .with("when", Value::Date(Some(1234.0))),
        "cause" => ErrorValue::new("Error", "outer").with("cause", Value::error("TypeError", "inner")),
        "aggregate" => ErrorValue::new("AggregateError", "agg").with(
            "errors",
            array([Value::error("TypeError", "a"), Value::error("RangeError", "b")]),
        ),
        "stubprop" => ErrorValue::new("Error", "with-stub")
            .with("counter", counter().into())
            .with("code", "E_STUB".into()),
        _ => return None,
    })
}

/// What a kind throws.
pub(crate) fn throw(kind: &str, counter: impl FnOnce() -> Stub) -> Error {
    Error::thrown(match kind {
        "string" => "just a string".into(),
        "null" => Value::Null,
        "number" => 7.into(),
        "object" => Value::object([("code", 5.into())]),
        "undefined" => Value::Undefined,
        kind => match make_error(kind, counter) {
            Some(error) => Value::Error(Box::new(error)),
            None => Value::error("Error", format!("unknown kind {kind}")),
        },
    })
}

fn tagged(t: &str, members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::object(std::iter::once(("t", t.into())).chain(members))
}

fn hex(bytes: &[u8]) -> Value {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into()
}

fn header_tags(headers: &[(String, String)]) -> Value {
    array(
        headers
            .iter()
            .map(|(name, value)| array([name.as_str().into(), value.as_str().into()])),
    )
}

/// A body as text, null for none.
async fn body_text(body: &Value) -> Result<Value, Error> {
    Ok(match body {
        Value::Capability(Capability::Readable(stream)) => {
            let bytes = stream.collect(1 << 20).await?;
            String::from_utf8_lossy(&bytes).into_owned().into()
        }
        Value::Bytes(bytes, _) => String::from_utf8_lossy(bytes).into_owned().into(),
        other => other.clone(),
    })
}

/// An error's class: names that are none read as Error.
pub(crate) fn class(name: &str) -> &str {
    const KNOWN: [&str; 8] = [
        "Error",
        "EvalError",
        "RangeError",
        "ReferenceError",
        "SyntaxError",
        "TypeError",
        "URIError",
        "AggregateError",
    ];
    if KNOWN.contains(&name) { name } else { "Error" }
}

/// Properties of an error as pairs of key and tag, sorted.
pub(crate) async fn prop_tags(error: &ErrorValue<Capability>) -> Result<Value, Error> {
    let mut props: Vec<_> = error.props.iter().collect();
    props.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut tags = Vec::new();
    for (key, value) in props {
        tags.push(array([key.as_str().into(), tag(value).await?]));
    }
    Ok(array(tags))
}

/// The tag of a value.
pub(crate) async fn tag(value: &Value) -> Result<Value, Error> {
    Ok(match value {
        Value::Undefined => tagged("undef", []),
        Value::Null => tagged("null", []),
        Value::Bool(value) => tagged("bool", [("v", (*value).into())]),
        Value::Number(number) => {
            let shown: Value = if number.is_nan() {
                "NaN".into()
            } else if number.is_infinite() {
                if *number > 0.0 { "Infinity" } else { "-Infinity" }.into()
            } else if *number == 0.0 && number.is_sign_negative() {
                "-0".into()
            } else {
                (*number).into()
            };
            tagged("num", [("v", shown)])
        }
        Value::BigInt(digits) => tagged("bigint", [("v", digits.as_str().into())]),
        Value::String(text) => tagged("str", [("v", text.as_str().into())]),
        Value::Bytes(bytes, kind) => tagged("bytes", [("kind", kind.name().into()), ("hex", hex(bytes))]),
        Value::Date(ms) => tagged("date", [("v", ms.map_or(Value::Null, Value::from))]),
        Value::Url(url) => tagged("url", [("v", url.as_str().into())]),
        Value::Headers(headers) => tagged("headers", [("v", header_tags(headers))]),
        Value::Blob(blob) => tagged(
            "blob",
            [
                ("type", blob.media_type.as_str().into()),
                ("hex", hex(&blob.bytes)),
            ],
        ),
        Value::Request(request) => tagged(
            "request",
            [
                ("url", request.url.as_str().into()),
                ("method", request.method.as_str().into()),
                ("headers", header_tags(&request.headers)),
                ("body", Box::pin(body_text(&request.body)).await?),
            ],
        ),
        Value::Response(response) => tagged(
            "response",
            [
                ("status", u32::from(response.status).into()),
                ("statusText", response.status_text.as_str().into()),
                ("headers", header_tags(&response.headers)),
                ("body", Box::pin(body_text(&response.body)).await?),
            ],
        ),
        Value::Error(error) => tagged(
            "err",
            [
                ("name", class(&error.name).into()),
                ("message", error.message.as_str().into()),
                ("props", Box::pin(prop_tags(error)).await?),
            ],
        ),
        Value::Array(items) => {
            let mut tags = Vec::new();
            for item in items {
                tags.push(Box::pin(tag(item)).await?);
            }
            tagged("arr", [("v", array(tags))])
        }
        Value::Object(members) => {
            let mut tags = Vec::new();
            for (key, value) in members {
                tags.push(array([key.as_str().into(), Box::pin(tag(value)).await?]));
            }
            tagged("obj", [("v", array(tags))])
        }
        Value::Capability(Capability::Promise(promise)) => {
            let value = Promise::clone(promise).await?;
            Box::pin(tag(&value)).await?
        }
        Value::Capability(Capability::Stub(_)) => tagged("stub", []),
        Value::Capability(Capability::Readable(_)) => tagged("readable", []),
        Value::Capability(Capability::Writable(_)) => tagged("writable", []),
    })
}

/// A value's stub.
pub(crate) fn as_stub(value: &Value) -> Result<Stub, Error> {
    match value {
        Value::Capability(Capability::Stub(stub)) => Ok(stub.clone()),
        other => Err(Error::new(
            "TypeError",
            format!("a stub was expected, not {other:?}"),
        )),
    }
}
