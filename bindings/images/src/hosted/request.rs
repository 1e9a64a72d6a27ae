//! What the methods are told.
//!
//! Source of names, defaults and most refusals: the client inside workerd 1.20261117.1, and miniflare 5's simulator.

use std::time::Duration;

use capnweb::{Capability, ReadableStream, Value};
use serde_json::{Map, Value as Json};

use super::catalog::Change;
use super::{Refused, filter::Filter};

/// Bytes of an id, a file's name or a creator.
const LONGEST_TEXT: usize = 1024;
/// Bytes of an image's metadata as JSON.
const LONGEST_META: usize = 4096;
/// Seconds that an upload link may live: more than the first, less than the second.
const LINK: (f64, f64) = (120.0, 21_600.0);
const DEFAULT_LINK: Duration = Duration::from_secs(1800);
/// The longest life of a signed URL: what JavaScript can hold is not what a clock can.
const LONGEST_SIGNED: f64 = 10.0 * 366.0 * 86_400.0;
const DEFAULT_PAGE: usize = 50;
const LARGEST_PAGE: f64 = 1000.0;

/// The bytes of an upload, or where they come from.
#[derive(Debug)]
pub(crate) enum Source {
    Bytes(Vec<u8>),
    Stream(ReadableStream),
}

/// What an image is told when it is made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct New {
    pub(crate) id: Option<String>,
    pub(crate) filename: Option<String>,
    pub(crate) signed_only: bool,
    /// A JSON object.
    pub(crate) meta: String,
    pub(crate) creator: Option<String>,
}

/// What `list` is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct List {
    pub(crate) limit: usize,
    pub(crate) cursor: Option<String>,
    pub(crate) descending: bool,
    pub(crate) creator: Option<String>,
    pub(crate) filter: Filter,
}

/// What `signedUrl` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) variant: String,
    pub(crate) expires_in: Option<i64>,
    pub(crate) key_name: Option<String>,
}

pub(crate) fn id(value: &Value) -> Result<String, Refused> {
    value
        .as_str()
        .filter(|id| is_id(id))
        .map(str::to_owned)
        .ok_or_else(|| {
            Refused::new(format!(
                "an image's id must be a text of 1 to {LONGEST_TEXT} bytes without control characters, not \".\" or \
                 \"..\" between slashes"
            ))
        })
}

/// Ids may have slashes in them, and become paths of URLs: what would not come back from one is none.
fn is_id(id: &str) -> bool {
    (1..=LONGEST_TEXT).contains(&id.len())
        && !id.chars().any(char::is_control)
        && id.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The first argument of `upload`.
pub(crate) fn source(value: Value) -> Result<Source, Refused> {
    match value {
        Value::Bytes(bytes, _) => Ok(Source::Bytes(bytes)),
        Value::Capability(Capability::Readable(stream)) => Ok(Source::Stream(stream)),
        _ => Err(Refused::new("upload() takes a ReadableStream or an ArrayBuffer")),
    }
}

/// The second argument of `upload`, and whether the bytes are base64.
pub(crate) fn upload(options: &Value) -> Result<(New, bool), Refused> {
    let options = object("upload", options)?;
    let base64 = match text(options, "encoding")?.as_deref() {
        None => false,
        Some("base64") => true,
        Some(_) => return Err(Refused::new("encoding must be \"base64\", or left out")),
    };
    Ok((new(options)?, base64))
}

/// The argument of `createDirectUpload`.
pub(crate) fn direct_upload(options: &Value) -> Result<(New, Duration), Refused> {
    let options = object("createDirectUpload", options)?;
    let new = New {
        filename: None,
        ..new(options)?
    };
    if let Some(id) = &new.id {
        if uuid::Uuid::try_parse(id).is_ok() {
            return Err(Refused::new("CustomID must not be UUID"));
        }
        if new.signed_only {
            return Err(Refused::new("Private custom ID is not supported"));
        }
    }
    let lives = match number(options, "expiresIn")? {
        None => DEFAULT_LINK,
        Some(seconds) if seconds > LINK.0 && seconds < LINK.1 => Duration::from_secs_f64(seconds),
        Some(_) => return Err(Refused::new("expiry is out of accepted bound.")),
    };
    Ok((new, lives))
}

/// The argument of `update`.
pub(crate) fn change(options: &Value) -> Result<Change, Refused> {
    let options = object("update", options)?;
    Ok(Change {
        signed_only: flag(options, "requireSignedURLs")?,
        meta: meta(options)?,
        creator: short(options, "creator")?,
    })
}

/// The argument of `list`.
pub(crate) fn list(options: &Value) -> Result<List, Refused> {
    let options = object("list", options)?;
    let limit = match number(options, "limit")? {
        None => DEFAULT_PAGE,
        Some(limit) if limit.fract() == 0.0 && (1.0..=LARGEST_PAGE).contains(&limit) => limit as usize,
        Some(_) => return Err(Refused::new(format!("limit must be from 1 to {LARGEST_PAGE}"))),
    };
    let descending = match text(options, "sortOrder")?.as_deref() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => return Err(Refused::new("sortOrder must be \"asc\" or \"desc\"")),
    };
    let filter = match member(options, "filter").and_then(|filter| member(filter, "metadata")) {
        None => Filter::default(),
        Some(metadata) => Filter::parse(&json("filter.metadata", metadata)?)?,
    };
    Ok(List {
        limit,
        cursor: text(options, "cursor")?,
        descending,
        creator: text(options, "creator")?,
        filter,
    })
}

/// The argument of `signedUrl`.
pub(crate) fn signed(options: &Value) -> Result<Signed, Refused> {
    let options = object("signedUrl", options)?;
    let variant = text(options, "variant")?
        .filter(|variant| !variant.is_empty())
        .ok_or_else(|| Refused::new("variant is required"))?;
    if variant.contains(['/', '?', '#', '%']) {
        return Err(Refused::new("variant contains invalid URL path characters"));
    }
    let expires_in = match number(options, "expiresIn")? {
        None => None,
        Some(seconds) if seconds.fract() == 0.0 && seconds > 0.0 && seconds <= LONGEST_SIGNED => {
            Some(seconds as i64)
        }
        Some(seconds) if seconds > LONGEST_SIGNED => {
            return Err(Refused::new(format!(
                "expiresIn must be at most {LONGEST_SIGNED}"
            )));
        }
        Some(_) => return Err(Refused::new("expiresIn must be a positive integer")),
    };
    Ok(Signed {
        variant,
        expires_in,
        key_name: text(options, "keyName")?,
    })
}

fn new(options: &Value) -> Result<New, Refused> {
    Ok(New {
        id: member(options, "id").map(id).transpose()?,
        filename: short(options, "filename")?,
        signed_only: flag(options, "requireSignedURLs")?.unwrap_or(false),
        meta: meta(options)?.unwrap_or_else(|| "{}".to_owned()),
        creator: short(options, "creator")?,
    })
}

fn meta(options: &Value) -> Result<Option<String>, Refused> {
    let Some(value) = member(options, "metadata") else {
        return Ok(None);
    };
    let text = Json::Object(json("metadata", value)?).to_string();
    if text.len() > LONGEST_META {
        return Err(Refused::new(format!(
            "metadata must have at most {LONGEST_META} bytes as JSON"
        )));
    }
    Ok(Some(text))
}

fn json(name: &str, value: &Value) -> Result<Map<String, Json>, Refused> {
    match capnweb::from_value(value.clone()) {
        Ok(Json::Object(members)) => Ok(members),
        _ => Err(Refused::new(format!("{name} must be an object of JSON values"))),
    }
}

fn object<'a>(method: &str, value: &'a Value) -> Result<&'a Value, Refused> {
    match value {
        Value::Undefined | Value::Null | Value::Object(_) => Ok(value),
        _ => Err(Refused::new(format!("{method}() takes its options as an object"))),
    }
}

fn member<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value
        .member(key)
        .filter(|value| !matches!(value, Value::Undefined | Value::Null))
}

fn text(options: &Value, key: &str) -> Result<Option<String>, Refused> {
    match member(options, key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.to_string())),
        Some(_) => Err(Refused::new(format!("{key} must be a text"))),
    }
}

fn short(options: &Value, key: &str) -> Result<Option<String>, Refused> {
    let text = text(options, key)?;
    if text.as_ref().is_some_and(|text| text.len() > LONGEST_TEXT) {
        return Err(Refused::new(format!(
            "{key} must have at most {LONGEST_TEXT} bytes"
        )));
    }
    Ok(text)
}

fn flag(options: &Value, key: &str) -> Result<Option<bool>, Refused> {
    match member(options, key) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(Refused::new(format!("{key} must be a boolean"))),
    }
}

fn number(options: &Value, key: &str) -> Result<Option<f64>, Refused> {
    match member(options, key) {
        None => Ok(None),
        Some(value) => value
            .as_f64()
            .map(Some)
            .ok_or_else(|| Refused::new(format!("{key} must be a number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_a_url() {
        for good in ["a", "a/b c", "é", "..a", "%2e%2e", "?#"] {
            assert!(id(&good.into()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "a/../b",
            "..",
            "a\n",
            &"a".repeat(1025),
        ] {
            assert!(id(&bad.into()).is_err(), "{bad:?}");
        }
        assert!(id(&Value::Undefined).is_err());
    }

    #[test]
    fn links_live_between_two_bounds() {
        let link = |seconds: f64| direct_upload(&Value::object([("expiresIn", Value::Number(seconds))]));
        assert_eq!(direct_upload(&Value::Undefined).unwrap().1, DEFAULT_LINK);
        assert_eq!(link(121.0).unwrap().1, Duration::from_secs(121));
        for bad in [120.0, 21_600.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(link(bad).is_err(), "{bad}");
        }
        let named = |id: &str, signed: bool| {
            direct_upload(&Value::object([
                ("id", id.into()),
                ("requireSignedURLs", signed.into()),
            ]))
        };
        assert!(named("mine", false).is_ok());
        assert!(named("mine", true).is_err());
        assert!(named("6ad4dd1c-6ec4-4a35-8a4d-3b8b45a5ea3c", false).is_err());
    }

    #[test]
    fn wrong_options_are_refused() {
        let with = |key: &str, value: Value| Value::object([(key, value)]);
        for options in [
            Value::Number(1.0),
            with("id", 1.0.into()),
            with("encoding", "hex".into()),
            with("metadata", "text".into()),
            with(
                "metadata",
                Value::object([("a", Value::String("x".repeat(4096).into()))]),
            ),
            with("requireSignedURLs", "yes".into()),
            with("creator", Value::Bool(true)),
        ] {
            assert!(upload(&options).is_err(), "{options:?}");
        }
        for options in [
            with("limit", 0.0.into()),
            with("limit", 1001.0.into()),
            with("limit", 1.5.into()),
            with("sortOrder", "up".into()),
        ] {
            assert!(list(&options).is_err(), "{options:?}");
        }
        for options in [
            Value::Undefined,
            with("variant", "a/b".into()),
            Value::object([("variant", "public".into()), ("expiresIn", 0.5.into())]),
            Value::object([("variant", "public".into()), ("expiresIn", 1e300.into())]),
        ] {
            assert!(signed(&options).is_err(), "{options:?}");
        }
    }
}
