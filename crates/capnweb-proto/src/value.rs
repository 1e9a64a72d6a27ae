//! Values: what arguments, results and errors are made of.

use crate::json::{Json, javascript_text};

/// A text in a value, or a name. Up to 24 bytes, which most are, need no allocation.
pub type Text = compact_str::CompactString;

/// A value of JavaScript's kinds. `C` stands for capabilities: whatever the layer at hand uses for stubs, targets and
/// streams.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value<C> {
    /// `undefined`: a value of its own, also as a member.
    #[default]
    Undefined,
    /// `null`
    Null,
    /// A boolean.
    Bool(bool),
    /// A double.
    Number(f64),
    /// A decimal integer of any length, without leading zeros.
    BigInt(String),
    /// A text.
    String(Text),
    /// Bytes, with the container they came in. Multi-byte elements are little endian.
    Bytes(Vec<u8>, BytesKind),
    /// Milliseconds since 1970, or an invalid date.
    Date(Option<f64>),
    /// An error as a value. (An error thrown is in the `Err` of a result.)
    Error(Box<ErrorValue<C>>),
    /// A URL, as text.
    Url(String),
    /// HTTP headers: names in lower case.
    Headers(Vec<(String, String)>),
    /// Bytes with a media type. It travels as a stream; a call that gets one waits until it is complete.
    Blob(Box<Blob>),
    /// A request of the fetch standard.
    Request(Box<Request<C>>),
    /// A response of the fetch standard.
    Response(Box<Response<C>>),
    /// An array.
    Array(Vec<Self>),
    /// An object with own members, in order.
    Object(Vec<(Text, Self)>),
    /// A stub, target or stream.
    Capability(C),
}

/// Bytes with a media type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob {
    /// The media type; empty for none.
    pub media_type: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A request of the fetch standard.
#[derive(Debug, Clone, PartialEq)]
pub struct Request<C> {
    /// The absolute URL.
    pub url: String,
    /// The method, in capitals.
    pub method: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// A stream, or from some peers a text or bytes; [`Value::Null`] for none.
    pub body: Value<C>,
    /// What else the peer set (`redirect`, `cache`, `cf`, …): plain data.
    pub init: Vec<(Text, Value<C>)>,
}

/// A response of the fetch standard.
#[derive(Debug, Clone, PartialEq)]
pub struct Response<C> {
    /// The status.
    pub status: u16,
    /// The reason phrase.
    pub status_text: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As a request's.
    pub body: Value<C>,
    /// What else the peer set: plain data.
    pub init: Vec<(Text, Value<C>)>,
}

/// An error in transit.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorValue<C> {
    /// The `name` property; any text may arrive.
    pub name: String,
    /// The message.
    pub message: String,
    /// Sent only when the application wants it.
    pub stack: Option<String>,
    /// Own properties such as `code`; 0.5 peers do not know them and ignore them.
    pub props: Vec<(Text, Value<C>)>,
}

/// JavaScript's containers of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "they are JavaScript's own names")]
pub enum BytesKind {
    /// The container that needs no name on the wire, and the only one 0.5 peers know.
    #[default]
    Uint8Array,
    ArrayBuffer,
    DataView,
    Int8Array,
    Uint8ClampedArray,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
    Float32Array,
    Float64Array,
    BigInt64Array,
    BigUint64Array,
}

impl BytesKind {
    const ALL: [Self; 13] = [
        Self::Uint8Array,
        Self::ArrayBuffer,
        Self::DataView,
        Self::Int8Array,
        Self::Uint8ClampedArray,
        Self::Int16Array,
        Self::Uint16Array,
        Self::Int32Array,
        Self::Uint32Array,
        Self::Float32Array,
        Self::Float64Array,
        Self::BigInt64Array,
        Self::BigUint64Array,
    ];

    /// The container of this class name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The class name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uint8Array => "Uint8Array",
            Self::ArrayBuffer => "ArrayBuffer",
            Self::DataView => "DataView",
            Self::Int8Array => "Int8Array",
            Self::Uint8ClampedArray => "Uint8ClampedArray",
            Self::Int16Array => "Int16Array",
            Self::Uint16Array => "Uint16Array",
            Self::Int32Array => "Int32Array",
            Self::Uint32Array => "Uint32Array",
            Self::Float32Array => "Float32Array",
            Self::Float64Array => "Float64Array",
            Self::BigInt64Array => "BigInt64Array",
            Self::BigUint64Array => "BigUint64Array",
        }
    }

    /// Bytes of one element.
    pub fn element_size(self) -> usize {
        match self {
            Self::Uint8Array
            | Self::ArrayBuffer
            | Self::DataView
            | Self::Int8Array
            | Self::Uint8ClampedArray => 1,
            Self::Int16Array | Self::Uint16Array => 2,
            Self::Int32Array | Self::Uint32Array | Self::Float32Array => 4,
            Self::Float64Array | Self::BigInt64Array | Self::BigUint64Array => 8,
        }
    }
}

/// One step of a property path.
#[derive(Debug, Clone, PartialEq)]
pub enum PathKey {
    /// A member's name.
    Name(Text),
    /// An array index; JSON numbers only.
    Index(f64),
}

impl std::fmt::Display for PathKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => f.write_str(&javascript_text(&Json::Number(*index))),
        }
    }
}

/// Where a path of own members leads.
#[derive(Debug)]
pub enum Reached<'a, C> {
    /// Plain data.
    Value(&'a Value<C>),
    /// A capability, with the rest of the path.
    Capability(&'a C, &'a [PathKey]),
    /// Nothing: an unknown name, or one that is refused.
    Undefined,
    /// A property of undefined was asked for, which is an error.
    Nowhere(&'a PathKey),
}

/// A path as error texts show it: joined by dots.
pub fn show_path(path: &[PathKey]) -> String {
    path.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

/// Members of `Object.prototype`: never followed in a path, never kept as a key.
pub fn is_prototype_name(name: &str) -> bool {
    matches!(
        name,
        "constructor"
            | "__proto__"
            | "toString"
            | "toLocaleString"
            | "valueOf"
            | "hasOwnProperty"
            | "isPrototypeOf"
            | "propertyIsEnumerable"
            | "__defineGetter__"
            | "__defineSetter__"
            | "__lookupGetter__"
            | "__lookupSetter__"
    )
}

impl<C> Value<C> {
    /// The text, of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// A member, of an object.
    pub fn member(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        find(members, name)
    }

    /// Follows a path of own members, up to the first capability.
    pub fn walk<'a>(&'a self, path: &'a [PathKey]) -> Reached<'a, C> {
        // `None` is undefined, where nothing is.
        let mut value = Some(self);
        for (index, key) in path.iter().enumerate() {
            value = match (value, key) {
                (_, PathKey::Name(name)) if is_prototype_name(name) => None,
                (None | Some(Self::Undefined), key) => return Reached::Nowhere(key),
                (Some(Self::Capability(capability)), _) => {
                    return Reached::Capability(capability, &path[index..]);
                }
                (Some(Self::Object(members)), PathKey::Name(name)) => find(members, name),
                // JavaScript's names are texts.
                (Some(Self::Object(members)), index) => find(members, &index.to_string()),
                // A number that is no index casts to one that is out of range or is told apart by its fraction.
                (Some(Self::Array(items)), PathKey::Index(at)) if *at >= 0.0 && at.fract() == 0.0 => {
                    items.get(*at as usize)
                }
                _ => None,
            };
        }
        match value {
            Some(Self::Capability(capability)) => Reached::Capability(capability, &[]),
            Some(other) => Reached::Value(other),
            None => Reached::Undefined,
        }
    }

    /// The same value with every capability replaced.
    // Large values are of many small ones: those are turned where they lie, without the call of a function.
    #[inline(always)]
    pub fn map<D>(self, map: &mut impl FnMut(C) -> Value<D>) -> Value<D> {
        match self {
            Self::Undefined => Value::Undefined,
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Number(value) => Value::Number(value),
            Self::BigInt(value) => Value::BigInt(value),
            Self::String(value) => Value::String(value),
            Self::Bytes(value, kind) => Value::Bytes(value, kind),
            Self::Date(value) => Value::Date(value),
            Self::Url(value) => Value::Url(value),
            Self::Headers(value) => Value::Headers(value),
            Self::Blob(blob) => Value::Blob(blob),
            Self::Array(items) => Value::Array(map_items(items, map)),
            Self::Object(members) => Value::Object(map_members(members, map)),
            Self::Capability(capability) => map(capability),
            Self::Request(request) => map_request(*request, map),
            Self::Response(response) => map_response(*response, map),
            Self::Error(error) => Value::Error(Box::new(error.map(map))),
        }
    }

    /// Whether it is a capability, or of a kind in which one may be. Most values in large ones are neither, and not worth
    /// the call of a function.
    #[inline]
    fn may_hold(&self) -> bool {
        matches!(
            self,
            Self::Capability(_)
                | Self::Array(_)
                | Self::Object(_)
                | Self::Error(_)
                | Self::Request(_)
                | Self::Response(_)
        )
    }

    /// Calls `visit` with every capability inside.
    pub fn for_each_capability(&self, visit: &mut impl FnMut(&C)) {
        match self {
            Self::Capability(capability) => visit(capability),
            Self::Array(items) => {
                let nested = items.iter().filter(|item| item.may_hold());
                nested.for_each(|item| item.for_each_capability(visit));
            }
            Self::Object(members) => {
                let nested = members.iter().filter(|(_, value)| value.may_hold());
                nested.for_each(|(_, value)| value.for_each_capability(visit));
            }
            Self::Error(error) => error
                .props
                .iter()
                .for_each(|(_, value)| value.for_each_capability(visit)),
            Self::Request(request) => request.body.for_each_capability(visit),
            Self::Response(response) => response.body.for_each_capability(visit),
            _ => {}
        }
    }

    /// The number, of a number.
    pub fn as_f64(&self) -> Option<f64> {
        if let Self::Number(number) = self {
            Some(*number)
        } else {
            None
        }
    }

    /// An object of the given members.
    pub fn object<N: Into<Text>>(members: impl IntoIterator<Item = (N, Self)>) -> Self {
        Self::Object(
            members
                .into_iter()
                .map(|(name, value)| (name.into(), value))
                .collect(),
        )
    }

    /// Calls `visit` with every capability inside, to be changed.
    pub fn for_each_capability_mut(&mut self, visit: &mut impl FnMut(&mut C)) {
        match self {
            Self::Capability(capability) => visit(capability),
            Self::Array(items) => {
                let nested = items.iter_mut().filter(|item| item.may_hold());
                nested.for_each(|item| item.for_each_capability_mut(visit));
            }
            Self::Object(members) => {
                let nested = members.iter_mut().filter(|(_, value)| value.may_hold());
                nested.for_each(|(_, value)| value.for_each_capability_mut(visit));
            }
            Self::Error(error) => error
                .props
                .iter_mut()
                .for_each(|(_, value)| value.for_each_capability_mut(visit)),
            Self::Request(request) => request.body.for_each_capability_mut(visit),
            Self::Response(response) => response.body.for_each_capability_mut(visit),
            _ => {}
        }
    }

    /// An error value that carries what a thrown error does.
    pub fn error(name: &str, message: impl Into<String>) -> Self {
        Self::Error(Box::new(ErrorValue::new(name, message)))
    }
}

fn find<'a, C>(members: &'a [(Text, Value<C>)], name: &str) -> Option<&'a Value<C>> {
    members
        .iter()
        .find(|(member, _)| member == name)
        .map(|(_, value)| value)
}

impl<C> ErrorValue<C> {
    /// An error without stack and properties.
    pub fn new(name: &str, message: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            message: message.into(),
            stack: None,
            props: Vec::new(),
        }
    }

    /// The same error with one more own property.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value<C>) -> Self {
        self.props.push((name.into(), value));
        self
    }

    /// The same error with every capability replaced.
    #[inline(never)]
    pub fn map<D>(self, map: &mut impl FnMut(C) -> Value<D>) -> ErrorValue<D> {
        ErrorValue {
            name: self.name,
            message: self.message,
            stack: self.stack,
            props: map_members(self.props, map),
        }
    }
}

#[inline(never)]
fn map_items<C, D>(items: Vec<Value<C>>, map: &mut impl FnMut(C) -> Value<D>) -> Vec<Value<D>> {
    items.into_iter().map(|item| item.map(map)).collect()
}

#[inline(never)]
fn map_members<C, D>(
    members: Vec<(Text, Value<C>)>,
    map: &mut impl FnMut(C) -> Value<D>,
) -> Vec<(Text, Value<D>)> {
    members
        .into_iter()
        .map(|(name, value)| (name, value.map(map)))
        .collect()
}

#[inline(never)]
fn map_request<C, D>(request: Request<C>, map: &mut impl FnMut(C) -> Value<D>) -> Value<D> {
    Value::Request(Box::new(Request {
        url: request.url,
        method: request.method,
        headers: request.headers,
        body: request.body.map(map),
        init: map_members(request.init, map),
    }))
}

#[inline(never)]
fn map_response<C, D>(response: Response<C>, map: &mut impl FnMut(C) -> Value<D>) -> Value<D> {
    Value::Response(Box::new(Response {
        status: response.status,
        status_text: response.status_text,
        headers: response.headers,
        body: response.body.map(map),
        init: map_members(response.init, map),
    }))
}

impl<C> From<f64> for Value<C> {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl<C> From<i32> for Value<C> {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl<C> From<u32> for Value<C> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl<C> From<bool> for Value<C> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<C> From<()> for Value<C> {
    fn from((): ()) -> Self {
        Self::Undefined
    }
}

impl<C> From<Vec<u8>> for Value<C> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes, BytesKind::Uint8Array)
    }
}

impl<C> From<Vec<Self>> for Value<C> {
    fn from(items: Vec<Self>) -> Self {
        Self::Array(items)
    }
}

impl<C> From<&str> for Value<C> {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl<C> From<String> for Value<C> {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl<C> From<Text> for Value<C> {
    fn from(text: Text) -> Self {
        Self::String(text)
    }
}
