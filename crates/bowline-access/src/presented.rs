//! What a request presents as its credentials.

use http::{HeaderMap, HeaderName};

/// The header that carries a service token's client id.
pub const CLIENT_ID: HeaderName = HeaderName::from_static("cf-access-client-id");
/// The header that carries a service token's client secret.
pub const CLIENT_SECRET: HeaderName = HeaderName::from_static("cf-access-client-secret");

/// Headers that belong to the gate or to a preview session and never reach a binding.
const CREDENTIALS: [HeaderName; 8] = [
    CLIENT_ID,
    CLIENT_SECRET,
    HeaderName::from_static("cf-access-token"),
    HeaderName::from_static("cf-access-jwt-assertion"),
    HeaderName::from_static("cf-access-authenticated-user-email"),
    HeaderName::from_static("cf-workers-preview-token"),
    HeaderName::from_static("authorization"),
    HeaderName::from_static("cookie"),
];

/// Removes every credential and preview header from an outer request. Headers that user code gave to a binding travel
/// under `MF-Header-*` and are untouched.
pub fn strip_credentials(headers: &mut HeaderMap) {
    for name in &CREDENTIALS {
        while headers.remove(name).is_some() {}
    }
}

/// The service-token headers of one request. Borrowed, and its `Debug` names only which parts are there.
#[derive(Clone, Copy)]
pub enum Presented<'a> {
    /// Neither header.
    Nothing,
    /// One of the two is missing or empty.
    Half {
        /// The header that is missing.
        missing: &'static str,
    },
    /// A header occurs twice, or the client id is not text: nothing to compare safely.
    Malformed,
    /// Both headers.
    Pair {
        /// The client id.
        client_id: &'a str,
        /// The secret's bytes. Exposed to comparison only.
        secret: &'a [u8],
    },
}

impl<'a> Presented<'a> {
    /// Reads the two-header form. Surrounding white space is not part of a value.
    pub fn read(headers: &'a HeaderMap) -> Self {
        let mut ids = headers.get_all(CLIENT_ID).iter();
        let mut secrets = headers.get_all(CLIENT_SECRET).iter();
        let (id, secret) = (ids.next(), secrets.next());
        if ids.next().is_some() || secrets.next().is_some() {
            return Self::Malformed;
        }
        let id = id
            .map(|value| value.as_bytes().trim_ascii())
            .filter(|value| !value.is_empty());
        let secret = secret
            .map(|value| value.as_bytes().trim_ascii())
            .filter(|value| !value.is_empty());
        match (id, secret) {
            (None, None) => Self::Nothing,
            (Some(_), None) => Self::Half {
                missing: "CF-Access-Client-Secret",
            },
            (None, Some(_)) => Self::Half {
                missing: "CF-Access-Client-Id",
            },
            (Some(id), Some(secret)) => match std::str::from_utf8(id) {
                Ok(client_id) => Self::Pair { client_id, secret },
                Err(_) => Self::Malformed,
            },
        }
    }

    /// The client id to look up, when a full pair was given.
    pub fn client_id(&self) -> Option<&'a str> {
        match self {
            Self::Pair { client_id, .. } => Some(client_id),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Half { missing } => write!(f, "Half {{ missing: {missing} }}"),
            Self::Malformed => f.write_str("Malformed"),
            Self::Pair { client_id, .. } => write!(f, "Pair {{ client_id: {client_id:?}, secret: **** }}"),
        }
    }
}
