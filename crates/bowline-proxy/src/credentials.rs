//! The service token that is sent, and what is known about it when a remote refuses.

use bowline_access::{CLIENT_ID, CLIENT_SECRET};
use bowline_secret::Secret;
use http::{HeaderMap, HeaderValue};

/// A client id and its secret.
#[derive(Debug, Clone)]
pub struct ServiceToken {
    client_id: String,
    client_secret: Secret,
}

impl ServiceToken {
    /// A pair. Neither part's length or alphabet is checked: both are opaque (reference: Access, service tokens).
    pub fn new(client_id: impl Into<String>, client_secret: Secret) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret,
        }
    }
}

/// What there is to send.
#[derive(Debug, Clone, Default)]
pub enum CredentialState {
    /// Nothing: traffic goes on unchanged.
    #[default]
    Nothing,
    /// Half a pair, which is nothing to send but much to say.
    Half {
        /// The environment variable that is set.
        set: &'static str,
        /// The one that is missing.
        missing: &'static str,
    },
    /// A service token, sent with every request and every upgrade.
    Token(ServiceToken),
}

impl CredentialState {
    /// From two values as read from somewhere; `names` are what the somewhere calls them. White space around a value is
    /// no part of it, and an empty value is none.
    pub fn from_pair(
        id: Option<String>,
        secret: Option<String>,
        names: (&'static str, &'static str),
    ) -> Self {
        let clean = |value: Option<String>| {
            value
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        match (clean(id), clean(secret)) {
            (None, None) => Self::Nothing,
            (Some(_), None) => Self::Half {
                set: names.0,
                missing: names.1,
            },
            (None, Some(_)) => Self::Half {
                set: names.1,
                missing: names.0,
            },
            (Some(id), Some(secret)) => Self::Token(ServiceToken::new(id, Secret::new(secret))),
        }
    }

    /// The two header values, ready to be added. `None` when there is nothing to send; an error when a part cannot
    /// stand in a header.
    pub(crate) fn headers(&self) -> Result<Option<CredentialHeaders>, http::header::InvalidHeaderValue> {
        let Self::Token(token) = self else { return Ok(None) };
        let mut client_secret = HeaderValue::from_str(token.client_secret.expose())?;
        // Also keeps hyper from printing it and from indexing it.
        client_secret.set_sensitive(true);
        Ok(Some(CredentialHeaders {
            client_id: HeaderValue::from_str(&token.client_id)?,
            client_secret,
        }))
    }
}

/// What is added to a request's head.
#[derive(Clone)]
pub(crate) struct CredentialHeaders {
    client_id: HeaderValue,
    client_secret: HeaderValue,
}

impl CredentialHeaders {
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(CLIENT_ID, self.client_id.clone());
        headers.insert(CLIENT_SECRET, self.client_secret.clone());
    }
}

impl std::fmt::Debug for CredentialHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CredentialHeaders(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: (&str, &str) = ("THE_ID", "THE_SECRET");

    #[test]
    fn pairs() {
        let pair =
            |id: &str, secret: &str| CredentialState::from_pair(Some(id.into()), Some(secret.into()), NAMES);
        assert!(matches!(
            CredentialState::from_pair(None, None, NAMES),
            CredentialState::Nothing
        ));
        assert!(matches!(pair(" ", ""), CredentialState::Nothing));
        assert!(matches!(
            pair("a", ""),
            CredentialState::Half {
                set: "THE_ID",
                missing: "THE_SECRET"
            }
        ));
        assert!(matches!(
            pair("", "b"),
            CredentialState::Half {
                set: "THE_SECRET",
                missing: "THE_ID"
            }
        ));
        let mut headers = HeaderMap::new();
        let state = pair(" id.access\n", " s3cret ");
        state.headers().unwrap().unwrap().add_to(&mut headers);
        assert_eq!(
            (
                headers["cf-access-client-id"].as_bytes(),
                headers["cf-access-client-secret"].as_bytes()
            ),
            (&b"id.access"[..], &b"s3cret"[..])
        );
        assert!(!format!("{state:?} {headers:?}").contains("s3cret"));
        assert!(pair("a", "b\u{1}c").headers().is_err());
    }
}
