//! How values that serde has no word for pass through it.
//!
//! A stub or date is put aside, and the number of its place goes through serde as a newtype of a name that only this module
//! uses. What serde buffers on the way (flattened and untagged types) keeps that number. Outside of a conversion there is
//! no place to put it, so other formats refuse.

use std::cell::RefCell;
use std::fmt;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::ser::{Error as _, Serializer};

use crate::Value;

/// The newtype's name. No Rust type can have it.
pub(crate) const NAME: &str = "$capnweb::Value";

/// Numbers from here on stand for places. No number of a peer's gets through serde unmarked and as large.
pub(crate) const FIRST: u64 = 1 << 63;

thread_local! {
    /// Of each conversion that runs on this thread, the innermost last.
    static ASIDE: RefCell<Vec<Vec<Slot>>> = const { RefCell::new(Vec::new()) };
}

enum Slot {
    /// Taken out once.
    Once(Option<Value>),
    /// May be tried several times: by the variants of an untagged enum.
    Often(Value),
}

/// One conversion.
pub(crate) struct Scope(());

impl Scope {
    pub(crate) fn open() -> Self {
        ASIDE.with_borrow_mut(|scopes| scopes.push(Vec::new()));
        Self(())
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // Dropped outside of the borrow: handles run code of the application when they go.
        let slots = ASIDE.with_borrow_mut(Vec::pop);
        drop(slots);
    }
}

fn put(slot: Slot) -> Option<u64> {
    ASIDE.with_borrow_mut(|scopes| {
        let slots = scopes.last_mut()?;
        slots.push(slot);
        Some(FIRST + slots.len() as u64 - 1)
    })
}

pub(crate) fn put_often(value: Value) -> Option<u64> {
    put(Slot::Often(value))
}

pub(crate) fn put_once(value: Value) -> Option<u64> {
    put(Slot::Once(Some(value)))
}

/// What was put aside under a number.
pub(crate) fn take(number: u64) -> Option<Value> {
    let index = usize::try_from(number.checked_sub(FIRST)?).ok()?;
    ASIDE.with_borrow_mut(|scopes| match scopes.last_mut()?.get_mut(index)? {
        Slot::Once(value) => value.take(),
        Slot::Often(value) => Some(value.clone()),
    })
}

/// Serializes a value as it is.
pub(crate) fn serialize<S: Serializer>(value: Value, serializer: S) -> Result<S::Ok, S::Error> {
    let number =
        put_once(value).ok_or_else(|| S::Error::custom("only a Cap'n Web session can carry this value"))?;
    serializer.serialize_newtype_struct(NAME, &number)
}

/// Deserializes a value as it is.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<Value, D::Error> {
    deserializer.deserialize_newtype_struct(NAME, Carried(expected))
}

struct Carried(&'static str);

impl<'de> Visitor<'de> for Carried {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let number: u64 = serde::Deserialize::deserialize(deserializer)?;
        take(number).ok_or_else(|| D::Error::custom(format_args!("expected {}", self.0)))
    }
}
