//! The builder form of a mail, read from what the caller gave and checked.

use base64::Engine;
use capnweb::Value;
use lettre::message::Mailbox;

use crate::error::Refusal;

const MOST_RECIPIENTS: usize = 50;
const LONGEST_SUBJECT: usize = 998;
const LONGEST_HEADER: usize = 2048;
const HEADERS: usize = 16 * 1024;
const MOST_HEADERS: usize = 20;
const MOST_ATTACHMENTS: usize = 100;

/// A mail to be put together.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) from: Mailbox,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) cc: Vec<Mailbox>,
    pub(crate) bcc: Vec<Mailbox>,
    pub(crate) reply_to: Vec<Mailbox>,
    pub(crate) subject: String,
    pub(crate) text: Option<String>,
    pub(crate) html: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) attachments: Vec<Attachment>,
}

#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) filename: String,
    pub(crate) content_type: String,
    /// Set for inline parts.
    pub(crate) content_id: Option<String>,
    pub(crate) content: Vec<u8>,
}

impl Draft {
    pub(crate) fn read(value: &Value) -> Result<Self, Refusal> {
        if !matches!(value, Value::Object(_)) {
            return Err(Refusal::invalid("send() takes an EmailMessage or an object"));
        }
        let missing = |field: &str| Refusal::new("E_FIELD_MISSING", format!("{field} is missing"));
        let from = match mailboxes(value, "from")? {
            mut list if list.len() == 1 => list.remove(0),
            list if list.is_empty() => return Err(missing("from")),
            _ => return Err(Refusal::invalid("from must be one address")),
        };
        let draft = Self {
            from,
            to: mailboxes(value, "to")?,
            cc: mailboxes(value, "cc")?,
            bcc: mailboxes(value, "bcc")?,
            reply_to: mailboxes(value, "replyTo")?,
            subject: text(value, "subject")?.ok_or_else(|| missing("subject"))?,
            text: text(value, "text")?,
            html: text(value, "html")?,
            headers: headers(value.member("headers"))?,
            attachments: attachments(value.member("attachments"))?,
        };
        if draft.to.is_empty() {
            return Err(missing("to"));
        }
        if draft.text.is_none() && draft.html.is_none() {
            return Err(missing("text or html"));
        }
        if draft.subject.chars().count() > LONGEST_SUBJECT || draft.subject.contains(['\r', '\n']) {
            return Err(Refusal::invalid(format!(
                "subject must be one line of at most {LONGEST_SUBJECT} characters"
            )));
        }
        let count = draft.recipients().len();
        if count > MOST_RECIPIENTS {
            return Err(Refusal::new(
                "E_TOO_MANY_RECIPIENTS",
                format!("{count} recipients; at most {MOST_RECIPIENTS} are allowed"),
            ));
        }
        Ok(draft)
    }

    /// Everybody the mail goes to.
    pub(crate) fn recipients(&self) -> Vec<String> {
        self.to
            .iter()
            .chain(&self.cc)
            .chain(&self.bcc)
            .map(|mailbox| mailbox.email.to_string())
            .collect()
    }
}

fn given<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    value
        .member(field)
        .filter(|value| !matches!(value, Value::Undefined | Value::Null))
}

fn text(value: &Value, field: &str) -> Result<Option<String>, Refusal> {
    match given(value, field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.to_string())),
        Some(_) => Err(Refusal::invalid(format!("{field} must be a text"))),
    }
}

/// An address, `{email, name}`, or a list of either.
fn mailboxes(value: &Value, field: &str) -> Result<Vec<Mailbox>, Refusal> {
    let one = |value: &Value| -> Result<Mailbox, Refusal> {
        let bad = |shown: &str| Refusal::invalid(format!("{field}: `{shown}` is not an e-mail address"));
        match value {
            Value::String(text) => text.parse().map_err(|_| bad(text)),
            Value::Object(_) => {
                let email = value
                    .member("email")
                    .and_then(Value::as_str)
                    .ok_or_else(|| bad("an object without email"))?;
                let name = value
                    .member("name")
                    .and_then(Value::as_str)
                    .filter(|name| !name.is_empty());
                Ok(Mailbox::new(
                    name.map(str::to_owned),
                    email.parse().map_err(|_| bad(email))?,
                ))
            }
            _ => Err(bad("a value that is neither text nor object")),
        }
    };
    match given(value, field) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(one).collect(),
        Some(value) => Ok(vec![one(value)?]),
    }
}

fn headers(value: Option<&Value>) -> Result<Vec<(String, String)>, Refusal> {
    let pairs: Vec<(String, String)> = match value {
        None | Some(Value::Undefined | Value::Null) => return Ok(Vec::new()),
        Some(Value::Headers(pairs)) => pairs.clone(),
        Some(Value::Object(members)) => members
            .iter()
            .map(|(name, value)| match value {
                Value::String(value) => Ok((name.to_string(), value.to_string())),
                _ => Err(Refusal::new(
                    "E_HEADER_VALUE_INVALID",
                    format!("header {name} must be a text"),
                )),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(Refusal::invalid("headers must be an object of texts")),
    };
    for (name, value) in &pairs {
        check_header(name, value)?;
    }
    let size: usize = pairs
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    if size > HEADERS {
        return Err(Refusal::new(
            "E_HEADERS_TOO_LARGE",
            format!("headers have {size} bytes; at most {HEADERS} are allowed"),
        ));
    }
    let plain = pairs
        .iter()
        .filter(|(name, _)| !name.to_ascii_lowercase().starts_with("x-"))
        .count();
    if plain > MOST_HEADERS {
        let message =
            format!("{plain} headers that do not start with X-; at most {MOST_HEADERS} are allowed");
        return Err(Refusal::new("E_HEADERS_TOO_MANY", message));
    }
    Ok(pairs)
}

fn check_header(name: &str, value: &str) -> Result<(), Refusal> {
    const FIELDS: [&str; 7] = ["from", "to", "cc", "bcc", "reply-to", "subject", "sender"];
    const SERVERS: [&str; 8] = [
        "date",
        "message-id",
        "mime-version",
        "received",
        "return-path",
        "dkim-signature",
        "authentication-results",
        "delivered-to",
    ];
    let lower = name.to_ascii_lowercase();
    // RFC 5322 §3.6.8: printable ASCII without colon.
    if name.is_empty() || name.len() > 76 || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
    {
        return Err(Refusal::new(
            "E_HEADER_NAME_INVALID",
            format!("`{name}` is not a header name"),
        ));
    }
    if FIELDS.contains(&lower.as_str()) {
        return Err(Refusal::new(
            "E_HEADER_USE_API_FIELD",
            format!("set {name} by its own field, not by a header"),
        ));
    }
    if SERVERS.contains(&lower.as_str())
        || ["content-", "arc-"]
            .iter()
            .any(|prefix| lower.starts_with(prefix))
    {
        return Err(Refusal::new(
            "E_HEADER_NOT_ALLOWED",
            format!("header {name} is not allowed"),
        ));
    }
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Refusal::new(
            "E_HEADER_VALUE_INVALID",
            format!("header {name} has a control character"),
        ));
    }
    if value.len() > LONGEST_HEADER {
        let message = format!(
            "header {name} has {} bytes; at most {LONGEST_HEADER} are allowed",
            value.len()
        );
        return Err(Refusal::new("E_HEADER_VALUE_TOO_LONG", message));
    }
    Ok(())
}

fn attachments(value: Option<&Value>) -> Result<Vec<Attachment>, Refusal> {
    let list = match value {
        None | Some(Value::Undefined | Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= MOST_ATTACHMENTS => list,
        Some(_) => {
            return Err(Refusal::invalid(format!(
                "attachments must be a list of at most {MOST_ATTACHMENTS}"
            )));
        }
    };
    list.iter().map(attachment).collect()
}

fn attachment(value: &Value) -> Result<Attachment, Refusal> {
    let missing = |field: &str| Refusal::new("E_FIELD_MISSING", format!("attachment: {field} is missing"));
    let content_id = text(value, "contentId")?;
    let content = match given(value, "content").ok_or_else(|| missing("content"))? {
        Value::Bytes(bytes, _) => bytes.clone(),
        Value::String(text) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|_| Refusal::invalid("attachment: content must be bytes or base64"))?,
        _ => return Err(Refusal::invalid("attachment: content must be bytes or base64")),
    };
    let inline = match text(value, "disposition")?.as_deref() {
        None | Some("attachment") => false,
        Some("inline") => true,
        Some(_) => {
            return Err(Refusal::invalid(
                "attachment: disposition must be attachment or inline",
            ));
        }
    };
    if inline && content_id.is_none() {
        return Err(missing("contentId"));
    }
    Ok(Attachment {
        filename: text(value, "filename")?.ok_or_else(|| missing("filename"))?,
        content_type: text(value, "type")?.ok_or_else(|| missing("type"))?,
        content_id: content_id.filter(|_| inline),
        content,
    })
}
