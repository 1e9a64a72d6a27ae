//! Mail that comes as MIME already.

use mail_parser::{HeaderName, MessageParser};

use crate::error::Refusal;

/// Checks raw mail against its envelope; its message id without angle brackets.
pub(crate) fn check(raw: &[u8], from: &str) -> Result<String, Refusal> {
    let message = MessageParser::new()
        .parse_headers(raw)
        .ok_or_else(|| Refusal::invalid("invalid message"))?;
    let sender = message
        .from()
        .and_then(|address| address.first())
        .and_then(|address| address.address());
    if !sender.is_some_and(|sender| sender.eq_ignore_ascii_case(from)) {
        return Err(Refusal::invalid(format!(
            "From: header does not match mail from {from}"
        )));
    }
    if message
        .headers()
        .iter()
        .any(|header| header.name == HeaderName::Received)
    {
        return Err(Refusal::invalid("invalid headers set"));
    }
    match message.message_id() {
        Some(id) if !id.is_empty() => Ok(id.to_owned()),
        _ => Err(Refusal::invalid("invalid message-id")),
    }
}
