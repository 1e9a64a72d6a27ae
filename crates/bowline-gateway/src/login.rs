//! A login for people while developing: an e-mail address, and a one-time code that the operator sees and not the person's
//! mailbox. Whoever can ask the operator can be anybody, so it is for development and tests.
//!
//! ```text
//! application host ── 302, CF_AppSession ─▶ team domain: login ─ address ─▶ code ─┐
//!        ▲                                                                        │
//!        └── 302, CF_Authorization ── application host: authorized ◀── hand-over ─┘
//! ```
//!
//! The hand-over is a token in a URL. It is good for a minute, and only beside the `CF_AppSession` cookie that the
//! redirect to the login set on the application's host: by itself it opens nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bowline_access::{
    Admitted, Application, Caller, Decision, DenyReason, Identity, Issue, SecretHash, Terms, UnixSeconds,
    claims, evaluate, hex, uuid_v4,
};
use bowline_access_store::{Snapshot, random};
use bowline_binding::Body;
use http::header::{CONTENT_SECURITY_POLICY, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::challenge::{self, Place};
use crate::connection::Connection;
use crate::gateway::Inner;
use crate::{respond, whole};

/// The largest form that is taken, and how long sending it may take.
const FORM: usize = 16 * 1024;
const SENDING: Duration = Duration::from_secs(30);
/// How long a code is good, in seconds, and how often it may be guessed.
const CODE: i64 = 600;
const GUESSES: u32 = 5;
/// Codes that wait for their person. More are refused: each is a line on the operator's terminal.
const WAITING: usize = 32;
/// How long a hand-over is good, in seconds.
const HAND_OVER: i64 = 60;

/// Shows a person's address and their one-time code to the operator.
type Show = dyn Fn(&str, &str) + Send + Sync;

/// The login for development.
#[derive(Clone)]
pub struct DevelopmentLogin {
    show: Arc<Show>,
    waiting: Arc<Mutex<HashMap<String, Waiting>>>,
}

/// Somebody who was asked for a code.
struct Waiting {
    email: String,
    code: SecretHash,
    guesses: u32,
    until: UnixSeconds,
}

impl std::fmt::Debug for DevelopmentLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DevelopmentLogin")
    }
}

/// What a code was good for.
enum Tried {
    Right(String),
    Wrong,
    Over,
}

impl DevelopmentLogin {
    /// A login whose codes go to `show`, as an address and a code. Nothing else may be done with a code than showing it.
    pub fn new(show: impl Fn(&str, &str) + Send + Sync + 'static) -> Self {
        Self {
            show: Arc::new(show),
            waiting: Arc::default(),
        }
    }

    /// Makes a code for an address and shows it; what the person's form sends back to say which code it is about.
    fn ask(&self, email: &str, now: UnixSeconds) -> Option<String> {
        let (id, bytes) = (hex(&random::<16>().ok()?), random::<8>().ok()?);
        let code = format!("{:06}", u64::from_be_bytes(bytes) % 1_000_000);
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.retain(|_, one| now < one.until);
            if waiting.len() >= WAITING {
                return None;
            }
            let one = Waiting {
                email: email.to_owned(),
                code: SecretHash::of(code.as_bytes()),
                guesses: GUESSES,
                until: now.saturating_add(CODE),
            };
            waiting.insert(id.clone(), one);
        }
        (self.show)(email, &code);
        Some(id)
    }

    fn attempt(&self, id: &str, code: &str, now: UnixSeconds) -> Tried {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(one) = waiting
            .get_mut(id)
            .filter(|one| now < one.until && one.guesses > 0)
        else {
            return Tried::Over;
        };
        one.guesses -= 1;
        if one.code.matches(code.trim().as_bytes()) {
            let right = Tried::Right(one.email.clone());
            waiting.remove(id);
            return right;
        }
        Tried::Wrong
    }
}

/// Where a login leads back to: what the redirect to it said, checked.
struct Wanted {
    place: Place,
    /// Path and query.
    back: String,
    /// SHA-256 of the cookie that the redirect set, in hex.
    app_session_hash: String,
}

impl Inner {
    /// A request to `/cdn-cgi/access/login/…`.
    pub(crate) async fn development_login(
        &self,
        login: &DevelopmentLogin,
        snapshot: &Snapshot,
        request: Request<Body>,
    ) -> Response<Body> {
        let now = (self.options.clock)();
        let method = request.method().clone();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let Some(wanted) = self.wanted(snapshot, &query, now) else {
            return page(
                StatusCode::BAD_REQUEST,
                "<p>This login is over, or did not begin at a protected page. Open that page again.</p>",
            );
        };
        if method == Method::GET || method == Method::HEAD {
            return page(StatusCode::OK, &address_form(&wanted));
        }
        if method != Method::POST {
            return respond::text(StatusCode::METHOD_NOT_ALLOWED, "a login is a form");
        }
        let Ok(Ok(form)) = tokio::time::timeout(SENDING, whole(request.into_body(), FORM)).await else {
            return respond::text(StatusCode::BAD_REQUEST, "the form did not arrive");
        };
        let form: HashMap<String, String> = url::form_urlencoded::parse(&form).into_owned().collect();
        match (form.get("email"), form.get("id").zip(form.get("code"))) {
            (_, Some((id, code))) => match login.attempt(id, code, now) {
                Tried::Right(email) => self.hand_over(snapshot, &wanted, &email, now),
                Tried::Wrong => page(
                    StatusCode::FORBIDDEN,
                    &format!("<p>That is not the code.</p>{}", code_form(id)),
                ),
                Tried::Over => page(
                    StatusCode::FORBIDDEN,
                    "<p>The code is over. Open the protected page again.</p>",
                ),
            },
            (Some(email), None) => {
                let email = email.trim();
                if !is_address(email) {
                    let form = address_form(&wanted);
                    return page(
                        StatusCode::BAD_REQUEST,
                        &format!("<p>That is no e-mail address.</p>{form}"),
                    );
                }
                match login.ask(email, now) {
                    Some(id) => page(StatusCode::OK, &code_form(&id)),
                    None => page(
                        StatusCode::TOO_MANY_REQUESTS,
                        "<p>Too many people are logging in. Try again later.</p>",
                    ),
                }
            }
            (None, None) => page(StatusCode::BAD_REQUEST, &address_form(&wanted)),
        }
    }

    /// Reads the query of a redirect to the login.
    fn wanted(&self, snapshot: &Snapshot, query: &str, now: UnixSeconds) -> Option<Wanted> {
        let query: HashMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let (meta, back) = (query.get("meta")?, query.get("redirect_url")?);
        let claims = self.keys.claims(snapshot, meta, "meta", now)?;
        let text = |name: &str| claims[name].as_str();
        let (aud, host) = (text("aud")?, text("hostname")?);
        // Signed by us, and what the redirect was about; the rest of the query is only a copy.
        if text("redirect_url")? != back || !back.starts_with('/') {
            return None;
        }
        let application = Arc::clone(snapshot.application(aud)?);
        Some(Wanted {
            place: Place {
                host: host.to_owned(),
                issuer: self.issuer(snapshot),
                domain: application.destinations.first()?.as_str().to_owned(),
                application,
            },
            back: back.to_string(),
            app_session_hash: text("app_session_hash")?.to_owned(),
        })
    }

    /// Sends a person who gave the right code back to the application's host.
    fn hand_over(
        &self,
        snapshot: &Snapshot,
        wanted: &Wanted,
        email: &str,
        now: UnixSeconds,
    ) -> Response<Body> {
        let claims = json!({
            "type": "hand-over", "aud": &*wanted.place.application.aud, "hostname": wanted.place.host,
            "email": email, "app_session_hash": wanted.app_session_hash, "iat": now, "exp": now + HAND_OVER,
        });
        let Ok(token) = self.keys.sign(snapshot, &claims) else {
            return respond::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the login cannot be completed now",
            );
        };
        let mut location = format!(
            "{}/cdn-cgi/access/authorized?hand_over={token}&redirect_url=",
            challenge::origin_url(&wanted.place)
        );
        challenge::percent_encode(&wanted.back, &mut location);
        to(StatusCode::SEE_OTHER, &location)
    }

    /// The end of the chain, on the application's host: checks the hand-over, asks the policies, sets the cookie.
    pub(crate) fn authorized(
        &self,
        snapshot: &Snapshot,
        connection: &Connection,
        host: &str,
        request: &Request<Body>,
    ) -> Response<Body> {
        let (now, headers) = ((self.options.clock)(), request.headers());
        let query = request.uri().query().unwrap_or_default();
        let query: HashMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let checked = query
            .get("hand_over")
            .and_then(|token| self.keys.claims(snapshot, token, "hand-over", now))
            .filter(|claims| {
                claims["hostname"]
                    .as_str()
                    .is_some_and(|name| name.eq_ignore_ascii_case(host))
            })
            .filter(|claims| app_session(headers).is_some_and(|hash| claims["app_session_hash"] == hash));
        let (Some(claims), Some(back)) = (
            checked,
            query.get("redirect_url").filter(|back| back.starts_with('/')),
        ) else {
            return page(
                StatusCode::BAD_REQUEST,
                "<p>This login is over, or belongs to another browser. Open the protected page again.</p>",
            );
        };
        let application = claims["aud"].as_str().and_then(|aud| snapshot.application(aud));
        let (Some(application), Some(email)) = (application, claims["email"].as_str()) else {
            return respond::blocked(StatusCode::FORBIDDEN, headers, None);
        };
        let place = Place {
            host: host.to_owned(),
            issuer: self.issuer(snapshot),
            domain: application
                .destinations
                .first()
                .map_or_else(|| "*".into(), |first| first.as_str().to_owned()),
            application: Arc::clone(application),
        };
        let session = self.session(snapshot, &place, connection, email, now);
        let (decision, reason) = match session {
            Some(_) => ("allow", None),
            None => ("deny", Some(DenyReason::NotAuthorised)),
        };
        self.note(
            request,
            connection,
            Some(email.into()),
            Some(&place),
            decision,
            reason,
            None,
        );
        match session {
            Some(cookie) => {
                let mut response = to(
                    StatusCode::FOUND,
                    &format!("{}{back}", challenge::origin_url(&place)),
                );
                response.headers_mut().append(SET_COOKIE, cookie);
                response
            }
            None => respond::blocked(StatusCode::FORBIDDEN, headers, Some(&place)),
        }
    }

    /// The session cookie of a person whom the application's policies admit.
    fn session(
        &self,
        snapshot: &Snapshot,
        place: &Place,
        connection: &Connection,
        email: &str,
        now: UnixSeconds,
    ) -> Option<HeaderValue> {
        let identity = identity(email)?;
        let caller = Caller {
            address: connection.address,
            identity: Some(&identity),
            ..Caller::default()
        };
        let terms = Terms {
            groups: &snapshot.groups,
            machines_only: false,
        };
        let application: &Application = &place.application;
        let Decision::Allow(permit) = evaluate(application, &caller, terms) else {
            return None;
        };
        if !matches!(permit.who(), Admitted::Person(_)) {
            return None;
        }
        let issue = Issue {
            issuer: &place.issuer,
            now,
            machine_audience: snapshot.organization.machine_audience,
        };
        let token = self
            .keys
            .sign(snapshot, &claims(application, &permit, issue)?)
            .ok()?;
        let token = HeaderValue::try_from(token).ok()?;
        challenge::session_cookie(application, &token, permit.session(), now)
    }
}

/// A person by their address: the subject is always the same for one address.
fn identity(email: &str) -> Option<Identity> {
    let subject = Sha256::digest(format!("user {}", email.to_lowercase()).as_bytes());
    Some(Identity {
        email: email.to_owned(),
        subject: uuid_v4(&subject[..16]),
        nonce: hex(&random::<8>().ok()?),
    })
}

/// SHA-256 of the `CF_AppSession` cookie, in hex.
fn app_session(headers: &HeaderMap) -> Option<String> {
    let value = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix("CF_AppSession="))?;
    Some(hex(&Sha256::digest(value.as_bytes())))
}

/// Something before and after one `@`, of characters that mean nothing elsewhere. Whether it exists is nobody's business:
/// no mail is sent.
fn is_address(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c))
    };
    text.len() <= 254
        && text
            .split_once('@')
            .is_some_and(|(name, host)| plain(name) && plain(host))
}

fn to(status: StatusCode, location: &str) -> Response<Body> {
    let mut response = respond::found();
    *response.status_mut() = status;
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn address_form(wanted: &Wanted) -> String {
    // The host has been a `Host` header, of which nothing but letters, digits, dots and the like is taken.
    format!(
        "<p>Log in to <b>{}</b>.</p>\n<form method=\"post\">\n<label>E-mail <input name=\"email\" type=\"email\" required autofocus></label>\n\
         <button>Send a code</button>\n</form>",
        wanted.place.host
    )
}

fn code_form(id: &str) -> String {
    // An id that came back may be anything; ours are hex.
    let id: String = id.chars().filter(char::is_ascii_hexdigit).collect();
    format!(
        "<p>The code is on the terminal of the gateway.</p>\n<form method=\"post\">\n<input name=\"id\" type=\"hidden\" value=\"{id}\">\n\
         <label>Code <input name=\"code\" inputmode=\"numeric\" autocomplete=\"one-time-code\" required autofocus></label>\n\
         <button>Log in</button>\n</form>"
    )
}

/// The title's separator is U+30FB, as in the login page that clients know.
fn page(status: StatusCode, content: &str) -> Response<Body> {
    let mut response = respond::html(
        status,
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Sign in \u{30fb} Cloudflare Access</title></head>\n\
             <body>\n<h1>Development login</h1>\n<p><strong>For development only: whoever sees the gateway's terminal can log in as \
             anybody.</strong></p>\n{content}\n</body>\n</html>\n"
        ),
    );
    response.headers_mut().insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once_and_may_be_guessed_five_times() {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&shown);
        let login = DevelopmentLogin::new(move |email, code| {
            to.lock().unwrap().push((email.to_owned(), code.to_owned()));
        });
        let id = login.ask("ada@example.com", 1_000).unwrap();
        let (email, code) = shown.lock().unwrap()[0].clone();
        assert_eq!((email.as_str(), code.len()), ("ada@example.com", 6));
        assert!(matches!(login.attempt(&id, "wrong", 1_000), Tried::Wrong));
        assert!(matches!(login.attempt("other", &code, 1_000), Tried::Over));
        assert!(matches!(
            login.attempt(&id, &format!(" {code} "), 1_599),
            Tried::Right(_)
        ));
        assert!(matches!(login.attempt(&id, &code, 1_599), Tried::Over));

        let id = login.ask("ada@example.com", 1_000).unwrap();
        let code = shown.lock().unwrap()[1].1.clone();
        for _ in 0..GUESSES {
            assert!(matches!(login.attempt(&id, "wrong", 1_000), Tried::Wrong));
        }
        assert!(matches!(login.attempt(&id, &code, 1_000), Tried::Over));
        let id = login.ask("ada@example.com", 1_000).unwrap();
        let code = shown.lock().unwrap()[2].1.clone();
        assert!(matches!(login.attempt(&id, &code, 1_600), Tried::Over));
        for number in 0..2 * WAITING {
            assert_eq!(
                login.ask("b@example.com", 1_601).is_some(),
                number < WAITING,
                "{number}"
            );
        }
        assert!(!format!("{login:?}").contains(&code));
    }

    #[test]
    fn addresses() {
        for (text, good) in [
            ("ada@example.com", true),
            ("a.b+c@x-y.example", true),
            ("ada", false),
            ("@example.com", false),
            ("a@b@c", false),
            ("a\u{1b}[2J@example.com", false),
            ("<b>@example.com", false),
        ] {
            assert_eq!(is_address(text), good, "{text:?}");
        }
    }
}
