//! A login for people while developing: an e-mail address, and a one-time code that the operator sees and not the person's
//! mailbox. Whoever can ask the operator can be anybody, so it is for development and tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bowline_access::{SecretHash, UnixSeconds, hex};
use bowline_access_store::{Snapshot, random};
use bowline_binding::Body;
use http::{Method, Request, Response, StatusCode};

use super::page::page;
use super::{Wanted, form};
use crate::gateway::Inner;
use crate::respond;

/// How long a code is good, in seconds, and how often it may be guessed.
const CODE: i64 = 600;
const GUESSES: u32 = 5;
/// Codes that wait for their person. More are refused: each is a line on the operator's terminal.
const WAITING: usize = 32;

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

impl DevelopmentLogin {
    /// The page of the login, and what its forms send.
    pub(super) async fn answer(
        &self,
        gateway: &Inner,
        snapshot: &Snapshot,
        wanted: &Wanted,
        request: Request<Body>,
    ) -> Response<Body> {
        let now = (gateway.options.clock)();
        let method = request.method().clone();
        if method == Method::GET || method == Method::HEAD {
            return warned(StatusCode::OK, &address_form(wanted));
        }
        if method != Method::POST {
            return respond::text(StatusCode::METHOD_NOT_ALLOWED, "a login is a form");
        }
        let Some(form) = form(request.into_body()).await else {
            return respond::text(StatusCode::BAD_REQUEST, "the form did not arrive");
        };
        match (form.get("email"), form.get("id").zip(form.get("code"))) {
            (_, Some((id, code))) => match self.attempt(id, code, now) {
                Tried::Right(email) => gateway.hand_over(snapshot, wanted, &email, now),
                Tried::Wrong => warned(
                    StatusCode::FORBIDDEN,
                    &format!("<p>That is not the code.</p>{}", code_form(id)),
                ),
                Tried::Over => warned(
                    StatusCode::FORBIDDEN,
                    "<p>The code is over. Open the protected page again.</p>",
                ),
            },
            (Some(email), None) => {
                let email = email.trim();
                if !is_address(email) {
                    let form = address_form(wanted);
                    return warned(
                        StatusCode::BAD_REQUEST,
                        &format!("<p>That is no e-mail address.</p>{form}"),
                    );
                }
                match self.ask(email, now) {
                    Some(id) => warned(StatusCode::OK, &code_form(&id)),
                    None => warned(
                        StatusCode::TOO_MANY_REQUESTS,
                        "<p>Too many people are logging in. Try again later.</p>",
                    ),
                }
            }
            (None, None) => warned(StatusCode::BAD_REQUEST, &address_form(wanted)),
        }
    }
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

/// A page under the warning that this is no login for real use.
fn warned(status: StatusCode, content: &str) -> Response<Body> {
    page(
        status,
        &format!(
            "<h1>Development login</h1>\n<p><strong>For development only: whoever sees the gateway's terminal can log in as \
             anybody.</strong></p>\n{content}"
        ),
    )
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
