//! The login of a program: a browser opens `/cdn-cgi/access/cli` on the application's host with the program's public key,
//! its person logs in and agrees, and the tokens go to the program sealed for that key.
//!
//! Source: cloudflared 2026.8, `token/`, and reference of the client's side. The question whether the person agrees is
//! what `skip_interstitial` of the application skips: without it, a link with somebody else's key would be enough to take
//! a session away.

use std::collections::HashMap;
use std::sync::Arc;

use bowline_access::{Application, Identity, Subject, UnixSeconds, presented_sessions};
use bowline_access_store::Snapshot;
use bowline_binding::{Body, empty};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::json;

use super::page::{over, page};
use super::transfer::{Key, key};
use super::{form, hash};
use crate::challenge::Place;
use crate::connection::Connection;
use crate::gateway::Inner;
use crate::identify::Known;
use crate::respond;

/// How long a person may think before they agree, in seconds.
const AGREES: i64 = 300;

/// What a program asks for.
struct Asked {
    key: Key,
    /// The same in base64url.
    public: String,
    application: Arc<Application>,
    /// Whether it wants the session with the team as well.
    org_token: bool,
}

impl Asked {
    fn read(snapshot: &Snapshot, host: &str, query: &str) -> Option<Self> {
        let query: HashMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let public = query.get("token")?;
        let application = snapshot.application(query.get("aud")?)?;
        // The cookie of a login is for a host: only an application's own hosts may have it.
        application.stands_on(host).then_some(())?;
        Some(Self {
            key: key(public)?,
            public: public.to_string(),
            application: Arc::clone(application),
            org_token: query.get("send_org_token").is_some_and(|value| value == "true"),
        })
    }
}

/// A person who is logged in, by the session that says so.
struct Person {
    identity: Identity,
    /// SHA-256 of the session's token, in hex.
    session: String,
}

impl Inner {
    /// A request to `/cdn-cgi/access/cli`.
    pub(super) async fn cli(
        &self,
        snapshot: &Snapshot,
        connection: &Connection,
        host: &str,
        request: Request<Body>,
    ) -> Response<Body> {
        let now = (self.options.clock)();
        let asked = Asked::read(snapshot, host, request.uri().query().unwrap_or_default());
        let place = asked
            .as_ref()
            .and_then(|asked| self.place_of(snapshot, host, Arc::clone(&asked.application)));
        let (Some(asked), Some(place)) = (asked, place) else {
            return over(
                StatusCode::BAD_REQUEST,
                "This is no login of a program to an application of this host. Start the program's login again.",
            );
        };
        let Some(person) = self.person(snapshot, &place, request.headers(), now) else {
            return self.login(snapshot, &place, &request);
        };
        let (parts, body) = request.into_parts();
        let agreed = match parts.method {
            Method::GET => asked.application.skip_interstitial,
            Method::POST => {
                let form = form(body).await.unwrap_or_default();
                form.get("agreement")
                    .and_then(|token| self.keys.claims(snapshot, token, "cli-agreement", now))
                    .is_some_and(|claims| {
                        claims["session"] == person.session
                            && claims["public"] == asked.public
                            && claims["aud"] == *asked.application.aud
                    })
            }
            _ => return respond::text(StatusCode::METHOD_NOT_ALLOWED, "a login is a page and a form"),
        };
        if !agreed {
            return self.question(snapshot, &place, &asked, &person, now);
        }
        let email = &person.identity.email;
        let session = self.session(snapshot, &place, connection, email, now);
        let noted = Request::from_parts(parts, empty());
        self.note_login(&noted, connection, &place, email, session.is_some());
        let Some((token, _)) = session else {
            return respond::blocked(StatusCode::FORBIDDEN, noted.headers(), Some(&place));
        };
        let mut login = json!({"app_token": token.to_str().unwrap_or_default()});
        if asked.org_token {
            login["org_token"] = self.team_token(snapshot, &place, email, now).into();
        }
        if self.boxes.put(asked.key, &login, now) {
            over(
                StatusCode::OK,
                "You are signed in, and so is the program. You may close this page.",
            )
        } else {
            over(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many programs are logging in. Try again in a few minutes.",
            )
        }
    }

    /// Who is logged in to the application.
    fn person(
        &self,
        snapshot: &Snapshot,
        place: &Place,
        headers: &HeaderMap,
        now: UnixSeconds,
    ) -> Option<Person> {
        let known = Known {
            snapshot,
            keys: &self.keys,
            throttle: &self.throttle,
            issuer: &place.issuer,
            now,
        };
        let aud = &*place.application.aud;
        presented_sessions(headers).find_map(|token| {
            let session = self.keys.session(snapshot, token, &place.issuer, now)?;
            let ours = session.audiences.iter().any(|audience| audience == aud);
            if !ours || known.is_revoked(&session, aud) {
                return None;
            }
            match session.subject {
                Subject::Person(identity) => Some(Person {
                    identity,
                    session: hash(token),
                }),
                Subject::Machine(_) => None,
            }
        })
    }

    /// Asks the person whether a program may have their login. The answer is good with their session only, so that no
    /// other site can give it.
    fn question(
        &self,
        snapshot: &Snapshot,
        place: &Place,
        asked: &Asked,
        person: &Person,
        now: UnixSeconds,
    ) -> Response<Body> {
        let claims = json!({
            "type": "cli-agreement", "aud": &*asked.application.aud, "public": asked.public,
            "session": person.session, "iat": now, "exp": now + AGREES,
        });
        let Ok(agreement) = self.keys.sign(snapshot, &claims) else {
            return respond::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the login cannot be completed now",
            );
        };
        // The host has been a `Host` header, of which nothing but letters, digits, dots and the like is taken.
        page(
            StatusCode::OK,
            &format!(
                "<h1>Sign in a program</h1>\n<p>A program asks to use <b>{}</b> as <b>{}</b>.</p>\n\
                 <p>Agree only if you started its login yourself, just now.</p>\n<form method=\"post\">\n\
                 <input name=\"agreement\" type=\"hidden\" value=\"{agreement}\">\n<button>Agree</button>\n</form>",
                place.host,
                escaped(&person.identity.email)
            ),
        )
    }
}

/// An address may have come from an identity provider.
fn escaped(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn addresses_are_text() {
        assert_eq!(escaped("<b>\u{7}\"a\"&b"), "&lt;b&gt;&quot;a&quot;&amp;b");
    }
}
