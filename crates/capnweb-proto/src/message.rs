//! The envelope: which of the eight messages a text is.

use crate::ProtocolError;
use crate::json::{Kind, Node, javascript_text, to_text};

/// A message as it arrived. Expressions are not evaluated yet.
pub(crate) enum Message<'a> {
    Push(Node<'a>),
    Stream(Node<'a>),
    Pipe,
    Pull(i64),
    /// Without an id: of one that no table has.
    Resolve(Option<i64>, Node<'a>),
    Reject(Option<i64>, Node<'a>),
    Release(i64, u64),
    Abort(Option<Node<'a>>),
}

impl<'a> Message<'a> {
    // Elements after those a message needs are tolerated.
    pub(crate) fn read(message: Node<'a>) -> Result<Self, ProtocolError> {
        let mut items = message.items();
        let word = items.next().and_then(Node::as_text);
        let (first, second) = (items.next(), items.next());
        // Ids are integers, so no table has another number.
        let id = first
            .filter(|id| id.kind() == Kind::Number)
            .map(|id| (id.as_integer(), id));
        let exported = |(id, node): (Option<i64>, Node<'a>)| {
            id.ok_or_else(|| ProtocolError::NoSuchExport(javascript_text(&node.to_json())))
        };
        Ok(match (word.as_deref(), first, second, id) {
            (Some("push"), Some(expression), ..) => Self::Push(expression),
            (Some("stream"), Some(expression), ..) => Self::Stream(expression),
            (Some("pipe"), ..) => Self::Pipe,
            (Some("pull"), .., Some(id)) => Self::Pull(exported(id)?),
            (Some("resolve"), _, Some(expression), Some((id, _))) => Self::Resolve(id, expression),
            (Some("reject"), _, Some(expression), Some((id, _))) => Self::Reject(id, expression),
            (Some("release"), _, Some(count), Some(id)) => match count.as_integer().map(u64::try_from) {
                Some(Ok(count)) => Self::Release(exported(id)?, count),
                _ => return Err(ProtocolError::BadMessage(excerpt(message))),
            },
            (Some("abort"), expression, ..) => Self::Abort(expression),
            _ => return Err(ProtocolError::BadMessage(excerpt(message))),
        })
    }
}

/// The JSON of a fault, short enough for an error text.
pub(crate) fn excerpt(node: Node<'_>) -> String {
    let text = to_text(&node.to_json());
    let end = text.floor_char_boundary(1000);
    if end < text.len() {
        format!("{}…", &text[..end])
    } else {
        text
    }
}
