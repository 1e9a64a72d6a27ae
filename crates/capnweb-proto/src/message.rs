//! The envelope: which of the eight messages a text is.

use crate::ProtocolError;
use crate::json::{Json, javascript_text, to_text};

/// A message as it arrived. Expressions are not evaluated yet.
#[derive(Debug)]
pub(crate) enum Message {
    Push(Json),
    Stream(Json),
    Pipe,
    Pull(i64),
    /// Without an id: of one that no table has.
    Resolve(Option<i64>, Json),
    Reject(Option<i64>, Json),
    Release(i64, u64),
    Abort(Option<Json>),
}

impl Message {
    // Elements after those a message needs are tolerated.
    pub(crate) fn read(json: Json) -> Result<Self, ProtocolError> {
        let Json::Array(items) = json else {
            return Err(ProtocolError::BadMessage(excerpt(&json)));
        };
        let id = |index: usize| match items.get(index) {
            Some(id @ Json::Number(_)) => Some(id.as_integer()),
            _ => None,
        };
        // Ids are integers, so no table has another number.
        let exported = |id: Option<i64>| {
            id.ok_or_else(|| {
                ProtocolError::NoSuchExport(items.get(1).map_or_else(String::new, javascript_text))
            })
        };
        let read = match (items.first().and_then(Json::as_str), items.len()) {
            (Some("push"), 2..) => Some(Read::Expression(Self::Push)),
            (Some("stream"), 2..) => Some(Read::Expression(Self::Stream)),
            (Some("pipe"), _) => Some(Read::Whole(Self::Pipe)),
            (Some("pull"), _) => match id(1) {
                Some(id) => Some(Read::Whole(Self::Pull(exported(id)?))),
                None => None,
            },
            (Some("resolve"), 3..) => id(1).map(|id| Read::Answer(id, Self::Resolve)),
            (Some("reject"), 3..) => id(1).map(|id| Read::Answer(id, Self::Reject)),
            (Some("release"), _) => match (id(1), id(2).flatten().map(u64::try_from)) {
                (Some(id), Some(Ok(count))) => Some(Read::Whole(Self::Release(exported(id)?, count))),
                _ => None,
            },
            (Some("abort"), 2..) => Some(Read::Expression(|json| Self::Abort(Some(json)))),
            (Some("abort"), _) => Some(Read::Whole(Self::Abort(None))),
            _ => None,
        };
        let Some(read) = read else {
            return Err(ProtocolError::BadMessage(excerpt(&Json::Array(items))));
        };
        let mut items = items.into_iter();
        let mut item = |index: usize| items.nth(index).unwrap_or(Json::Null);
        Ok(match read {
            Read::Whole(message) => message,
            Read::Expression(message) => message(item(1)),
            Read::Answer(id, message) => message(id, item(2)),
        })
    }
}

/// How the parts of a message are taken out of it.
enum Read {
    Whole(Message),
    Expression(fn(Json) -> Message),
    Answer(Option<i64>, fn(Option<i64>, Json) -> Message),
}

/// The JSON of a fault, short enough for an error text.
pub(crate) fn excerpt(json: &Json) -> String {
    let text = to_text(json);
    let end = text.floor_char_boundary(1000);
    if end < text.len() {
        format!("{}…", &text[..end])
    } else {
        text
    }
}
