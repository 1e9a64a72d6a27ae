//! Between values and expressions.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::json::{Json, write_number, write_string};
use crate::message::excerpt;
use crate::value::is_prototype_name;
use crate::{BytesKind, ErrorValue, Limits, PathKey, ProtocolError, Request, Response, Value};

/// Padding is left out when writing and optional when reading.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The sender's bound on nesting, fixed in JavaScript.
const MAX_WRITTEN_DEPTH: usize = 256;

/// What a decoder does with the capabilities it meets. Ids are as the peer wrote them.
pub(crate) trait Decode<C> {
    fn stub(&mut self, id: i64) -> Result<Value<C>, ProtocolError>;
    fn writable(&mut self, id: i64) -> Result<Value<C>, ProtocolError>;
    fn promise(&mut self, id: i64) -> Result<Value<C>, ProtocolError>;
    fn readable(&mut self, id: i64) -> Result<Value<C>, ProtocolError>;
    /// `import` and `pipeline`: a reference to, property of, or call on an export of ours. `stub` for `import`: the
    /// result is to be treated as a stub.
    fn own(
        &mut self,
        id: i64,
        path: Vec<PathKey>,
        args: Option<Vec<Value<C>>>,
    ) -> Result<Value<C>, ProtocolError>;
    fn remap(
        &mut self,
        id: i64,
        path: Vec<PathKey>,
        captures: Vec<Value<C>>,
        instructions: Vec<Json>,
    ) -> Result<Value<C>, ProtocolError>;
    /// A blob whose bytes come by the stream in `content`.
    fn blob(&mut self, media_type: String, content: Value<C>) -> Result<Value<C>, ProtocolError>;
    /// Whether a request's or response's body may be this: a stream.
    fn is_stream(&self, value: &Value<C>) -> bool;
    /// A value that the receiver never sees: its stubs are to be released.
    fn discard(&mut self, value: Value<C>);
}

/// Decodes one expression; `depth` is its level.
pub(crate) fn decode<C>(
    json: Json,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
) -> Result<Value<C>, ProtocolError> {
    if depth >= limits.max_depth {
        return Err(ProtocolError::TooDeep(limits.max_depth));
    }
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(value) => Value::Number(value),
        Json::String(text) => Value::String(text),
        Json::Object(members) => Value::Object(decode_members(members, depth, limits, caps, &["toJSON"])?),
        // An array is escaped by wrapping it.
        Json::Array(mut items) => match items.as_mut_slice() {
            [Json::Array(inner)] => Value::Array(decode_all(std::mem::take(inner), depth + 1, limits, caps)?),
            [Json::String(_), ..] => decode_special(items, depth, limits, caps)?,
            _ => return Err(ProtocolError::BadExpression(excerpt(&Json::Array(items)))),
        },
    })
}

fn decode_all<C>(
    items: Vec<Json>,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
) -> Result<Vec<Value<C>>, ProtocolError> {
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        match decode(item, depth, limits, caps) {
            Ok(value) => values.push(value),
            Err(error) => {
                // Matters inside a map, where an error does not end the session.
                caps.discard(Value::Array(values));
                return Err(error);
            }
        }
    }
    Ok(values)
}

fn decode_members<C>(
    members: Vec<(String, Json)>,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
    dropped: &[&str],
) -> Result<Vec<(String, Value<C>)>, ProtocolError> {
    let mut kept = Vec::with_capacity(members.len());
    for (name, json) in members {
        // Refused members are evaluated all the same, so that stubs in them are accounted for.
        match decode(json, depth + 1, limits, caps) {
            Ok(value) if is_prototype_name(&name) || dropped.contains(&name.as_str()) => caps.discard(value),
            Ok(value) => kept.push((name, value)),
            Err(error) => {
                caps.discard(Value::Object(kept));
                return Err(error);
            }
        }
    }
    Ok(kept)
}

fn decode_special<C>(
    mut items: Vec<Json>,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
) -> Result<Value<C>, ProtocolError> {
    let Some(Json::String(tag)) = items.first_mut().map(std::mem::take) else {
        return Err(ProtocolError::BadExpression(excerpt(&Json::Array(items))));
    };
    // Built only for an error: most expressions are right.
    let fault = |tag: &str, items: &[Json]| {
        let mut whole = items.to_vec();
        if let Some(first) = whole.first_mut() {
            *first = Json::String(tag.to_owned());
        }
        ProtocolError::BadExpression(excerpt(&Json::Array(whole)))
    };
    macro_rules! bad {
        () => {
            fault(&tag, &items)
        };
    }
    macro_rules! id {
        () => {
            items
                .get(1)
                .and_then(Json::as_integer)
                .ok_or_else(|| bad!())?
        };
    }
    Ok(match tag.as_str() {
        "undefined" if items.len() == 1 => Value::Undefined,
        "inf" => Value::Number(f64::INFINITY),
        "-inf" => Value::Number(f64::NEG_INFINITY),
        "nan" => Value::Number(f64::NAN),
        "bigint" => bigint(items.get(1).and_then(Json::as_str).ok_or_else(|| bad!())?, limits)?,
        "date" => match items.get(1) {
            Some(Json::Null) => Value::Date(None),
            // ECMA-262, TimeClip.
            Some(Json::Number(ms)) => Value::Date((ms.abs() <= 8.64e15).then_some(ms.trunc() + 0.0)),
            _ => return Err(bad!()),
        },
        "bytes" => match items.get(1) {
            Some(Json::String(text)) => bytes(text, items.get(2))?,
            _ => return Err(bad!()),
        },
        "error" => {
            if !matches!(items.as_slice(), [_, Json::String(_), Json::String(_), ..])
                || !matches!(items.get(4), None | Some(Json::Object(_)))
            {
                return Err(bad!());
            }
            let props = match items.get_mut(4).map(std::mem::take) {
                Some(Json::Object(props)) => decode_members(
                    props,
                    depth,
                    limits,
                    caps,
                    &["toJSON", "name", "message", "stack"],
                )?,
                _ => Vec::new(),
            };
            let stack = items.get(3).and_then(Json::as_str).map(str::to_owned);
            Value::Error(Box::new(ErrorValue {
                name: take_text(&mut items, 1),
                message: take_text(&mut items, 2),
                stack,
                props,
            }))
        }
        "url" => match items.as_slice() {
            [_, Json::String(url)] if is_absolute_url(url) => Value::Url(take_text(&mut items, 1)),
            [_, Json::String(_)] => return Err(ProtocolError::BadParts("Invalid URL".into())),
            _ => return Err(bad!()),
        },
        "headers" => match items.as_slice() {
            [_, Json::Array(pairs)] => Value::Headers(pairs_of(pairs).ok_or_else(|| bad!())?),
            _ => return Err(bad!()),
        },
        "request" | "response" => {
            if !matches!(items.as_slice(), [_, _, Json::Object(_)]) {
                return Err(bad!());
            }
            let Some(Json::Object(init)) = items.get_mut(2).map(std::mem::take) else {
                return Err(bad!());
            };
            let subject = std::mem::take(&mut items[1]);
            if tag == "request" {
                request(subject, init, depth, limits, caps)?
            } else {
                response(subject, init, depth, limits, caps)?
            }
        }
        "blob" => match items.as_mut_slice() {
            [_, Json::String(media_type), content] => {
                let (media_type, content) = (std::mem::take(media_type), std::mem::take(content));
                let content = decode(content, depth + 1, limits, caps)?;
                if !caps.is_stream(&content) {
                    return Err(ProtocolError::BadParts(
                        "Blob content must be serialized as a ReadableStream.".into(),
                    ));
                }
                caps.blob(media_type, content)?
            }
            _ => return Err(bad!()),
        },
        "import" | "pipeline" => {
            let id = id!();
            if items.len() > 4 {
                return Err(bad!());
            }
            let path = match items.get(2) {
                None => Vec::new(),
                Some(Json::Array(path)) => path_of(path).ok_or_else(|| bad!())?,
                Some(_) => return Err(bad!()),
            };
            let args = match items.get_mut(3) {
                None => None,
                // Arguments continue at the level of the call.
                Some(Json::Array(args)) => Some(decode_all(std::mem::take(args), depth + 1, limits, caps)?),
                Some(_) => return Err(bad!()),
            };
            caps.own(id, path, args)?
        }
        "remap" => {
            let id = id!();
            let [_, _, Json::Array(path), Json::Array(captures), Json::Array(_)] = items.as_slice() else {
                return Err(bad!());
            };
            let path = path_of(path).ok_or_else(|| bad!())?;
            let mut kept = Vec::with_capacity(captures.len());
            for capture in captures {
                let value = match capture.as_array() {
                    Some([Json::String(tag), id @ Json::Number(_)]) => {
                        match (tag.as_str(), id.as_integer()) {
                            ("import", Some(id)) => Some(caps.own(id, Vec::new(), None)?),
                            ("export", Some(id)) => Some(caps.stub(id)?),
                            _ => None,
                        }
                    }
                    _ => None,
                };
                let Some(value) = value else {
                    return Err(ProtocolError::BadCapture(excerpt(capture)));
                };
                kept.push(value);
            }
            let Some(Json::Array(instructions)) = items.pop() else {
                return Err(bad!());
            };
            caps.remap(id, path, kept, instructions)?
        }
        "export" => caps.stub(id!())?,
        "writable" => caps.writable(id!())?,
        "promise" => caps.promise(id!())?,
        "readable" => caps.readable(id!())?,
        _ => return Err(bad!()),
    })
}

fn take_text(items: &mut [Json], index: usize) -> String {
    match items.get_mut(index).map(std::mem::take) {
        Some(Json::String(text)) => text,
        _ => String::new(),
    }
}

/// What `new URL(text)` takes, nearly: a scheme and something after it. The rest of the standard is the application's.
fn is_absolute_url(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    })
}

/// The members of an init object: headers and body apart, known members by name, the rest decoded.
struct Init<C> {
    headers: Vec<(String, String)>,
    body: Value<C>,
    rest: Vec<(String, Value<C>)>,
}

fn init<C>(
    of: &str,
    init: Vec<(String, Json)>,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
) -> Result<Init<C>, ProtocolError> {
    let mut headers = Vec::new();
    let mut body = Value::Null;
    let mut rest = Vec::new();
    for (name, json) in init {
        match (name.as_str(), json) {
            ("headers", json) => {
                headers = json.as_array().and_then(pairs_of).ok_or_else(|| {
                    // JavaScript's words, for responses too.
                    ProtocolError::BadParts("Request headers must be serialized as an array of pairs.".into())
                })?;
            }
            ("body", json) => {
                body = decode(json, depth + 1, limits, caps)?;
                if of == "Response" {
                    check_body(of, &body, caps)?;
                }
            }
            ("webSocket", json) if of == "Response" && json != Json::Null => {
                return Err(ProtocolError::BadParts(
                    "Can't deserialize a Response containing a webSocket.".into(),
                ));
            }
            // Signals are never sent by honest peers and mean nothing here.
            ("signal" | "duplex" | "webSocket", _) => {}
            // Plain data, not expressions.
            (_, json) => rest.push((name, plain(json))),
        }
    }
    if matches!(body, Value::String(_)) {
        describe_text(&mut headers);
    }
    Ok(Init { headers, body, rest })
}

/// What a constructor of the fetch standard does for a body that is text.
fn describe_text(headers: &mut Vec<(String, String)>) {
    if headers.iter().all(|(name, _)| name != "content-type") {
        headers.push(("content-type".into(), "text/plain;charset=UTF-8".into()));
        headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
}

fn check_body<C>(of: &str, body: &Value<C>, caps: &dyn Decode<C>) -> Result<(), ProtocolError> {
    match body {
        Value::Null | Value::String(_) | Value::Bytes(..) => Ok(()),
        body if caps.is_stream(body) => Ok(()),
        _ => Err(ProtocolError::BadParts(format!(
            "{of} body must be of type ReadableStream."
        ))),
    }
}

fn plain<C>(json: Json) -> Value<C> {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(value) => Value::Number(value),
        Json::String(text) => Value::String(text),
        Json::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        Json::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(name, _)| !is_prototype_name(name))
                .map(|(name, value)| (name, plain(value)))
                .collect(),
        ),
    }
}

fn request<C>(
    url: Json,
    members: Vec<(String, Json)>,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
) -> Result<Value<C>, ProtocolError> {
    let Json::String(url) = url else {
        return Err(ProtocolError::BadParts("Request URL must be a string.".into()));
    };
    if !is_absolute_url(&url) {
        return Err(ProtocolError::BadParts("Failed to parse URL".into()));
    }
    let Init {
        headers,
        body,
        mut rest,
    } = init("Request", members, depth, limits, caps)?;
    check_body("Request", &body, caps)?;
    let method = match rest.iter().position(|(name, _)| name == "method") {
        None => "GET".to_owned(),
        Some(at) => match rest.remove(at).1 {
            Value::String(method) if !method.is_empty() && method.bytes().all(|b| b.is_ascii_graphic()) => {
                method
            }
            _ => {
                return Err(ProtocolError::BadParts(
                    "Request method is not a valid HTTP method.".into(),
                ));
            }
        },
    };
    if matches!(method.as_str(), "GET" | "HEAD") && !matches!(body, Value::Null) {
        return Err(ProtocolError::BadParts(
            "Request with GET/HEAD method cannot have body.".into(),
        ));
    }
    Ok(Value::Request(Box::new(Request {
        url,
        method,
        headers,
        body,
        init: rest,
    })))
}

fn response<C>(
    body: Json,
    members: Vec<(String, Json)>,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
) -> Result<Value<C>, ProtocolError> {
    let body = decode(body, depth + 1, limits, caps)?;
    check_body("Response", &body, caps)?;
    let Init {
        mut headers,
        mut rest,
        ..
    } = init("Response", members, depth, limits, caps)?;
    if matches!(body, Value::String(_)) {
        describe_text(&mut headers);
    }
    let mut take = |wanted: &str| {
        let at = rest.iter().position(|(name, _)| name == wanted)?;
        Some(rest.remove(at).1)
    };
    let status = match take("status") {
        None => 200,
        Some(Value::Number(status)) if (200.0..=599.0).contains(&status) && status.fract() == 0.0 => {
            status as u16
        }
        Some(_) => {
            return Err(ProtocolError::BadRange(
                "init[\"status\"] must be in the range of 200 to 599, inclusive.".into(),
            ));
        }
    };
    let status_text = match take("statusText") {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    if matches!(status, 204 | 205 | 304) && !matches!(body, Value::Null) {
        return Err(ProtocolError::BadParts(format!(
            "Response constructor: Invalid response status code {status}"
        )));
    }
    Ok(Value::Response(Box::new(Response {
        status,
        status_text,
        headers,
        body,
        init: rest,
    })))
}

fn bigint<C>(text: &str, limits: &Limits) -> Result<Value<C>, ProtocolError> {
    if text.len() > limits.max_bigint_digits {
        return Err(ProtocolError::BigIntTooLong(limits.max_bigint_digits));
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ProtocolError::BadBigInt(text.chars().take(100).collect()));
    }
    let significant = digits.trim_start_matches('0');
    Ok(Value::BigInt(match (significant, text.starts_with('-')) {
        ("", _) => "0".into(),
        (digits, true) => format!("-{digits}"),
        (digits, false) => digits.into(),
    }))
}

fn bytes<C>(text: &str, kind: Option<&Json>) -> Result<Value<C>, ProtocolError> {
    let kind = match kind {
        None => BytesKind::Uint8Array,
        Some(Json::String(name)) => BytesKind::named(name)
            .ok_or_else(|| ProtocolError::BadParts(format!("Unknown bytes type marker: {name}")))?,
        Some(other) => {
            let kind = match other {
                Json::Number(_) => "number",
                Json::Bool(_) => "boolean",
                _ => "object",
            };
            return Err(ProtocolError::BadParts(format!(
                "Unknown bytes type marker type: {kind}"
            )));
        }
    };
    let bytes = BASE64
        .decode(text)
        .map_err(|_| ProtocolError::BadParts("Invalid base64 in a bytes expression".into()))?;
    let size = kind.element_size();
    if bytes.len() % size != 0 {
        let name = kind.name();
        let text = format!(
            "Invalid byte length {} for {name}; expected a multiple of {size}",
            bytes.len()
        );
        return Err(ProtocolError::BadParts(text));
    }
    Ok(Value::Bytes(bytes, kind))
}

fn pairs_of(pairs: &[Json]) -> Option<Vec<(String, String)>> {
    let pairs: Vec<(String, String)> = pairs
        .iter()
        .map(|pair| match pair.as_array()? {
            [Json::String(name), Json::String(value)] => Some((name.clone(), value.clone())),
            _ => None,
        })
        .collect::<Option<_>>()?;
    Some(normal_headers(pairs))
}

/// Headers as iteration of a `Headers` object gives them: names in lower case and sorted, values of one name joined,
/// `set-cookie` kept apart.
pub fn normal_headers(pairs: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut kept: Vec<(String, String)> = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let name = name.to_ascii_lowercase();
        match kept.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) if name != "set-cookie" => {
                known.push_str(", ");
                known.push_str(&value);
            }
            _ => kept.push((name, value)),
        }
    }
    kept.sort_by(|(one, _), (other, _)| one.cmp(other));
    kept
}

fn path_of(path: &[Json]) -> Option<Vec<PathKey>> {
    path.iter()
        .map(|key| match key {
            Json::String(name) => Some(PathKey::Name(name.clone())),
            Json::Number(index) => Some(PathKey::Index(*index)),
            _ => None,
        })
        .collect()
}

/// Why a value of ours cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritable(pub(crate) &'static str);

impl Unwritable {
    /// For a capability that has no place where it stands.
    pub fn new(text: &'static str) -> Self {
        Self(text)
    }

    /// The text for an error.
    pub fn text(&self) -> &'static str {
        self.0
    }
}

/// What an encoder does with capabilities, and with errors before they are written.
pub trait Encode<C> {
    /// Appends the expression of a capability.
    fn capability(&mut self, out: &mut String, capability: &C) -> Result<(), Unwritable>;
    /// Appends the expression of a blob.
    fn blob(&mut self, out: &mut String, blob: &crate::Blob) -> Result<(), Unwritable>;
    /// What is sent in the place of an error.
    fn rewrite(&mut self, error: &ErrorValue<C>) -> Option<ErrorValue<C>>;
    /// A mark to go back to when something cannot be written.
    fn mark(&self) -> usize;
    /// Takes back what was done since the mark.
    fn undo(&mut self, mark: usize);
}

/// Appends the expression of one value. After an error `out` is as long as it was, or longer.
pub fn encode<C>(
    value: &Value<C>,
    depth: usize,
    out: &mut String,
    caps: &mut dyn Encode<C>,
) -> Result<(), Unwritable> {
    if depth >= MAX_WRITTEN_DEPTH {
        return Err(Unwritable(
            "Serialization exceeded maximum allowed depth. (Does the message contain cycles?)",
        ));
    }
    match value {
        Value::Undefined => out.push_str("[\"undefined\"]"),
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) if number.is_nan() => out.push_str("[\"nan\"]"),
        Value::Number(number) if number.is_infinite() => {
            out.push_str(if *number > 0.0 { "[\"inf\"]" } else { "[\"-inf\"]" });
        }
        Value::Number(number) => write_number(out, *number),
        Value::BigInt(digits) => {
            out.push_str("[\"bigint\",");
            write_string(out, digits);
            out.push(']');
        }
        Value::String(text) => write_string(out, text),
        Value::Bytes(bytes, kind) => {
            out.push_str("[\"bytes\",\"");
            BASE64.encode_string(bytes, out);
            out.push('"');
            if *kind != BytesKind::Uint8Array {
                out.push_str(",\"");
                out.push_str(kind.name());
                out.push('"');
            }
            out.push(']');
        }
        Value::Date(ms) => {
            out.push_str("[\"date\",");
            match ms {
                Some(ms) => write_number(out, *ms),
                None => out.push_str("null"),
            }
            out.push(']');
        }
        Value::Url(url) => {
            out.push_str("[\"url\",");
            write_string(out, url);
            out.push(']');
        }
        Value::Headers(pairs) => {
            out.push_str("[\"headers\",");
            write_pairs(out, pairs);
            out.push(']');
        }
        Value::Array(items) => {
            out.push_str("[[");
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                encode(item, depth + 1, out, caps)?;
            }
            out.push_str("]]");
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(out, name);
                out.push(':');
                encode(value, depth + 1, out, caps)?;
            }
            out.push('}');
        }
        Value::Error(error) => match caps.rewrite(error) {
            Some(replacement) => encode_error(&replacement, depth, out, caps),
            None => encode_error(error, depth, out, caps),
        },
        Value::Blob(blob) => caps.blob(out, blob)?,
        Value::Request(request) => encode_request(request, depth, out, caps)?,
        Value::Response(response) => encode_response(response, depth, out, caps)?,
        Value::Capability(found) => caps.capability(out, found)?,
    }
    Ok(())
}

/// An error always gets through: a property that cannot be written is left out.
fn encode_error<C>(error: &ErrorValue<C>, depth: usize, out: &mut String, caps: &mut dyn Encode<C>) {
    out.push_str("[\"error\",");
    write_string(out, &error.name);
    out.push(',');
    write_string(out, &error.message);
    match &error.stack {
        Some(stack) => {
            out.push(',');
            write_string(out, stack);
        }
        None if !error.props.is_empty() => out.push_str(",null"),
        None => {}
    }
    if !error.props.is_empty() {
        let before = out.len();
        out.push_str(",{");
        let first = out.len();
        for (name, value) in &error.props {
            let (length, mark) = (out.len(), caps.mark());
            if length > first {
                out.push(',');
            }
            write_string(out, name);
            out.push(':');
            if encode(value, depth + 1, out, caps).is_err() {
                out.truncate(length);
                caps.undo(mark);
            }
        }
        if out.len() > first {
            out.push('}');
        } else {
            out.truncate(before);
            if error.stack.is_none() {
                // The `null` that stood for the stack.
                out.truncate(out.len() - ",null".len());
            }
        }
    }
    out.push(']');
}

fn encode_request<C>(
    request: &Request<C>,
    depth: usize,
    out: &mut String,
    caps: &mut dyn Encode<C>,
) -> Result<(), Unwritable> {
    out.push_str("[\"request\",");
    write_string(out, &request.url);
    out.push_str(",{");
    let mut members = Members { out, first: true };
    if request.method != "GET" {
        members.name("method");
        write_string(members.out, &request.method);
    }
    if !request.headers.is_empty() {
        members.name("headers");
        write_pairs(members.out, &request.headers);
    }
    if !matches!(request.body, Value::Null) {
        members.name("body");
        encode(&request.body, depth + 1, members.out, caps)?;
        members.name("duplex");
        members.out.push_str("\"half\"");
    }
    for (name, value) in &request.init {
        members.name(name);
        write_plain(members.out, value)?;
    }
    out.push_str("}]");
    Ok(())
}

fn encode_response<C>(
    response: &Response<C>,
    depth: usize,
    out: &mut String,
    caps: &mut dyn Encode<C>,
) -> Result<(), Unwritable> {
    out.push_str("[\"response\",");
    encode(&response.body, depth + 1, out, caps)?;
    out.push_str(",{");
    let mut members = Members { out, first: true };
    if response.status != 200 {
        members.name("status");
        write_number(members.out, response.status.into());
    }
    if !response.status_text.is_empty() {
        members.name("statusText");
        write_string(members.out, &response.status_text);
    }
    if !response.headers.is_empty() {
        members.name("headers");
        write_pairs(members.out, &response.headers);
    }
    for (name, value) in &response.init {
        members.name(name);
        write_plain(members.out, value)?;
    }
    out.push_str("}]");
    Ok(())
}

/// Writes the members of an object one by one.
struct Members<'a> {
    out: &'a mut String,
    first: bool,
}

impl Members<'_> {
    fn name(&mut self, name: &str) {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(',');
        }
        write_string(self.out, name);
        self.out.push(':');
    }
}

/// JSON, not an expression.
fn write_plain<C>(out: &mut String, value: &Value<C>) -> Result<(), Unwritable> {
    match value {
        Value::Null | Value::Undefined => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => write_number(out, *number),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_plain(out, item)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            let mut written = Members { out, first: true };
            for (name, value) in members {
                written.name(name);
                write_plain(written.out, value)?;
            }
            out.push('}');
        }
        _ => {
            return Err(Unwritable(
                "Cannot serialize value: the init of a request or response is plain data",
            ));
        }
    }
    Ok(())
}

fn write_pairs(out: &mut String, pairs: &[(String, String)]) {
    out.push('[');
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push('[');
        write_string(out, name);
        out.push(',');
        write_string(out, value);
        out.push(']');
    }
    out.push(']');
}

/// Appends a path as a JSON array.
pub(crate) fn write_path(out: &mut String, path: &[PathKey]) {
    out.push('[');
    for (index, key) in path.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match key {
            PathKey::Name(name) => write_string(out, name),
            PathKey::Index(index) => write_number(out, *index),
        }
    }
    out.push(']');
}
