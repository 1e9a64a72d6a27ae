//! From serde's data model to values.

use serde::ser::{self, Serialize};

use super::carry;
use super::fault::Fault;
use crate::{Error, Text, Value};

/// Levels of nesting. Peers take no more by default.
pub(super) const DEPTH: usize = 256;
/// Integers a double holds, and JavaScript calls safe.
pub(super) const SAFE: i128 = (1 << 53) - 1;

/// Makes a value of whatever serde can serialize. See [the page on types](crate::guide::typed) for what becomes what.
///
/// Fails with a `TypeError` that names the place.
pub fn to_value<T: Serialize + ?Sized>(data: &T) -> Result<Value, Error> {
    encode(data, Value::Null)
}

/// As [`to_value`], for an argument: without a value it is as if it was left out.
pub(super) fn to_argument<T: Serialize + ?Sized>(data: &T) -> Result<Value, Error> {
    encode(data, Value::Undefined)
}

fn encode<T: Serialize + ?Sized>(data: &T, none: Value) -> Result<Value, Error> {
    let _scope = carry::Scope::open();
    let top = Encoder {
        depth: 0,
        none,
        unit: Value::Undefined,
    };
    data.serialize(top).map_err(Error::from)
}

/// Serializes one value.
struct Encoder {
    depth: usize,
    none: Value,
    unit: Value,
}

impl Encoder {
    fn inner(depth: usize) -> Result<Self, Fault> {
        if depth >= DEPTH {
            return Err(Fault::new(format!("nested deeper than {DEPTH} levels")));
        }
        Ok(Self {
            depth: depth + 1,
            none: Value::Null,
            unit: Value::Null,
        })
    }
}

fn integer(number: i128) -> Value {
    if (-SAFE..=SAFE).contains(&number) {
        // Exact, by the bound.
        Value::Number(number as f64)
    } else {
        Value::BigInt(number.to_string())
    }
}

macro_rules! integers {
    ($($method:ident($kind:ty))*) => {$(
        fn $method(self, number: $kind) -> Result<Value, Fault> {
            Ok(integer(number.into()))
        }
    )*};
}

impl ser::Serializer for Encoder {
    type Ok = Value;
    type Error = Fault;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Members;
    type SerializeStruct = Members;
    type SerializeStructVariant = Members;

    integers! {
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
    }

    fn serialize_u128(self, number: u128) -> Result<Value, Fault> {
        Ok(i128::try_from(number).map_or_else(|_| Value::BigInt(number.to_string()), integer))
    }

    fn serialize_bool(self, value: bool) -> Result<Value, Fault> {
        Ok(Value::Bool(value))
    }

    fn serialize_f32(self, number: f32) -> Result<Value, Fault> {
        Ok(Value::Number(number.into()))
    }

    fn serialize_f64(self, number: f64) -> Result<Value, Fault> {
        Ok(Value::Number(number))
    }

    fn serialize_char(self, letter: char) -> Result<Value, Fault> {
        Ok(Value::from(&*letter.encode_utf8(&mut [0; 4])))
    }

    fn serialize_str(self, text: &str) -> Result<Value, Fault> {
        Ok(Value::from(text))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, Fault> {
        Ok(Value::from(bytes.to_vec()))
    }

    fn serialize_none(self) -> Result<Value, Fault> {
        Ok(self.none)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Fault> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Fault> {
        Ok(self.unit)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Fault> {
        Ok(self.unit)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, Fault> {
        Ok(Value::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Value, Fault> {
        if name != carry::NAME {
            return value.serialize(self);
        }
        let Value::BigInt(number) = value.serialize(self)? else {
            return Err(Fault::new("a value was lost on its way"));
        };
        let carried = number.parse().ok().and_then(carry::take);
        carried.ok_or_else(|| Fault::new("a value was lost on its way"))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Fault> {
        let value = value
            .serialize(Self::inner(self.depth)?)
            .map_err(|fault| fault.at(variant))?;
        member(variant, value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items, Fault> {
        Ok(Items {
            depth: self.depth,
            variant: None,
            items: Vec::new(),
        })
    }

    fn serialize_tuple(self, length: usize) -> Result<Items, Fault> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Items, Fault> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items, Fault> {
        Ok(Items {
            depth: Self::inner(self.depth)?.depth,
            variant: Some(variant),
            items: Vec::new(),
        })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members, Fault> {
        Ok(Members {
            depth: self.depth,
            variant: None,
            members: Vec::new(),
            key: Text::default(),
        })
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<Members, Fault> {
        self.serialize_map(Some(length))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members, Fault> {
        Ok(Members {
            depth: Self::inner(self.depth)?.depth,
            variant: Some(variant),
            members: Vec::new(),
            key: Text::default(),
        })
    }
}

fn member(name: &str, value: Value) -> Result<Value, Fault> {
    Ok(Value::Object(vec![(kept(name.into())?, value)]))
}

/// Refuses what peers drop: a map must not lose entries without a word.
fn kept(name: Text) -> Result<Text, Fault> {
    if capnweb_proto::is_prototype_name(&name) || name == "toJSON" {
        return Err(Fault::new(format!("peers keep no member of the name `{name}`")));
    }
    Ok(name)
}

/// The items of an array.
struct Items {
    depth: usize,
    variant: Option<&'static str>,
    items: Vec<Value>,
}

impl Items {
    fn add<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Fault> {
        let item = item
            .serialize(Encoder::inner(self.depth)?)
            .map_err(|fault| fault.at(self.items.len()))?;
        self.items.push(item);
        Ok(())
    }

    fn finish(self) -> Result<Value, Fault> {
        let items = Value::Array(self.items);
        self.variant
            .map_or(Ok(items.clone()), |variant| member(variant, items))
    }
}

macro_rules! items {
    ($($of:ident $method:ident)*) => {$(
        impl ser::$of for Items {
            type Ok = Value;
            type Error = Fault;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Fault> {
                self.add(item)
            }

            fn end(self) -> Result<Value, Fault> {
                self.finish()
            }
        }
    )*};
}
items!(SerializeSeq serialize_element SerializeTuple serialize_element SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field);

/// The members of an object.
struct Members {
    depth: usize,
    variant: Option<&'static str>,
    members: Vec<(Text, Value)>,
    key: Text,
}

impl Members {
    fn add<T: Serialize + ?Sized>(&mut self, name: Text, value: &T) -> Result<(), Fault> {
        let value = value
            .serialize(Encoder::inner(self.depth)?)
            .map_err(|fault| fault.at(&name))?;
        self.members.push((kept(name)?, value));
        Ok(())
    }

    fn finish(self) -> Result<Value, Fault> {
        let members = Value::Object(self.members);
        match self.variant {
            Some(variant) => member(variant, members),
            None => Ok(members),
        }
    }
}

impl ser::SerializeMap for Members {
    type Ok = Value;
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        self.key = match key.serialize(Encoder::inner(self.depth)?)? {
            Value::String(text) => text,
            Value::BigInt(digits) => digits.into(),
            // An integer's digits; there is no other number with a text of its own.
            Value::Number(number) if number.fract() == 0.0 => number.to_string().into(),
            Value::Bool(value) => value.to_string().into(),
            _ => return Err(Fault::new("a key is a text, an integer or a boolean")),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        let name = std::mem::take(&mut self.key);
        self.add(name, value)
    }

    fn end(self) -> Result<Value, Fault> {
        self.finish()
    }
}

macro_rules! members {
    ($($of:ident)*) => {$(
        impl ser::$of for Members {
            type Ok = Value;
            type Error = Fault;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Fault> {
                self.add(name.into(), value)
            }

            fn end(self) -> Result<Value, Fault> {
                self.finish()
            }
        }
    )*};
}
members!(SerializeStruct SerializeStructVariant);
