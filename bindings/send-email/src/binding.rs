//! The `send` method.

use std::sync::Arc;

use bowline_binding::{Binding, BindingError, CallContext, Surfaces};
use capnweb::{Answer, Call, Capability, Target, Value};
use lettre::address::Envelope;
use lettre::{Address, AsyncTransport};

use crate::config::Config;
use crate::draft::Draft;
use crate::error::Refusal;
use crate::store::Outbox;
use crate::{raw, render};

/// The member that tells an `EmailMessage` from the builder form.
const RAW: &str = "EmailMessage::raw";
const LARGEST: usize = 5 * 1024 * 1024;
const LARGEST_TO_VERIFIED: usize = 25 * 1024 * 1024;

pub(crate) struct SendEmail(Arc<Sender>);

struct Sender {
    config: Config,
    outbox: Outbox,
}

impl SendEmail {
    pub(crate) fn new(config: Config, outbox: Outbox) -> Self {
        Self(Arc::new(Sender { config, outbox }))
    }
}

#[async_trait::async_trait]
impl Binding for SendEmail {
    fn surfaces(&self) -> Surfaces {
        Surfaces {
            fetch: false,
            rpc: true,
            connect: false,
        }
    }

    fn target(&self, _cx: &CallContext) -> Result<Arc<dyn Target>, BindingError> {
        Ok(Arc::new(Mailer(Arc::clone(&self.0))))
    }
}

/// The main object of a session.
struct Mailer(Arc<Sender>);

impl Target for Mailer {
    fn call(&self, mut call: Call) -> Answer {
        if call.method != "send" {
            return Answer::error(call.not_a_function());
        }
        let sender = Arc::clone(&self.0);
        Answer::later(async move {
            let argument = call.take(0);
            let id = sender.send(argument).await.map_err(Refusal::into_error)?;
            Ok(Value::Object(vec![("messageId".into(), id.into())]))
        })
    }

    fn methods(&self) -> &[&str] {
        &["send"]
    }
}

/// A mail ready to go.
struct Mail {
    from: String,
    recipients: Vec<String>,
    bytes: Vec<u8>,
    id: String,
}

impl Sender {
    async fn send(&self, argument: Value) -> Result<String, Refusal> {
        let mail = if argument.member(RAW).is_some() {
            self.read_raw(&argument).await?
        } else {
            self.build(&argument)?
        };
        let envelope = envelope(&mail)?;
        let file = self.outbox.keep(mail.bytes.clone()).await.map_err(|error| {
            tracing::error!(error = %error, "mail could not be kept");
            Refusal::new("E_INTERNAL_SERVER_ERROR", "the mail could not be kept")
        })?;
        tracing::debug!(file = %file.display(), bytes = mail.bytes.len(), "mail kept");
        if let Some(smtp) = &self.config.smtp {
            smtp.send_raw(&envelope, &mail.bytes).await.map_err(|error| {
                tracing::warn!(error = %error, "mail was not delivered");
                Refusal::new(
                    "E_DELIVERY_FAILED",
                    format!("the mail server did not take the mail: {error}"),
                )
            })?;
        }
        Ok(mail.id)
    }

    fn largest(&self) -> usize {
        if self.config.verified() {
            LARGEST_TO_VERIFIED
        } else {
            LARGEST
        }
    }

    fn build(&self, argument: &Value) -> Result<Mail, Refusal> {
        let draft = Draft::read(argument)?;
        let (from, recipients) = (draft.from.email.to_string(), draft.recipients());
        self.config.check(&from, &recipients)?;
        let (bytes, id) = render::render(draft)?;
        if bytes.len() > self.largest() {
            return Err(self.too_large());
        }
        Ok(Mail {
            from,
            recipients,
            bytes,
            id,
        })
    }

    async fn read_raw(&self, argument: &Value) -> Result<Mail, Refusal> {
        let address = |field: &str| {
            argument
                .member(field)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .ok_or_else(|| Refusal::new("E_FIELD_MISSING", format!("{field} is missing")))
        };
        let (from, to) = (address("from")?, address("to")?);
        self.config.check(&from, std::slice::from_ref(&to))?;
        let bytes = match argument.member(RAW) {
            Some(Value::String(text)) => text.as_bytes().to_vec(),
            Some(Value::Bytes(bytes, _)) => bytes.clone(),
            Some(Value::Capability(Capability::Readable(stream))) => stream
                .collect(self.largest())
                .await
                .map_err(|error| match error.name() {
                    "RangeError" => self.too_large(),
                    _ => Refusal::invalid(format!("the raw mail could not be read: {error}")),
                })?,
            _ => return Err(Refusal::invalid("the raw mail must be text, bytes or a stream")),
        };
        if bytes.len() > self.largest() {
            return Err(self.too_large());
        }
        let id = raw::check(&bytes, &from)?;
        Ok(Mail {
            from,
            recipients: vec![to],
            bytes,
            id,
        })
    }

    fn too_large(&self) -> Refusal {
        Refusal::new(
            "E_CONTENT_TOO_LARGE",
            format!("the mail is larger than {} bytes", self.largest()),
        )
    }
}

fn envelope(mail: &Mail) -> Result<Envelope, Refusal> {
    let address = |text: &String| {
        text.parse::<Address>()
            .map_err(|_| Refusal::invalid(format!("`{text}` is not an e-mail address")))
    };
    let recipients = mail.recipients.iter().map(address).collect::<Result<_, _>>()?;
    Envelope::new(Some(address(&mail.from)?), recipients).map_err(|error| Refusal::invalid(error.to_string()))
}

#[cfg(test)]
mod tests;
