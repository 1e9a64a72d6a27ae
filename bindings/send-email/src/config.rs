//! The binding's own configuration.

use std::time::Duration;

use bowline_binding::ConfigError;
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use serde_json::Value;

use crate::error::Refusal;

/// How long an SMTP server may take for each step.
const SMTP: Duration = Duration::from_secs(30);

/// Who may send to whom, and how.
pub(crate) struct Config {
    pub(crate) name: String,
    destinations: Option<Vec<String>>,
    senders: Option<Vec<String>>,
    pub(crate) smtp: Option<AsyncSmtpTransport<Tokio1Executor>>,
}

impl std::fmt::Debug for Config {
    // The transport may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("smtp", &self.smtp.is_some())
            .finish_non_exhaustive()
    }
}

impl Config {
    pub(crate) fn parse(entry: &Value) -> Result<Self, ConfigError> {
        let name = entry
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let single = match entry.get("destination_address") {
            None => None,
            Some(Value::String(address)) => Some(vec![address.to_ascii_lowercase()]),
            Some(_) => return Err(ConfigError::new("destination_address", "must be an address")),
        };
        let several = addresses(entry, "allowed_destination_addresses")?;
        if single.is_some() && several.is_some() {
            let problem = "excludes `allowed_destination_addresses`; give one of the two";
            return Err(ConfigError::new("destination_address", problem));
        }
        let smtp = match entry.get("smtp") {
            None => None,
            // The parser's own text could repeat the URL, password and all.
            Some(url) => Some(
                url.as_str()
                    .and_then(|url| AsyncSmtpTransport::<Tokio1Executor>::from_url(url).ok())
                    .ok_or_else(|| {
                        ConfigError::new(
                            "smtp",
                            "must be a URL such as smtp://127.0.0.1:25 or smtps://user:password@host",
                        )
                    })?,
            ),
        };
        Ok(Self {
            name,
            destinations: single.or(several),
            senders: addresses(entry, "allowed_sender_addresses")?,
            smtp: smtp.map(|builder| builder.timeout(Some(SMTP)).build()),
        })
    }

    /// Whether every recipient stands in the configuration: larger mails may go to those.
    pub(crate) fn verified(&self) -> bool {
        self.destinations.is_some()
    }

    pub(crate) fn check(&self, from: &str, recipients: &[String]) -> Result<(), Refusal> {
        let listed = |list: &Option<Vec<String>>, address: &str| {
            list.as_ref()
                .is_none_or(|list| list.contains(&address.to_ascii_lowercase()))
        };
        if !listed(&self.senders, from) {
            return Err(Refusal::new(
                "E_SENDER_NOT_VERIFIED",
                format!("email from {from} not allowed"),
            ));
        }
        match recipients.iter().find(|to| !listed(&self.destinations, to)) {
            Some(to) => Err(Refusal::new(
                "E_RECIPIENT_NOT_ALLOWED",
                format!("email to {to} not allowed"),
            )),
            None => Ok(()),
        }
    }
}

fn addresses(entry: &Value, key: &str) -> Result<Option<Vec<String>>, ConfigError> {
    let shape = || ConfigError::new(key, "must be a list of addresses");
    match entry.get(key) {
        None => Ok(None),
        Some(Value::Array(list)) => list
            .iter()
            .map(|item| item.as_str().map(str::to_ascii_lowercase).ok_or_else(shape))
            .collect::<Result<_, _>>()
            .map(Some),
        Some(_) => Err(shape()),
    }
}
