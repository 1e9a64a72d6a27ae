//! From a draft to a MIME message.

use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment as Part, MultiPart, SinglePart};

use crate::draft::Draft;
use crate::error::Refusal;

/// The message, and its id without angle brackets.
pub(crate) fn render(draft: Draft) -> Result<(Vec<u8>, String), Refusal> {
    let id = format!("{}@{}", uuid::Uuid::new_v4(), draft.from.email.domain());
    // Bcc stays out of the message: it is for the envelope only.
    let mut builder = Message::builder()
        .from(draft.from)
        .subject(draft.subject)
        .message_id(Some(format!("<{id}>")))
        .date_now();
    for mailbox in draft.to {
        builder = builder.to(mailbox);
    }
    for mailbox in draft.cc {
        builder = builder.cc(mailbox);
    }
    for mailbox in draft.reply_to {
        builder = builder.reply_to(mailbox);
    }
    for (name, value) in draft.headers {
        let parsed = HeaderName::new_from_ascii(name.clone())
            .map_err(|_| Refusal::new("E_HEADER_NAME_INVALID", format!("`{name}` is not a header name")))?;
        builder = builder.raw_header(HeaderValue::new(parsed, value));
    }
    let body = match (draft.text, draft.html) {
        (Some(text), Some(html)) => MultiPart::alternative_plain_html(text, html),
        (Some(text), None) => MultiPart::mixed().singlepart(SinglePart::plain(text)),
        (None, html) => MultiPart::mixed().singlepart(SinglePart::html(html.unwrap_or_default())),
    };
    let (inline, attached): (Vec<_>, Vec<_>) = draft
        .attachments
        .into_iter()
        .partition(|part| part.content_id.is_some());
    let with = |mut whole: MultiPart, parts: Vec<crate::draft::Attachment>| -> Result<MultiPart, Refusal> {
        for part in parts {
            let content_type = ContentType::parse(&part.content_type).map_err(|_| {
                Refusal::invalid(format!(
                    "attachment: `{}` is not a content type",
                    part.content_type
                ))
            })?;
            let single = match part.content_id {
                Some(id) => Part::new_inline_with_name(id, part.filename),
                None => Part::new(part.filename),
            };
            whole = whole.singlepart(single.body(part.content, content_type));
        }
        Ok(whole)
    };
    let body = if inline.is_empty() {
        body
    } else {
        with(MultiPart::related().multipart(body), inline)?
    };
    let body = if attached.is_empty() {
        body
    } else {
        with(MultiPart::mixed().multipart(body), attached)?
    };
    let message = builder
        .multipart(body)
        .map_err(|error| Refusal::invalid(error.to_string()))?;
    Ok((message.formatted(), id))
}
