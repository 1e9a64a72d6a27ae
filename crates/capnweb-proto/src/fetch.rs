//! What the constructors of the fetch standard make of JSON: URLs, headers, requests and responses.
//!
//! They refuse what the standard refuses, so that what the application gets can be used as it is: no line break hides in a
//! header, no URL needs parsing again to be known as one. Texts of errors are those of Node.js (undici).

use url::Url;

use crate::expression::{Decode, decode};
use crate::json::{Json, Kind, Node, javascript_text};
use crate::value::is_prototype_name;
use crate::{BytesKind, Limits, ProtocolError, Request, Response, Text, Value};

/// A URL, as the standard writes it.
pub(crate) fn url(text: &str) -> Result<String, ProtocolError> {
    match Url::parse(text) {
        Ok(url) => Ok(url.into()),
        Err(_) => Err(refused("Invalid URL")),
    }
}

fn refused(text: impl Into<String>) -> ProtocolError {
    ProtocolError::BadParts(text.into())
}

/// A header list from pairs.
pub(crate) fn headers(pairs: Node<'_>) -> Result<Vec<(String, String)>, ProtocolError> {
    let mut checked = Vec::new();
    for (index, pair) in pairs.items().enumerate() {
        if !pair.is_array() {
            let text = format!("Headers constructor: init[{index}] is not iterable.");
            return Err(refused(text));
        }
        let mut parts = pair.items();
        let (Some(name), Some(value), None) = (parts.next(), parts.next(), parts.next()) else {
            let found = pair.items().count();
            let text =
                format!("Headers constructor: expected name/value pair to be length 2, found {found}.");
            return Err(refused(text));
        };
        let name = byte_string(text_of(name))?;
        if !is_token(&name) {
            return Err(refused(format!(
                "Headers.append: \"{name}\" is an invalid header name."
            )));
        }
        let value = byte_string(text_of(value))?;
        let value = value.trim_matches(['\t', '\n', '\r', ' ']);
        if value.contains(['\0', '\r', '\n']) {
            return Err(refused(format!(
                "Headers.append: \"{value}\" is an invalid header value."
            )));
        }
        checked.push((name, value.to_owned()));
    }
    Ok(normal_headers(checked))
}

/// Headers as iteration of a `Headers` object gives them: names in lower case and sorted, values of one name joined,
/// `set-cookie` kept apart.
pub fn normal_headers(pairs: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut named: Vec<(String, String)> = pairs
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    // Stable: values of one name stay in their order.
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut kept: Vec<(String, String)> = Vec::with_capacity(named.len());
    for (name, value) in named {
        match kept.last_mut() {
            Some((known, joined)) if *known == name && name != "set-cookie" => {
                joined.push_str(", ");
                joined.push_str(&value);
            }
            _ => kept.push((name, value)),
        }
    }
    kept
}

/// Web IDL's ByteString: characters up to U+00FF.
fn byte_string(text: String) -> Result<String, ProtocolError> {
    let wide = text.encode_utf16().enumerate().find(|(_, unit)| *unit > 255);
    match wide {
        None => Ok(text),
        Some((at, unit)) => Err(refused(format!(
            "Cannot convert argument to a ByteString because the character at index {at} has a value of {unit} which is greater than 255."
        ))),
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn text_of(node: Node<'_>) -> String {
    javascript_text(&node.to_json())
}

/// Whether JavaScript takes a value for true.
fn is_truthy(node: &Node<'_>) -> bool {
    match node.kind() {
        Kind::Null | Kind::False => false,
        Kind::Number => node.as_number().is_some_and(|number| number != 0.0),
        Kind::Text => node.as_text().is_some_and(|text| !text.is_empty()),
        Kind::True | Kind::Escaped | Kind::Array | Kind::Object | Kind::Repeating => true,
    }
}

/// The members of an init object.
struct Init<'a>(Vec<(Text, Node<'a>)>);

impl<'a> Init<'a> {
    /// An array has none that anyone would look for.
    fn new(init: Node<'a>) -> Self {
        Self(
            init.members()
                .map(|(name, value)| (name.to_text().unwrap_or_default(), value))
                .collect(),
        )
    }

    fn take(&mut self, wanted: &str) -> Option<Node<'a>> {
        let at = self.0.iter().position(|(name, _)| name == wanted)?;
        Some(self.0.remove(at).1)
    }

    fn headers(&mut self) -> Result<Vec<(String, String)>, ProtocolError> {
        match self.take("headers") {
            None => Ok(Vec::new()),
            Some(pairs) if pairs.is_array() => headers(pairs),
            // JavaScript's words, for responses too.
            Some(_) => Err(refused(
                "Request headers must be serialized as an array of pairs.",
            )),
        }
    }

    /// What else the peer set: plain data, not expressions.
    fn rest<C>(self) -> Vec<(Text, Value<C>)> {
        self.0
            .into_iter()
            .map(|(name, value)| (name, plain(value.to_json())))
            .collect()
    }
}

fn plain<C>(json: Json) -> Value<C> {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(value) => Value::Number(value),
        Json::String(text) => Value::String(text.into()),
        Json::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        Json::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(name, _)| !is_prototype_name(name))
                .map(|(name, value)| (name.into(), plain(value)))
                .collect(),
        ),
    }
}

fn check_body<C>(of: &str, body: &Value<C>, caps: &dyn Decode<C>) -> Result<(), ProtocolError> {
    match body {
        Value::Null | Value::String(_) | Value::Bytes(_, BytesKind::Uint8Array) => Ok(()),
        body if caps.is_stream(body) => Ok(()),
        _ => Err(refused(format!("{of} body must be of type ReadableStream."))),
    }
}

/// What a constructor does for a body that is text.
fn describe_text<C>(body: &Value<C>, headers: &mut Vec<(String, String)>) {
    if matches!(body, Value::String(_)) && headers.iter().all(|(name, _)| name != "content-type") {
        headers.push(("content-type".into(), "text/plain;charset=UTF-8".into()));
        headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
}

/// A request of a URL and an init object.
pub(crate) fn request<C>(
    target: &str,
    init: Node<'_>,
    depth: usize,
    limits: &Limits,
    caps: &mut dyn Decode<C>,
) -> Result<Value<C>, ProtocolError> {
    let mut init = Init::new(init);
    let body = match init.take("body") {
        None => Value::Null,
        Some(body) if body.kind() == Kind::Null => Value::Null,
        Some(body) if is_truthy(&body) => {
            let body = decode(body, depth + 1, limits, caps)?;
            check_body("Request", &body, caps)?;
            body
        }
        Some(body) => Value::String(text_of(body).into()),
    };
    if let Some(signal) = init.take("signal").filter(is_truthy) {
        let signal = decode(signal, depth + 1, limits, caps)?;
        caps.discard(signal);
        // JavaScript's spelling: developers search for it.
        return Err(refused("Request siganl must be of type AbortSignal."));
    }
    let url = Url::parse(target).map_err(|_| refused(format!("Failed to parse URL from {target}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        // The URL is not shown: it holds a password.
        return Err(refused(
            "Request cannot be constructed from a URL that includes credentials.",
        ));
    }
    let method = init.take("method").map_or(Ok("GET".to_owned()), normal_method)?;
    let mut headers = init.headers()?;
    if matches!(method.as_str(), "GET" | "HEAD") && !matches!(body, Value::Null) {
        return Err(refused("Request with GET/HEAD method cannot have body."));
    }
    describe_text(&body, &mut headers);
    // Says only how the body is sent.
    init.take("duplex");
    Ok(Value::Request(Box::new(Request {
        url: url.into(),
        method,
        headers,
        body,
        init: init.rest(),
    })))
}

fn normal_method(method: Node<'_>) -> Result<String, ProtocolError> {
    let method = text_of(method);
    if !is_token(&method) {
        return Err(refused(format!("'{method}' is not a valid HTTP method.")));
    }
    let upper = method.to_ascii_uppercase();
    Ok(match upper.as_str() {
        "CONNECT" | "TRACE" | "TRACK" => {
            return Err(refused(format!("'{method}' HTTP method is unsupported.")));
        }
        "DELETE" | "GET" | "HEAD" | "OPTIONS" | "POST" | "PUT" => upper,
        // Other names mean what they are written as.
        _ => method,
    })
}

/// A response of a decoded body and an init object.
pub(crate) fn response<C>(body: Value<C>, init: Node<'_>) -> Result<Value<C>, ProtocolError> {
    let mut init = Init::new(init);
    if init.take("webSocket").as_ref().is_some_and(is_truthy) {
        return Err(refused("Can't deserialize a Response containing a webSocket."));
    }
    let mut headers = init.headers()?;
    // Web IDL's unsigned short.
    let status = match init.take("status") {
        None => 200.0,
        Some(status) => match status.as_number() {
            Some(status) => status.trunc(),
            None => text_of(status).trim().parse().unwrap_or(0.0),
        },
    };
    if !(200.0..=599.0).contains(&status) {
        return Err(ProtocolError::BadRange(
            "init[\"status\"] must be in the range of 200 to 599, inclusive.".into(),
        ));
    }
    let status = status as u16;
    let status_text = match init.take("statusText") {
        None => String::new(),
        Some(text) => byte_string(text_of(text))?,
    };
    if status_text
        .chars()
        .any(|c| c != '\t' && (c < ' ' || c == '\u{7f}'))
    {
        return Err(refused("Invalid statusText"));
    }
    if matches!(status, 204 | 205 | 304) && !matches!(body, Value::Null) {
        return Err(refused(format!(
            "Response constructor: Invalid response status code {status}"
        )));
    }
    describe_text(&body, &mut headers);
    // A response's body is not in its init.
    init.take("body");
    Ok(Value::Response(Box::new(Response {
        status,
        status_text,
        headers,
        body,
        init: init.rest(),
    })))
}

/// Checks the body of a response, which comes before its init is looked at.
pub(crate) fn check_response_body<C>(body: &Value<C>, caps: &dyn Decode<C>) -> Result<(), ProtocolError> {
    check_body("Response", body, caps)
}
