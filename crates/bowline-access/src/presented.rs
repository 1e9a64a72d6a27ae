//! What a request presents as its credentials.

use std::borrow::Cow;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

/// The header that carries a service token's client id.
pub const CLIENT_ID: HeaderName = HeaderName::from_static("cf-access-client-id");
/// The header that carries a service token's client secret.
pub const CLIENT_SECRET: HeaderName = HeaderName::from_static("cf-access-client-secret");
/// The header in which a client sends an application token.
pub const ACCESS_TOKEN: HeaderName = HeaderName::from_static("cf-access-token");
/// The header in which an origin gets the application token.
pub const JWT_ASSERTION: HeaderName = HeaderName::from_static("cf-access-jwt-assertion");
/// The header in which an origin gets the person's address, unsigned.
pub const USER_EMAIL: HeaderName = HeaderName::from_static("cf-access-authenticated-user-email");
/// The session cookie.
pub const SESSION_COOKIE: &str = "CF_Authorization";
/// Cookies that are the gate's and not the origin's.
const OUR_COOKIES: [&str; 3] = [SESSION_COOKIE, "CF_AppSession", "CF_Binding"];

/// Headers that belong to the gate or to a preview session and never reach a binding.
const CREDENTIALS: [HeaderName; 8] = [
    CLIENT_ID,
    CLIENT_SECRET,
    ACCESS_TOKEN,
    JWT_ASSERTION,
    USER_EMAIL,
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

/// Removes what is the gate's from a request on its way to an origin and leaves what is the origin's: its own
/// `Authorization`, its own cookies. `custom` is the application's header for service tokens; it goes only if it carried
/// one.
pub fn strip_access(headers: &mut HeaderMap, custom: Option<&HeaderName>) {
    if let Some(custom) = custom
        && headers.get_all(custom).iter().any(is_object)
    {
        while headers.remove(custom).is_some() {}
    }
    for name in &CREDENTIALS[..5] {
        while headers.remove(name).is_some() {}
    }
    if !headers.contains_key(COOKIE) {
        return;
    }
    let kept: Vec<Vec<u8>> = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty() && !OUR_COOKIES.iter().any(|ours| cookie(pair, ours).is_some()))
        .map(<[u8]>::to_vec)
        .collect();
    while headers.remove(COOKIE).is_some() {}
    // Parts of a valid value, so it is one.
    if let Some(value) = HeaderValue::from_bytes(&kept.join(&b"; "[..]))
        .ok()
        .filter(|value| !value.is_empty())
    {
        headers.insert(COOKIE, value);
    }
}

/// The value of a `name=value` pair.
fn cookie<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// The application tokens that a request carries as a credential, where Access looks for them: the session cookie,
/// `cf-access-token`, `cf-access-jwt-assertion`. Not `Authorization`, which is the origin's.
pub fn presented_sessions(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| cookie(pair.trim_ascii(), SESSION_COOKIE));
    let others = [ACCESS_TOKEN, JWT_ASSERTION]
        .into_iter()
        .flat_map(|name| headers.get_all(name).iter().map(HeaderValue::as_bytes));
    cookies
        .chain(others)
        .filter_map(|value| std::str::from_utf8(value.trim_ascii()).ok())
        .filter(|value| !value.is_empty())
        // A peer decides how many there are; what follows costs a signature check each.
        .take(4)
}

/// The service token of one request. Its `Debug` names only which parts are there.
#[derive(Clone)]
pub enum Presented<'a> {
    /// Neither header.
    Nothing,
    /// One of the two is missing or empty.
    Half {
        /// The header that is missing.
        missing: &'static str,
    },
    /// A header occurs twice, both forms are used at once, or something is not what it must be: nothing to compare safely.
    Malformed,
    /// Both parts.
    Pair {
        /// The client id.
        client_id: Cow<'a, str>,
        /// The secret's bytes. Exposed to comparison only.
        secret: Cow<'a, [u8]>,
    },
}

/// The single-header form. Names are lower case; others are refused, as Access does. Whether Access tolerates further
/// members is not known, so they are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Single<'a> {
    #[serde(rename = "cf-access-client-id", borrow)]
    client_id: Cow<'a, str>,
    #[serde(rename = "cf-access-client-secret", borrow)]
    client_secret: Cow<'a, str>,
}

impl<'a> Presented<'a> {
    /// Reads the two-header form and, where the application names one, the single header. Surrounding white space is not
    /// part of a value.
    pub fn read(headers: &'a HeaderMap, custom: Option<&HeaderName>) -> Self {
        let pair = Self::read_pair(headers);
        let Some(custom) = custom else { return pair };
        match (Self::read_single(headers, custom), pair) {
            (Self::Nothing, pair) => pair,
            (single, Self::Nothing) => single,
            _ => Self::Malformed,
        }
    }

    fn read_pair(headers: &'a HeaderMap) -> Self {
        let mut ids = headers.get_all(CLIENT_ID).iter();
        let mut secrets = headers.get_all(CLIENT_SECRET).iter();
        let (id, secret) = (ids.next(), secrets.next());
        if ids.next().is_some() || secrets.next().is_some() {
            return Self::Malformed;
        }
        let given = |value: Option<&'a HeaderValue>| {
            value
                .map(|value| value.as_bytes().trim_ascii())
                .filter(|value| !value.is_empty())
        };
        match (given(id), given(secret)) {
            (None, None) => Self::Nothing,
            (Some(_), None) => Self::Half {
                missing: "CF-Access-Client-Secret",
            },
            (None, Some(_)) => Self::Half {
                missing: "CF-Access-Client-Id",
            },
            (Some(id), Some(secret)) => match std::str::from_utf8(id) {
                Ok(client_id) => Self::Pair {
                    client_id: client_id.into(),
                    secret: secret.into(),
                },
                Err(_) => Self::Malformed,
            },
        }
    }

    fn read_single(headers: &'a HeaderMap, name: &HeaderName) -> Self {
        let mut values = headers.get_all(name).iter();
        let (value, more) = (values.next(), values.next().is_some());
        // Anything but an object is the origin's own use of the header, such as `Authorization: Bearer …`.
        let Some(value) = value.filter(|value| more || is_object(value)) else {
            return Self::Nothing;
        };
        if more {
            return if headers.get_all(name).iter().any(is_object) {
                Self::Malformed
            } else {
                Self::Nothing
            };
        }
        let Ok(Single {
            client_id,
            client_secret,
        }) = serde_json::from_slice(value.as_bytes())
        else {
            return Self::Malformed;
        };
        if client_id.trim().is_empty() || client_secret.trim().is_empty() {
            return Self::Malformed;
        }
        let secret = match client_secret {
            Cow::Borrowed(text) => text.trim().as_bytes().into(),
            Cow::Owned(text) => text.trim().as_bytes().to_vec().into(),
        };
        let client_id = match client_id {
            Cow::Borrowed(text) => text.trim().into(),
            Cow::Owned(text) => text.trim().to_owned().into(),
        };
        Self::Pair { client_id, secret }
    }

    /// The client id to look up, when a full pair was given.
    pub fn client_id(&self) -> Option<&str> {
        match self {
            Self::Pair { client_id, .. } => Some(client_id),
            _ => None,
        }
    }

    /// Whether anything of a service token is there, good or bad.
    pub fn is_something(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

fn is_object(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii_start().starts_with(b"{")
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
