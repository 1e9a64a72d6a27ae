//! A service token and the headers it travels in.

use bowline_access::{CLIENT_ID, CLIENT_SECRET};
use bowline_secret::Secret;
use http::header::InvalidHeaderValue;
use http::{HeaderName, HeaderValue};

use crate::Origin;
use crate::prepared::{Prepared, sensitive};

/// A client id and its secret; during a rotation also the secret that is about to end.
#[derive(Debug, Clone)]
pub struct ServiceToken {
    client_id: String,
    client_secret: Secret,
    previous_secret: Option<Secret>,
    header: Option<HeaderName>,
    origins: Vec<Origin>,
}

impl ServiceToken {
    /// A pair, and where its two values came from. Neither part's length or alphabet is checked: both are opaque
    /// (reference: Access, service tokens).
    pub fn new(client_id: impl Into<String>, client_secret: Secret, origins: Vec<Origin>) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret,
            previous_secret: None,
            header: None,
            origins,
        }
    }

    /// Adds the secret that the token had before a rotation. It is tried when the newer one is refused.
    #[must_use]
    pub fn with_previous(mut self, secret: Option<Secret>) -> Self {
        self.previous_secret = secret;
        self
    }

    /// Sends the pair as one JSON object in this header, as the application's `read_service_tokens_from_header` asks.
    #[must_use]
    pub fn in_header(mut self, header: Option<HeaderName>) -> Self {
        self.header = header;
        self
    }

    /// The client id, which is no secret.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Where the values came from, each source once.
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// Whether there are two secrets.
    pub fn has_previous(&self) -> bool {
        self.previous_secret.is_some()
    }

    /// The headers of every secret, the newer first.
    pub(crate) fn prepare(&self) -> Result<Vec<Prepared>, InvalidHeaderValue> {
        std::iter::once(&self.client_secret)
            .chain(&self.previous_secret)
            .map(|secret| self.headers(secret))
            .collect()
    }

    fn headers(&self, secret: &Secret) -> Result<Prepared, InvalidHeaderValue> {
        match &self.header {
            None => Ok(Prepared::new(vec![
                (CLIENT_ID, HeaderValue::from_str(&self.client_id)?),
                (CLIENT_SECRET, sensitive(secret.expose())?),
            ])),
            Some(header) => {
                // Member names are matched in lower case (reference: the single-header form).
                let pair = serde_json::json!({
                    CLIENT_ID.as_str(): self.client_id,
                    CLIENT_SECRET.as_str(): secret.expose(),
                });
                Ok(Prepared::new(vec![(
                    header.clone(),
                    sensitive(&pair.to_string())?,
                )]))
            }
        }
    }
}
