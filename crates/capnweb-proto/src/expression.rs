//! Between values and expressions.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::json::{Json, array};
use crate::message::excerpt;
use crate::value::is_prototype_name;
use crate::{BytesKind, ErrorValue, Limits, PathKey, ProtocolError, Value};

/// Padding is left out when writing and optional when reading.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a decoder does with the capabilities it meets. Ids are as the peer wrote them.
pub(crate) trait Decode<C> {
    fn stub(&mut self, id: i64) -> Result<Value<C>, ProtocolError>;
    fn promise(&mut self, id: i64) -> Result<Value<C>, ProtocolError>;
    fn readable(&mut self, id: i64) -> Result<Value<C>, ProtocolError>;
    /// `import` and `pipeline`: a reference to, property of, or call on an export of ours.
    fn own(
        &mut self,
        id: i64,
        path: Vec<PathKey>,
        args: Option<Vec<Value<C>>>,
    ) -> Result<Value<C>, ProtocolError>;
    /// A value that the receiver never sees: its stubs are to be released.
    fn discard(&mut self, value: Value<C>);
}

/// Decodes one expression; `depth` is its level.
pub(crate) fn decode<C>(
    json: &Json,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
) -> Result<Value<C>, ProtocolError> {
    if depth >= limits.max_depth {
        return Err(ProtocolError::TooDeep(limits.max_depth));
    }
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(value) => Value::Number(*value),
        Json::String(text) => Value::String(text.clone()),
        Json::Object(members) => Value::Object(decode_members(members, depth, limits, caps, &["toJSON"])?),
        Json::Array(items) => match items.as_slice() {
            // An array is escaped by wrapping it.
            [Json::Array(items)] => Value::Array(
                items
                    .iter()
                    .map(|item| decode(item, depth + 1, limits, caps))
                    .collect::<Result<_, _>>()?,
            ),
            [Json::String(tag), rest @ ..] => decode_special(tag, rest, json, depth, limits, caps)?,
            _ => return Err(ProtocolError::BadExpression(excerpt(json))),
        },
    })
}

fn decode_members<C>(
    members: &[(String, Json)],
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
    dropped: &[&str],
) -> Result<Vec<(String, Value<C>)>, ProtocolError> {
    let mut kept = Vec::with_capacity(members.len());
    for (name, json) in members {
        // Refused members are evaluated all the same, so that stubs in them are accounted for.
        let value = decode(json, depth + 1, limits, caps)?;
        if is_prototype_name(name) || dropped.contains(&name.as_str()) {
            caps.discard(value);
        } else {
            kept.push((name.clone(), value));
        }
    }
    Ok(kept)
}

fn decode_special<C>(
    tag: &str,
    rest: &[Json],
    whole: &Json,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
) -> Result<Value<C>, ProtocolError> {
    let bad = || ProtocolError::BadExpression(excerpt(whole));
    let id = |index: usize| rest.get(index).and_then(Json::as_integer).ok_or_else(bad);
    Ok(match tag {
        "undefined" if rest.is_empty() => Value::Undefined,
        "inf" => Value::Number(f64::INFINITY),
        "-inf" => Value::Number(f64::NEG_INFINITY),
        "nan" => Value::Number(f64::NAN),
        "bigint" => bigint(rest.first().and_then(Json::as_str).ok_or_else(bad)?, limits)?,
        "date" => match rest.first().ok_or_else(bad)? {
            Json::Null => Value::Date(None),
            // ECMA-262, TimeClip.
            Json::Number(ms) => Value::Date((ms.abs() <= 8.64e15).then_some(ms.trunc())),
            _ => return Err(bad()),
        },
        "bytes" => bytes(rest, &bad)?,
        "error" => {
            let text = |index: usize| {
                rest.get(index)
                    .and_then(Json::as_str)
                    .map(str::to_owned)
                    .ok_or_else(bad)
            };
            let props = match rest.get(3) {
                None => Vec::new(),
                Some(Json::Object(props)) => decode_members(
                    props,
                    depth,
                    limits,
                    caps,
                    &["toJSON", "name", "message", "stack"],
                )?,
                Some(_) => return Err(bad()),
            };
            let stack = rest.get(2).and_then(Json::as_str).map(str::to_owned);
            Value::Error(Box::new(ErrorValue {
                name: text(0)?,
                message: text(1)?,
                stack,
                props,
            }))
        }
        "url" => match rest {
            [Json::String(url)] => Value::Url(url.clone()),
            _ => return Err(bad()),
        },
        "headers" => match rest {
            [Json::Array(pairs)] => {
                Value::Headers(pairs.iter().map(pair).collect::<Option<_>>().ok_or_else(bad)?)
            }
            _ => return Err(bad()),
        },
        "import" | "pipeline" => {
            if rest.len() > 3 {
                return Err(bad());
            }
            let path = match rest.get(1) {
                None => Vec::new(),
                Some(Json::Array(path)) => {
                    path.iter().map(path_key).collect::<Option<_>>().ok_or_else(bad)?
                }
                Some(_) => return Err(bad()),
            };
            let args = match rest.get(2) {
                None => None,
                // Arguments continue at the level of the call.
                Some(Json::Array(args)) => Some(
                    args.iter()
                        .map(|arg| decode(arg, depth + 1, limits, caps))
                        .collect::<Result<_, _>>()?,
                ),
                Some(_) => return Err(bad()),
            };
            caps.own(id(0)?, path, args)?
        }
        "export" | "writable" => caps.stub(id(0)?)?,
        "promise" => caps.promise(id(0)?)?,
        "readable" => caps.readable(id(0)?)?,
        "remap" => return Err(ProtocolError::Unsupported("remap")),
        "blob" => return Err(ProtocolError::Unsupported("blob")),
        "request" => return Err(ProtocolError::Unsupported("request")),
        "response" => return Err(ProtocolError::Unsupported("response")),
        _ => return Err(bad()),
    })
}

fn bigint<C>(text: &str, limits: &Limits) -> Result<Value<C>, ProtocolError> {
    if text.len() > limits.max_bigint_digits {
        return Err(ProtocolError::BigIntTooLong(limits.max_bigint_digits));
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ProtocolError::BadBigInt(excerpt(&text.into())));
    }
    let significant = digits.trim_start_matches('0');
    Ok(Value::BigInt(match (significant, text.starts_with('-')) {
        ("", _) => "0".into(),
        (digits, true) => format!("-{digits}"),
        (digits, false) => digits.into(),
    }))
}

fn bytes<C>(rest: &[Json], bad: &dyn Fn() -> ProtocolError) -> Result<Value<C>, ProtocolError> {
    let text = rest.first().and_then(Json::as_str).ok_or_else(bad)?;
    let kind = match rest.get(1) {
        None => BytesKind::Uint8Array,
        Some(Json::String(name)) => BytesKind::named(name).ok_or_else(|| {
            ProtocolError::BadBytes(format!(
                "Unknown bytes type marker: {}",
                excerpt(&name.as_str().into())
            ))
        })?,
        Some(_) => return Err(ProtocolError::BadBytes("Unknown bytes type marker type".into())),
    };
    let bytes = BASE64
        .decode(text)
        .map_err(|_| ProtocolError::BadBytes("Invalid base64 in a bytes expression".into()))?;
    if let BytesKind::Other(name, size) = kind
        && bytes.len() % size != 0
    {
        let text = format!(
            "Invalid byte length {} for {name}; expected a multiple of {size}",
            bytes.len()
        );
        return Err(ProtocolError::BadBytes(text));
    }
    Ok(Value::Bytes(bytes, kind))
}

fn pair(json: &Json) -> Option<(String, String)> {
    match json.as_array()? {
        [Json::String(name), Json::String(value)] => Some((name.clone(), value.clone())),
        _ => None,
    }
}

fn path_key(json: &Json) -> Option<PathKey> {
    match json {
        Json::String(name) => Some(PathKey::Name(name.clone())),
        Json::Number(index) => Some(PathKey::Index(*index)),
        _ => None,
    }
}

/// Why a value of ours cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unwritable(pub(crate) &'static str);

/// Encodes one value; `capability` gives the expression of each capability.
pub(crate) fn encode<C>(
    value: &Value<C>,
    depth: usize,
    capability: &mut dyn FnMut(&C) -> Result<Json, Unwritable>,
) -> Result<Json, Unwritable> {
    // JavaScript's sender has this bound fixed, and its receiver the same by default.
    if depth >= 256 {
        return Err(Unwritable(
            "Serialization exceeded maximum allowed depth. (Does the message contain cycles?)",
        ));
    }
    Ok(match value {
        Value::Undefined => array(["undefined".into()]),
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(number) if number.is_nan() => array(["nan".into()]),
        Value::Number(number) if number.is_infinite() => {
            array([if *number > 0.0 { "inf" } else { "-inf" }.into()])
        }
        Value::Number(number) => Json::Number(*number),
        Value::BigInt(digits) => array(["bigint".into(), digits.as_str().into()]),
        Value::String(text) => Json::String(text.clone()),
        Value::Bytes(bytes, kind) => {
            let text = Json::String(BASE64.encode(bytes));
            match kind {
                BytesKind::Uint8Array => array(["bytes".into(), text]),
                BytesKind::Other(name, _) => array(["bytes".into(), text, (*name).into()]),
            }
        }
        Value::Date(ms) => array(["date".into(), ms.map_or(Json::Null, Json::Number)]),
        Value::Url(url) => array(["url".into(), url.as_str().into()]),
        Value::Headers(pairs) => {
            let pairs = pairs
                .iter()
                .map(|(name, value)| array([name.as_str().into(), value.as_str().into()]))
                .collect();
            array(["headers".into(), Json::Array(pairs)])
        }
        Value::Array(items) => {
            let items = items
                .iter()
                .map(|item| encode(item, depth + 1, capability))
                .collect::<Result<_, _>>()?;
            array([Json::Array(items)])
        }
        Value::Object(members) => Json::Object(encode_members(members, depth, capability)?),
        Value::Error(error) => {
            let mut items = vec![
                "error".into(),
                error.name.as_str().into(),
                error.message.as_str().into(),
            ];
            if error.stack.is_some() || !error.props.is_empty() {
                items.push(error.stack.as_deref().map_or(Json::Null, Json::from));
            }
            if !error.props.is_empty() {
                items.push(Json::Object(encode_members(&error.props, depth, capability)?));
            }
            Json::Array(items)
        }
        Value::Capability(found) => capability(found)?,
    })
}

fn encode_members<C>(
    members: &[(String, Value<C>)],
    depth: usize,
    capability: &mut dyn FnMut(&C) -> Result<Json, Unwritable>,
) -> Result<Vec<(String, Json)>, Unwritable> {
    members
        .iter()
        .map(|(name, value)| Ok((name.clone(), encode(value, depth + 1, capability)?)))
        .collect()
}
