//! What ends a session, by who is at fault. The texts are those the protocol's JavaScript implementation uses, because
//! developers search for them.

use crate::json::ReadError;

/// A message that no honest peer sends, or a use of the session that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Peer misbehaved: not JSON.
    #[error("{0}")]
    NotJson(ReadError),
    /// Peer misbehaved: JSON, but no message.
    #[error("bad RPC message: {0}")]
    BadMessage(String),
    /// Peer misbehaved: an expression that does not exist or has the wrong parts.
    #[error("unknown special value: {0}")]
    BadExpression(String),
    /// Peer misbehaved: an id that is in no table, as JavaScript writes the number.
    #[error("no such export ID: {0}")]
    NoSuchExport(String),
    /// Peer misbehaved: an id that is in no table, inside an expression.
    #[error("no such entry on exports table: {0}")]
    NoSuchEntry(String),
    /// Peer misbehaved: it released more than it held.
    #[error("refcount would go negative: {held} < {released}")]
    NegativeRefcount {
        /// What it held.
        held: u64,
        /// What it released.
        released: u64,
    },
    /// Peer misbehaved: `readable` of something else, or twice.
    #[error("Export {0} is not a pipe or its readable end was already consumed.")]
    NotAPipe(i64),
    /// Peer misbehaved: an expression of the right shape whose parts are wrong.
    #[error("{0}")]
    BadParts(String),
    /// Peer misbehaved: a number out of range in an expression.
    #[error("{0}")]
    BadRange(String),
    /// Peer misbehaved: a map's capture that is neither `import` nor `export`.
    #[error("unknown map capture: {0}")]
    BadCapture(String),
    /// Peer misbehaved: a bigint that is no number.
    #[error("Cannot convert {0} to a BigInt")]
    BadBigInt(String),
    /// Limit exceeded: nesting.
    #[error("Deserialization exceeded maximum allowed message depth of {0}.")]
    TooDeep(usize),
    /// Limit exceeded: length of a bigint.
    #[error("Deserialized bigint exceeds maximum length of {0} digits.")]
    BigIntTooLong(usize),
    /// Limit exceeded: length of a message.
    #[error("Incoming message exceeds maximum size of {0} UTF-16 code units.")]
    MessageTooLong(usize),
    /// Limit exceeded: entries of a table, operations under way, or stream data not read.
    #[error("session limit exceeded: more than {limit} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Inside a map: an expression that has no meaning there. It rejects the map.
    #[error("{0}")]
    NotInMap(&'static str),
    /// API misuse: the session is over.
    #[error("the RPC session has ended")]
    Ended,
}

impl ProtocolError {
    /// The error class the peer is told.
    pub fn class(&self) -> &'static str {
        match self {
            Self::BadRange(_) => "RangeError",
            Self::NotJson(_) | Self::BadBigInt(_) => "SyntaxError",
            Self::BadMessage(_)
            | Self::NoSuchExport(_)
            | Self::NoSuchEntry(_)
            | Self::NegativeRefcount { .. }
            | Self::NotAPipe(_)
            | Self::TooMany { .. }
            | Self::NotInMap(_)
            | Self::Ended => "Error",
            Self::BadExpression(_)
            | Self::BadParts(_)
            | Self::BadCapture(_)
            | Self::TooDeep(_)
            | Self::BigIntTooLong(_)
            | Self::MessageTooLong(_) => "TypeError",
        }
    }
}
