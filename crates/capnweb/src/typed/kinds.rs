//! Kinds of values that Rust has no type for, as arguments, results and members of data.
//!
//! They pass through serde as they are; formats other than Cap'n Web's refuse them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::carry;
use crate::{BytesKind, Capability, Value};

/// Any value, untyped.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Any(pub Value);

/// A point in time: milliseconds since 1970, or an invalid date.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Date(pub Option<f64>);

/// An integer of any length, in decimal digits. Rust's integers need no wrapping: what a double cannot hold exactly
/// travels as a bigint by itself. This one always does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BigInt(String);

/// Bytes in one piece, where a `Vec<u8>` would be an array of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

/// A URL, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url(pub String);

/// HTTP headers: names in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(pub Vec<(String, String)>);

/// Bytes with a media type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob(pub crate::Blob);

/// A request of the fetch standard.
#[derive(Debug, Clone, PartialEq)]
pub struct Request(pub crate::Request<Capability>);

/// A response of the fetch standard.
#[derive(Debug, Clone, PartialEq)]
pub struct Response(pub crate::Response<Capability>);

macro_rules! kinds {
    ($($name:ident is $what:literal: $one:pat => $read:expr, $write:expr;)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let write: fn(Self) -> Value = $write;
                carry::serialize(write(self.clone()), serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match carry::deserialize(deserializer, $what)? {
                    $one => Ok($read),
                    #[allow(unreachable_patterns, reason = "any value is one of some kinds")]
                    _ => Err(D::Error::custom(concat!("expected ", $what))),
                }
            }
        }
    )*};
}

kinds! {
    Any is "a value": value => Self(value), |any| any.0;
    Date is "a date": Value::Date(time) => Self(time), |date| Value::Date(date.0);
    BigInt is "a bigint": Value::BigInt(digits) => Self(digits), |bigint| Value::BigInt(bigint.0);
    Bytes is "bytes": Value::Bytes(bytes, _) => Self(bytes), |bytes| Value::Bytes(bytes.0, BytesKind::Uint8Array);
    Url is "a URL": Value::Url(url) => Self(url), |url| Value::Url(url.0);
    Headers is "headers": Value::Headers(pairs) => Self(pairs), |headers| Value::Headers(headers.0);
    Blob is "a blob": Value::Blob(blob) => Self(*blob), |blob| Value::Blob(Box::new(blob.0));
    Request is "a request": Value::Request(it) => Self(*it), |request| Value::Request(Box::new(request.0));
    Response is "a response": Value::Response(it) => Self(*it), |response| Value::Response(Box::new(response.0));
}

/// To the millisecond.
impl From<SystemTime> for Date {
    fn from(time: SystemTime) -> Self {
        let milliseconds = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_millis() as f64,
            Err(before) => -(before.duration().as_millis() as f64),
        };
        Self(Some(milliseconds))
    }
}

impl Date {
    /// As the system's time, unless the date is invalid or beyond what the system can tell.
    pub fn to_system_time(self) -> Option<SystemTime> {
        let milliseconds = self.0?;
        // Exact: a date is at most 8.64e15 ms off.
        let off = Duration::from_millis(milliseconds.abs() as u64);
        if milliseconds < 0.0 {
            UNIX_EPOCH.checked_sub(off)
        } else {
            UNIX_EPOCH.checked_add(off)
        }
    }
}

impl BigInt {
    /// Of decimal digits, perhaps with a minus in front; `None` for anything else. Leading zeros go.
    pub fn parse(text: &str) -> Option<Self> {
        let (minus, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", text),
        };
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        Some(Self(match digits.trim_start_matches('0') {
            "" => "0".to_owned(),
            digits => format!("{minus}{digits}"),
        }))
    }

    /// Its decimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! integers {
    ($($kind:ty)*) => {$(
        impl From<$kind> for BigInt {
            fn from(number: $kind) -> Self {
                Self(number.to_string())
            }
        }

        /// Fails where it does not fit.
        impl TryFrom<BigInt> for $kind {
            type Error = std::num::ParseIntError;

            fn try_from(bigint: BigInt) -> Result<Self, Self::Error> {
                bigint.0.parse()
            }
        }
    )*};
}
integers!(i64 u64 i128 u128);
