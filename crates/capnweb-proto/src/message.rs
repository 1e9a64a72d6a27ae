//! The envelope: which of the eight messages a text is.

use crate::ProtocolError;
use crate::json::{Json, to_text};

/// A message as it arrived. Expressions are not evaluated yet.
#[derive(Debug)]
pub(crate) enum Message {
    Push(Json),
    Stream(Json),
    Pipe,
    Pull(i64),
    Resolve(i64, Json),
    Reject(i64, Json),
    Release(i64, u64),
    Abort(Option<Json>),
}

impl Message {
    pub(crate) fn read(json: Json) -> Result<Self, ProtocolError> {
        Self::from_json(&json).ok_or_else(|| ProtocolError::BadMessage(excerpt(&json)))
    }

    // Elements after those a message needs are tolerated.
    fn from_json(json: &Json) -> Option<Self> {
        let items = json.as_array()?;
        let item = |index: usize| items.get(index);
        let id = |index: usize| item(index).and_then(Json::as_integer);
        Some(match item(0)?.as_str()? {
            "push" => Self::Push(item(1)?.clone()),
            "stream" => Self::Stream(item(1)?.clone()),
            "pipe" => Self::Pipe,
            "pull" => Self::Pull(id(1)?),
            "resolve" => Self::Resolve(id(1)?, item(2)?.clone()),
            "reject" => Self::Reject(id(1)?, item(2)?.clone()),
            "release" => Self::Release(id(1)?, u64::try_from(id(2)?).ok()?),
            "abort" => Self::Abort(item(1).cloned()),
            _ => return None,
        })
    }
}

/// The JSON of a fault, short enough for an error text.
pub(crate) fn excerpt(json: &Json) -> String {
    let text = to_text(json);
    let end = text.floor_char_boundary(200);
    if end < text.len() {
        format!("{}…", &text[..end])
    } else {
        text
    }
}
