//! Between values and expressions.

use std::sync::LazyLock;

use base64::Engine;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use base64::alphabet::STANDARD;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use base64::engine::GeneralPurpose;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use base64::engine::Simd;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};

use crate::json::{Kind, Node, javascript_text, write_number, write_string};
use crate::message::excerpt;
use crate::value::is_prototype_name;
use crate::{
    BytesKind, ErrorValue, Limits, PathKey, ProtocolError, Request, Response, Text, Value, bigint, fetch,
};

/// Padding is left out when writing and optional when reading.
const BASE64_CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
/// Half of the work of a stream is base64 where it takes no vector registers.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(BASE64_CONFIG));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static BASE64: LazyLock<GeneralPurpose> = LazyLock::new(|| GeneralPurpose::new(&STANDARD, BASE64_CONFIG));

/// The sender's bound on nesting, fixed in JavaScript.
const MAX_WRITTEN_DEPTH: usize = 256;

/// What a decoder does with the capabilities it meets. Ids are as the peer wrote them.
pub(crate) trait Decode<C> {
    /// Whether `own` and `remap` can be used with this id.
    fn knows(&self, id: i64) -> bool;
    fn stub(&mut self, id: i64) -> Result<Value<C>, ProtocolError>;
    fn writable(&mut self, id: i64) -> Result<Value<C>, ProtocolError>;
    fn promise(&mut self, id: i64) -> Result<Value<C>, ProtocolError>;
    fn readable(&mut self, id: i64) -> Result<Value<C>, ProtocolError>;
    /// `import` and `pipeline`: a reference to, property of, or call on an export of ours. `stub` for `import`.
    fn own(
        &mut self,
        stub: bool,
        id: i64,
        path: Vec<PathKey>,
        args: Option<Vec<Value<C>>>,
    ) -> Result<Value<C>, ProtocolError>;
    fn remap(
        &mut self,
        id: i64,
        path: Vec<PathKey>,
        captures: Vec<Value<C>>,
        instructions: Node<'_>,
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
    node: Node<'_>,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
) -> Result<Value<C>, ProtocolError> {
    if depth >= limits.max_depth {
        return Err(ProtocolError::TooDeep(limits.max_depth));
    }
    match scalar(node) {
        Some(value) => Ok(value),
        None => decode_container(node, None, depth, limits, caps),
    }
}

/// What is no container. Of these large values have many, so none of them is worth the call of a function.
#[inline(always)]
fn scalar<C>(node: Node<'_>) -> Option<Value<C>> {
    match node.kind() {
        Kind::Null => Some(Value::Null),
        Kind::True => Some(Value::Bool(true)),
        Kind::False => Some(Value::Bool(false)),
        Kind::Number => node.as_number().map(Value::Number),
        Kind::Text | Kind::Escaped => node.to_text().map(Value::String),
        Kind::Array | Kind::Object | Kind::Repeating => None,
    }
}

/// `before` is what stands before it in an array: objects there tend to have the same names.
fn decode_container<C>(
    node: Node<'_>,
    before: Option<&Value<C>>,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
) -> Result<Value<C>, ProtocolError> {
    if node.is_object() {
        let like = match before {
            Some(Value::Object(members)) => members,
            _ => &[][..],
        };
        return decode_members(node.members(), like, node.member_bound(), depth, limits, caps)
            .map(Value::Object);
    }
    let mut items = node.items();
    match (items.next(), items.next()) {
        // An array is escaped by wrapping it.
        (Some(inner), None) if inner.is_array() => {
            decode_all(inner, depth + 1, limits, caps).map(Value::Array)
        }
        (Some(tag), _) if tag.is_text() => decode_special(node, depth, limits, caps),
        _ => Err(ProtocolError::BadExpression(excerpt(node))),
    }
}

fn decode_all<C>(
    array: Node<'_>,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
) -> Result<Vec<Value<C>>, ProtocolError> {
    let mut values = Vec::with_capacity(array.items().count());
    for item in array.items() {
        if depth >= limits.max_depth {
            return Err(ProtocolError::TooDeep(limits.max_depth));
        }
        if let Some(value) = scalar(item) {
            values.push(value);
            continue;
        }
        match decode_container(item, values.last(), depth, limits, caps) {
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

fn decode_members<'a, C>(
    members: impl Iterator<Item = (Node<'a>, Node<'a>)>,
    like: &[(Text, Value<C>)],
    bound: usize,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
) -> Result<Vec<(Text, Value<C>)>, ProtocolError> {
    let mut kept = Vec::with_capacity(bound);
    for (name, value) in members {
        if depth + 1 >= limits.max_depth {
            return Err(ProtocolError::TooDeep(limits.max_depth));
        }
        // Copying a short text costs less than making one, and looking whether its name is refused.
        let (name, refused) = match like.get(kept.len()) {
            Some((like, _)) if name.is(like) => (like.clone(), false),
            _ => {
                let name = name.to_text().unwrap_or_default();
                let refused = is_prototype_name(&name) || name == "toJSON";
                (name, refused)
            }
        };
        if let Some(value) = scalar(value) {
            if !refused {
                kept.push((name, value));
            }
            continue;
        }
        // Refused members are evaluated all the same, so that stubs in them are accounted for.
        match decode_container(value, None, depth + 1, limits, caps) {
            Ok(value) if refused => caps.discard(value),
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
    node: Node<'_>,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
) -> Result<Value<C>, ProtocolError> {
    let bad = || ProtocolError::BadExpression(excerpt(node));
    let mut items = node.items();
    let tag = items.next().and_then(Node::as_text).ok_or_else(bad)?;
    let parts: [Option<Node<'_>>; 5] = std::array::from_fn(|_| items.next());
    let [first, second, third, fourth, _] = parts;
    let count = parts.iter().flatten().count();
    let text_at = |part: Option<Node<'_>>| part.and_then(Node::as_text).map(std::borrow::Cow::into_owned);
    let id = || first.and_then(Node::as_integer).ok_or_else(bad);
    // What is wrong with the rest is not looked at before the subject is known.
    let subject = |caps: &dyn Decode<C>| match first {
        Some(id) if id.kind() == Kind::Number => known(id, caps),
        _ => Err(bad()),
    };
    Ok(match &*tag {
        "undefined" if count == 0 => Value::Undefined,
        "inf" => Value::Number(f64::INFINITY),
        "-inf" => Value::Number(f64::NEG_INFINITY),
        "nan" => Value::Number(f64::NAN),
        "bigint" => {
            let text = first.and_then(Node::as_text).ok_or_else(bad)?;
            if text.len() > limits.max_bigint_digits && text.encode_utf16().count() > limits.max_bigint_digits
            {
                return Err(ProtocolError::BigIntTooLong(limits.max_bigint_digits));
            }
            let digits = bigint::parse(&text);
            Value::BigInt(digits.ok_or_else(|| ProtocolError::BadBigInt(text.into_owned()))?)
        }
        "date" => match first.map(|ms| (ms.kind(), ms.as_number())) {
            Some((Kind::Null, _)) => Value::Date(None),
            // ECMA-262, TimeClip.
            Some((_, Some(ms))) => Value::Date((ms.abs() <= 8.64e15).then_some(ms.trunc() + 0.0)),
            _ => return Err(bad()),
        },
        "bytes" => match first.and_then(Node::as_text) {
            Some(text) => bytes(&text, second)?,
            None => return Err(bad()),
        },
        "error" => {
            let (Some(name), Some(message)) = (text_at(first), text_at(second)) else {
                return Err(bad());
            };
            if fourth.is_some_and(|props| !props.is_object()) {
                return Err(bad());
            }
            let mut props = match fourth {
                Some(props) => {
                    // Not even evaluated.
                    let own = props
                        .members()
                        .filter(|(name, _)| !["name", "message", "stack"].iter().any(|own| name.is(own)));
                    decode_members(own, &[], props.member_bound(), depth, limits, caps)?
                }
                None => Vec::new(),
            };
            // The class has it always.
            if name == "AggregateError" && props.iter().all(|(name, _)| name != "errors") {
                props.push(("errors".into(), Value::Array(Vec::new())));
            }
            Value::Error(Box::new(ErrorValue {
                name,
                message,
                stack: text_at(third),
                props,
            }))
        }
        "url" => match (first.and_then(Node::as_text), count) {
            (Some(url), 1) => Value::Url(fetch::url(&url)?),
            _ => return Err(bad()),
        },
        "headers" => match (first, count) {
            (Some(pairs), 1) if pairs.is_array() => Value::Headers(fetch::headers(pairs)?),
            _ => return Err(bad()),
        },
        "request" => match (first.and_then(Node::as_text), second, count) {
            (Some(url), Some(init), 2) if init.is_object() || init.is_array() => {
                fetch::request(&url, init, depth, limits, caps)?
            }
            _ => return Err(bad()),
        },
        "response" => {
            let (Some(body), Some(init), 2) = (first, second, count) else {
                return Err(bad());
            };
            // The body comes first, whatever the init is.
            let body = decode(body, depth + 1, limits, caps)?;
            fetch::check_response_body(&body, caps)?;
            if !init.is_object() && !init.is_array() {
                caps.discard(body);
                return Err(bad());
            }
            fetch::response(body, init)?
        }
        "blob" => match (text_at(first), second, count) {
            (Some(media_type), Some(content), 2) => {
                let content = decode(content, depth + 1, limits, caps)?;
                if !caps.is_stream(&content) {
                    return Err(ProtocolError::BadParts(
                        "Blob content must be serialized as a ReadableStream.".into(),
                    ));
                }
                caps.blob(normal_media_type(media_type), content)?
            }
            _ => return Err(bad()),
        },
        "import" | "pipeline" => {
            if count > 3 {
                return Err(bad());
            }
            let id = subject(caps)?;
            let path = match second {
                None => Vec::new(),
                Some(path) => path_of(path).ok_or_else(bad)?,
            };
            let args = match third {
                None => None,
                // Arguments continue at the level of the call.
                Some(args) if args.is_array() => Some(decode_all(args, depth + 1, limits, caps)?),
                Some(_) => return Err(bad()),
            };
            caps.own(tag == "import", id, path, args)?
        }
        "remap" => {
            let (Some(path), Some(captures), Some(instructions), 4) = (second, third, fourth, count) else {
                return Err(bad());
            };
            if ![path, captures, instructions].into_iter().all(Node::is_array) {
                return Err(bad());
            }
            let id = subject(caps)?;
            let path = path_of(path).ok_or_else(bad)?;
            let mut kept = Vec::new();
            for capture in captures.items() {
                kept.push(
                    self::capture(capture, caps)?
                        .ok_or_else(|| ProtocolError::BadCapture(excerpt(capture)))?,
                );
            }
            caps.remap(id, path, kept, instructions)?
        }
        "export" => caps.stub(id()?)?,
        "writable" => caps.writable(id()?)?,
        "promise" => caps.promise(id()?)?,
        "readable" => caps.readable(id()?)?,
        _ => return Err(bad()),
    })
}

/// What a map takes along from outside; `None` for what cannot be taken.
fn capture<C>(capture: Node<'_>, caps: &mut dyn Decode<C>) -> Result<Option<Value<C>>, ProtocolError> {
    let mut parts = capture.items();
    let (Some(tag), Some(id), None) = (parts.next(), parts.next(), parts.next()) else {
        return Ok(None);
    };
    if id.kind() != Kind::Number {
        return Ok(None);
    }
    Ok(match tag.as_text().as_deref() {
        Some("import") => Some(caps.own(true, known(id, caps)?, Vec::new(), None)?),
        Some("export") => id.as_integer().map(|id| caps.stub(id)).transpose()?,
        _ => None,
    })
}

/// An id that the peer must know from us.
fn known<C>(id: Node<'_>, caps: &dyn Decode<C>) -> Result<i64, ProtocolError> {
    id.as_integer()
        .filter(|id| caps.knows(*id))
        .ok_or_else(|| ProtocolError::NoSuchEntry(javascript_text(&id.to_json())))
}

/// What a blob makes of its type.
fn normal_media_type(mut media_type: String) -> String {
    if media_type.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        media_type.make_ascii_lowercase();
        media_type
    } else {
        String::new()
    }
}

fn bytes<C>(text: &str, kind: Option<Node<'_>>) -> Result<Value<C>, ProtocolError> {
    let kind = match kind.map(|kind| (kind.as_text(), kind.kind())) {
        None => BytesKind::Uint8Array,
        Some((Some(name), _)) => BytesKind::named(&name).ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            ProtocolError::BadParts(format!("Unknown bytes type marker: {shown}"))
        })?,
        Some((None, other)) => {
            let kind = match other {
                Kind::Number => "number",
                Kind::True | Kind::False => "boolean",
                _ => "object",
            };
            return Err(ProtocolError::BadParts(format!(
                "Unknown bytes type marker type: {kind}"
            )));
        }
    };
    // JavaScript's decoders skip white space.
    let bytes = BASE64
        .decode(text)
        .or_else(|_| BASE64.decode(text.replace([' ', '\t', '\n', '\r', '\u{c}'], "")))
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

/// The path in an array; `None` for what is no path.
fn path_of(path: Node<'_>) -> Option<Vec<PathKey>> {
    if !path.is_array() {
        return None;
    }
    path.items()
        .map(|key| match key.as_text() {
            Some(name) => Some(PathKey::Name(name.into())),
            None => key.as_number().map(PathKey::Index),
        })
        .collect()
}

/// Why a value of ours cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritable {
    class: &'static str,
    text: &'static str,
}

impl Unwritable {
    /// For a capability that has no place where it stands.
    pub fn new(text: &'static str) -> Self {
        Self { class: "Error", text }
    }

    /// For a value of a kind that has no form on the wire.
    pub fn kind(text: &'static str) -> Self {
        Self {
            class: "TypeError",
            text,
        }
    }

    /// The text for an error.
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// The error that tells of it.
    pub fn to_error<C>(&self) -> Value<C> {
        Value::error(self.class, self.text)
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
        return Err(Unwritable::new(
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
            // The text is appended in small parts, and growing with them copies it; the rest is what ends the message.
            out.reserve(base64::encoded_len(bytes.len(), false).unwrap_or_default() + 64);
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
                encode_member(item, depth + 1, out, caps)?;
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
                encode_member(value, depth + 1, out, caps)?;
            }
            out.push('}');
        }
        Value::Error(error) => match caps.rewrite(error) {
            Some(replacement) => encode_error(&replacement, replacement.stack.as_deref(), depth, out, caps),
            // Stacks tell how a program is made: only the hook lets one out.
            None => encode_error(error, None, depth, out, caps),
        },
        Value::Blob(blob) => caps.blob(out, blob)?,
        Value::Request(request) => encode_request(request, depth, out, caps)?,
        Value::Response(response) => encode_response(response, depth, out, caps)?,
        Value::Capability(found) => caps.capability(out, found)?,
    }
    Ok(())
}

/// As [`encode`]; what large values are made of is written without the call of a function.
#[inline(always)]
fn encode_member<C>(
    value: &Value<C>,
    depth: usize,
    out: &mut String,
    caps: &mut dyn Encode<C>,
) -> Result<(), Unwritable> {
    match value {
        Value::String(text) if depth < MAX_WRITTEN_DEPTH => write_string(out, text),
        Value::Number(number) if depth < MAX_WRITTEN_DEPTH && number.is_finite() => {
            write_number(out, *number)
        }
        _ => return encode(value, depth, out, caps),
    }
    Ok(())
}

/// An error always gets through: a property that cannot be written is left out.
fn encode_error<C>(
    error: &ErrorValue<C>,
    stack: Option<&str>,
    depth: usize,
    out: &mut String,
    caps: &mut dyn Encode<C>,
) {
    out.push_str("[\"error\",");
    write_string(out, &error.name);
    out.push(',');
    write_string(out, &error.message);
    match stack {
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
            if stack.is_none() {
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
            return Err(Unwritable::kind(
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
