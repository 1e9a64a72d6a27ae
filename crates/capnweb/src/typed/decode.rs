//! From values to serde's data model.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::carry;
use super::encode::{DEPTH, SAFE};
use super::fault::Fault;
use crate::{BytesKind, Capability, Error, Text, Value};

/// Makes of a value whatever serde can deserialize. See [the page on types](crate::guide::typed) for what becomes what.
///
/// Fails with a `TypeError` that names the place.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    decode(value, false).map_err(Error::from)
}

/// As [`from_value`], for what a call returned. One that is wanted for its effect may return anything.
pub(super) fn from_result<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    decode(value, true)
}

pub(super) fn decode<T: DeserializeOwned>(value: Value, is_result: bool) -> Result<T, Fault> {
    let _scope = carry::Scope::open();
    T::deserialize(Decoder {
        value,
        depth: 0,
        is_result,
    })
}

/// Deserializes one value.
struct Decoder {
    value: Value,
    depth: usize,
    is_result: bool,
}

impl Decoder {
    fn unexpected(&self) -> Unexpected<'_> {
        match &self.value {
            Value::Undefined => Unexpected::Other("undefined"),
            Value::Null => Unexpected::Other("null"),
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(number) => Unexpected::Float(*number),
            Value::BigInt(_) => Unexpected::Other("a bigint"),
            Value::String(text) => Unexpected::Str(text),
            Value::Bytes(..) => Unexpected::Other("bytes"),
            Value::Date(_) => Unexpected::Other("a date"),
            Value::Error(_) => Unexpected::Other("an error"),
            Value::Url(_) => Unexpected::Other("a URL"),
            Value::Headers(_) => Unexpected::Other("headers"),
            Value::Blob(_) => Unexpected::Other("a blob"),
            Value::Request(_) => Unexpected::Other("a request"),
            Value::Response(_) => Unexpected::Other("a response"),
            Value::Array(_) => Unexpected::Other("an array"),
            Value::Object(_) => Unexpected::Other("an object"),
            Value::Capability(Capability::Stub(_)) => Unexpected::Other("a stub"),
            Value::Capability(Capability::Promise(_)) => Unexpected::Other("a promise"),
            Value::Capability(Capability::Readable(_)) => Unexpected::Other("a readable stream"),
            Value::Capability(Capability::Writable(_)) => Unexpected::Other("a writable stream"),
        }
    }

    fn refuse<'de, V: Visitor<'de>>(&self, visitor: &V) -> Fault {
        Fault::invalid_type(self.unexpected(), visitor)
    }

    fn items<'de, V: Visitor<'de>>(items: Vec<Value>, depth: usize, visitor: V) -> Result<V::Value, Fault> {
        let mut items = Items {
            items: items.into_iter(),
            depth: deeper(depth)?,
            index: 0,
        };
        let visited = visitor.visit_seq(&mut items)?;
        match items.items.len() {
            0 => Ok(visited),
            rest => Err(Fault::invalid_length(items.index + rest, &"fewer items")),
        }
    }

    fn members<'de, V: Visitor<'de>>(
        members: Vec<(Text, Value)>,
        depth: usize,
        is_struct: bool,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_map(Members {
            members: members.into_iter(),
            depth: deeper(depth)?,
            is_struct,
            value: None,
        })
    }
}

fn deeper(depth: usize) -> Result<usize, Fault> {
    if depth >= DEPTH {
        return Err(Fault::new(format!("nested deeper than {DEPTH} levels")));
    }
    Ok(depth + 1)
}

/// The integer that a number is.
fn integer(number: f64) -> Option<i64> {
    // Beyond, a double does not say which integer was meant.
    let is_one = number.fract() == 0.0 && number.abs() <= SAFE as f64;
    is_one.then_some(number as i64)
}

macro_rules! integers {
    ($($method:ident $visit:ident($kind:ty))*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let exact: Option<$kind> = match &self.value {
                Value::Number(number) => integer(*number).and_then(|integer| integer.try_into().ok()),
                Value::BigInt(digits) => digits.parse().ok(),
                _ => return Err(self.refuse(&visitor)),
            };
            match exact {
                Some(integer) => visitor.$visit(integer),
                None => Err(match &self.value {
                    Value::BigInt(_) => Fault::invalid_value(Unexpected::Other("a bigint this large"), &visitor),
                    _ => Fault::invalid_value(self.unexpected(), &visitor),
                }),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Decoder {
    type Error = Fault;

    integers! {
        deserialize_i8 visit_i8(i8) deserialize_i16 visit_i16(i16) deserialize_i32 visit_i32(i32)
        deserialize_i64 visit_i64(i64) deserialize_i128 visit_i128(i128)
        deserialize_u8 visit_u8(u8) deserialize_u16 visit_u16(u16) deserialize_u32 visit_u32(u32)
        deserialize_u64 visit_u64(u64) deserialize_u128 visit_u128(u128)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Undefined | Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => match integer(number) {
                // A zero may be negative, which no integer is.
                Some(integer) if integer != 0 || number.is_sign_positive() => match u64::try_from(integer) {
                    Ok(integer) => visitor.visit_u64(integer),
                    Err(_) => visitor.visit_i64(integer),
                },
                _ => visitor.visit_f64(number),
            },
            Value::BigInt(digits) => match (digits.parse::<u64>(), digits.parse::<i64>()) {
                (Ok(integer), _) if integer < carry::FIRST => visitor.visit_u64(integer),
                (_, Ok(integer)) => visitor.visit_i64(integer),
                _ => carried(Value::BigInt(digits), true, visitor),
            },
            Value::String(text) => visit_text(text, visitor),
            Value::Bytes(bytes, _) => visitor.visit_byte_buf(bytes),
            Value::Array(items) => Self::items(items, self.depth, visitor),
            Value::Object(members) => Self::members(members, self.depth, false, visitor),
            other => carried(other, true, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Bool(value) => visitor.visit_bool(value),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Number(number) => visitor.visit_f64(number),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_string(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::String(text) => visit_text(text, visitor),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Bytes(bytes, _) => visitor.visit_byte_buf(bytes),
            Value::Array(items) => Self::items(items, self.depth, visitor),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Undefined | Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Undefined | Value::Null => visitor.visit_unit(),
            _ if self.is_result => visitor.visit_unit(),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == carry::NAME {
            return carried(self.value, false, visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Array(items) => Self::items(items, self.depth, visitor),
            Value::Bytes(bytes, kind) => Self::items(elements(&bytes, kind), self.depth, visitor),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Object(members) => Self::members(members, self.depth, false, visitor),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.value {
            Value::Object(members) => Self::members(members, self.depth, true, visitor),
            Value::Array(items) => Self::items(items, self.depth, visitor),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let variant = match self.value {
            Value::String(name) => Variant {
                name,
                content: None,
                depth: self.depth,
            },
            Value::Object(mut members) if members.len() == 1 => {
                let (name, content) = members.swap_remove(0);
                Variant {
                    name,
                    content: Some(content),
                    depth: deeper(self.depth)?,
                }
            }
            _ => return Err(self.refuse(&visitor)),
        };
        visitor.visit_enum(variant)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_string(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}

/// Hands a text over: the allocation, if it has one.
fn visit_text<'de, V: Visitor<'de>>(text: Text, visitor: V) -> Result<V::Value, Fault> {
    if text.is_heap_allocated() {
        visitor.visit_string(text.into_string())
    } else {
        visitor.visit_str(&text)
    }
}

/// Hands a value over as it is.
fn carried<'de, V: Visitor<'de>>(value: Value, is_buffered: bool, visitor: V) -> Result<V::Value, Fault> {
    let number = if is_buffered {
        carry::put_often(value)
    } else {
        carry::put_once(value)
    };
    let number = number.ok_or_else(|| Fault::new("a value was lost on its way"))?;
    visitor.visit_newtype_struct(IntoDeserializer::<Fault>::into_deserializer(number))
}

/// The elements of a typed array. An incomplete last one cannot arrive.
fn elements(bytes: &[u8], kind: BytesKind) -> Vec<Value> {
    macro_rules! of {
        ($kind:ty, $make:expr) => {{
            let chunks = bytes.as_chunks::<{ size_of::<$kind>() }>().0;
            chunks
                .iter()
                .map(|chunk| $make(<$kind>::from_le_bytes(*chunk)))
                .collect()
        }};
    }
    let number = |number: f64| Value::Number(number);
    match kind {
        BytesKind::Int8Array => of!(i8, |n| number(f64::from(n))),
        BytesKind::Int16Array => of!(i16, |n| number(f64::from(n))),
        BytesKind::Uint16Array => of!(u16, |n| number(f64::from(n))),
        BytesKind::Int32Array => of!(i32, |n| number(f64::from(n))),
        BytesKind::Uint32Array => of!(u32, |n| number(f64::from(n))),
        BytesKind::Float32Array => of!(f32, |n| number(f64::from(n))),
        BytesKind::Float64Array => of!(f64, number),
        BytesKind::BigInt64Array => of!(i64, |n: i64| Value::BigInt(n.to_string())),
        BytesKind::BigUint64Array => of!(u64, |n: u64| Value::BigInt(n.to_string())),
        BytesKind::Uint8Array
        | BytesKind::ArrayBuffer
        | BytesKind::DataView
        | BytesKind::Uint8ClampedArray => {
            of!(u8, |n| number(f64::from(n)))
        }
    }
}

struct Items {
    items: std::vec::IntoIter<Value>,
    depth: usize,
    index: usize,
}

impl<'de> de::SeqAccess<'de> for &mut Items {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(value) = self.items.next() else {
            return Ok(None);
        };
        let item = Decoder {
            value,
            depth: self.depth,
            is_result: false,
        };
        let item = seed.deserialize(item).map_err(|fault| fault.at(self.index))?;
        self.index += 1;
        Ok(Some(item))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Members {
    members: std::vec::IntoIter<(Text, Value)>,
    depth: usize,
    /// A member that is undefined is then as good as none.
    is_struct: bool,
    value: Option<(Text, Value)>,
}

impl<'de> de::MapAccess<'de> for Members {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let is_struct = self.is_struct;
        let next = self
            .members
            .find(|(_, value)| !is_struct || !matches!(value, Value::Undefined));
        let Some((name, value)) = next else {
            return Ok(None);
        };
        let key = seed.deserialize(Key(name.clone()))?;
        self.value = Some((name, value));
        Ok(Some(key))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let (name, value) = self
            .value
            .take()
            .ok_or_else(|| Fault::new("a member was asked for before its name"))?;
        let member = Decoder {
            value,
            depth: self.depth,
            is_result: false,
        };
        seed.deserialize(member).map_err(|fault| fault.at(name))
    }

    fn size_hint(&self) -> Option<usize> {
        (!self.is_struct).then_some(self.members.len())
    }
}

/// A member's name, which is a text, as whatever key a map has.
struct Key(Text);

macro_rules! parsed_keys {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.0.parse() {
                Ok(key) => visitor.$visit(key),
                Err(_) => Err(Fault::invalid_value(Unexpected::Str(&self.0), &visitor)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Key {
    type Error = Fault;

    parsed_keys! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32 deserialize_i64 visit_i64
        deserialize_i128 visit_i128
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32 deserialize_u64 visit_u64
        deserialize_u128 visit_u128
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visit_text(self.0, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let name_of_variant: StrDeserializer<'_, Fault> = self.0.as_str().into_deserializer();
        name_of_variant.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

/// An enum: its variant's name, or an object of one member.
struct Variant {
    name: Text,
    content: Option<Value>,
    depth: usize,
}

impl<'de> de::EnumAccess<'de> for Variant {
    type Error = Fault;
    type Variant = Content;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Content), Fault> {
        let variant = seed.deserialize(Key(self.name.clone()))?;
        let content = Content {
            name: self.name,
            content: self.content,
            depth: self.depth,
        };
        Ok((variant, content))
    }
}

struct Content {
    name: Text,
    content: Option<Value>,
    depth: usize,
}

impl Content {
    fn read<T>(self, read: impl FnOnce(Decoder) -> Result<T, Fault>) -> Result<T, Fault> {
        let content = Decoder {
            value: self.content.unwrap_or_default(),
            depth: self.depth,
            is_result: false,
        };
        read(content).map_err(|fault| fault.at(self.name))
    }
}

impl<'de> de::VariantAccess<'de> for Content {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        self.read(de::Deserialize::deserialize)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        self.read(|content| seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.read(|content| content.deserialize_tuple(length, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.read(|content| content.deserialize_struct("", fields, visitor))
    }
}
