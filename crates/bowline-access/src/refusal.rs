//! What a refused request is answered with.
//!
//! The table is data: the first row that fits decides. Source: public measurements of Access in October 2026 and
//! Cloudflare's pages on strict authentication and on `service_auth_401_redirect`.

use http::header::{ACCEPT, ORIGIN};
use http::{HeaderMap, Method};

use crate::{Application, Denial, DenyReason};

/// The body of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Page {
    /// The block page, or its JSON form where the client asks for JSON.
    Blocked,
    /// A small page titled "401 Unauthorized".
    Unauthorized,
    /// The body of a redirect to the login.
    Found,
}

/// How to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The body.
    pub page: Page,
    /// Whether `www-authenticate` names the protected-resource document.
    pub challenge: bool,
}

/// What of a request chooses among refusals. An upgrade makes no difference: it is refused like any other request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RequestShape {
    /// `X-Requested-With: XMLHttpRequest`. `Sec-Fetch-Mode: cors` alone does not count.
    pub xhr: bool,
    /// A CORS preflight.
    pub preflight: bool,
    /// Anything of a service token was presented.
    pub service_token: bool,
}

impl RequestShape {
    /// Reads a request. Whether a service token was presented is the reader of credentials' to say.
    pub fn read(method: &Method, headers: &HeaderMap, service_token: bool) -> Self {
        Self {
            xhr: headers
                .get("x-requested-with")
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"xmlhttprequest")),
            preflight: is_preflight(method, headers),
            service_token,
        }
    }
}

/// Whether a request is a CORS preflight (Fetch standard, "CORS-preflight fetch").
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key("access-control-request-method")
}

/// Whether the client asks for JSON.
pub fn wants_json(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|part| part.trim_ascii().starts_with(b"application/json"))
    })
}

/// One row. `None` fits anything.
struct Row {
    preflight: Option<bool>,
    strict: Option<bool>,
    service_token: Option<bool>,
    authenticated: Option<bool>,
    login: Option<bool>,
    answer_401: Option<bool>,
    xhr: Option<bool>,
    refusal: Refusal,
}

const ANY: Row = Row {
    preflight: None,
    strict: None,
    service_token: None,
    authenticated: None,
    login: None,
    answer_401: None,
    xhr: None,
    refusal: Refusal {
        status: 403,
        page: Page::Blocked,
        challenge: false,
    },
};

const UNAUTHORIZED: Refusal = Refusal {
    status: 401,
    page: Page::Blocked,
    challenge: false,
};

static TABLE: [Row; 7] = [
    // Preflights carry no credentials, so a login would not help.
    Row {
        preflight: Some(true),
        ..ANY
    },
    // Strict: a credential that cannot authenticate is 401, one that no policy admits is 403, never a login.
    Row {
        strict: Some(true),
        service_token: Some(true),
        authenticated: Some(false),
        refusal: UNAUTHORIZED,
        ..ANY
    },
    Row {
        strict: Some(true),
        service_token: Some(true),
        ..ANY
    },
    // A machine that Service Auth blocks gets 401 where the application says so, whether or not people may log in.
    Row {
        answer_401: Some(true),
        service_token: Some(true),
        refusal: UNAUTHORIZED,
        ..ANY
    },
    Row {
        answer_401: Some(true),
        login: Some(false),
        refusal: UNAUTHORIZED,
        ..ANY
    },
    // Where people may log in, everything else leads there: wrong secrets too.
    Row {
        login: Some(true),
        xhr: Some(true),
        refusal: Refusal {
            status: 401,
            page: Page::Unauthorized,
            challenge: true,
        },
        ..ANY
    },
    Row {
        login: Some(true),
        refusal: Refusal {
            status: 302,
            page: Page::Found,
            challenge: true,
        },
        ..ANY
    },
];

/// Chooses the answer to a refused request.
pub fn refusal(application: &Application, denial: &Denial, shape: RequestShape, strict: bool) -> Refusal {
    let authenticated = !denial.reason.is_failed_authentication();
    // A policy that refuses by name refuses people who log in, too, unless an earlier one could admit them.
    let login = match denial.reason {
        DenyReason::Denied | DenyReason::Unsupported => denial.login,
        _ => application.has_allow(),
    };
    let answer_401 = application.service_auth_401_redirect
        && application
            .policies
            .iter()
            .any(|policy| policy.action == crate::Action::NonIdentity);
    let fits = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
    TABLE
        .iter()
        .find(|row| {
            fits(row.preflight, shape.preflight)
                && fits(row.strict, strict)
                && fits(row.service_token, shape.service_token)
                && fits(row.authenticated, authenticated)
                && fits(row.login, login)
                && fits(row.answer_401, answer_401)
                && fits(row.xhr, shape.xhr)
        })
        .map_or(ANY.refusal, |row| row.refusal)
}
