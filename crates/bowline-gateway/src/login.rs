//! Logins of people, from the redirect that a protected page answers with to the session.
//!
//! ```text
//! application host ── 302, CF_AppSession ─▶ team domain: login ─ who are you? ─┐   development: a code on the terminal
//!        ▲                                                                     │   OpenID Connect: the provider asks
//!        └── 302, CF_Authorization ── application host: authorized ◀─ hand-over┘
//! ```
//!
//! The hand-over is a token in a URL. It is good for a minute, and only beside the `CF_AppSession` cookie that the
//! redirect to the login set on the application's host: by itself it opens nothing.
//!
//! Whoever logged in has a session with the team as well, for a day: an org token, which leads through the login page
//! without a question. A browser has it as a cookie of the team's host; a program gets it with its login ([`cli`]).

mod cli;
mod development;
mod oidc;
mod page;
mod transfer;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bowline_access::{
    Admitted, Application, Caller, Decision, DenyReason, Identity, Issue, Permit, SESSION_COOKIE, Terms,
    UnixSeconds, claims, evaluate, hex, uuid_v4,
};
use bowline_access_store::{Snapshot, random};
use bowline_binding::Body;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use development::DevelopmentLogin;
pub use oidc::{OidcError, OidcLogin, OidcSettings};
pub(crate) use transfer::Boxes;

use self::page::{over, to};
use crate::challenge::{self, Place};
use crate::connection::Connection;
use crate::gateway::Inner;
use crate::{endpoints, respond, whole};

/// The largest form that is taken, and how long sending it may take.
const FORM: usize = 16 * 1024;
const SENDING: Duration = Duration::from_secs(30);
/// How long a hand-over is good, in seconds.
const HAND_OVER: i64 = 60;
/// How long a session with the team lasts, in seconds: the documented default.
const TEAM_SESSION: i64 = 24 * 3600;

/// How people log in.
#[derive(Debug, Clone)]
pub enum Login {
    /// By any address and a code on the operator's terminal: for development and tests.
    Development(DevelopmentLogin),
    /// At an identity provider that speaks OpenID Connect.
    Oidc(Arc<OidcLogin>),
}

impl Login {
    /// The kind of identity provider, as `get-identity` spells it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Development(_) => "onetimepin",
            Self::Oidc(_) => "oidc",
        }
    }
}

/// A request that belongs to a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// The login page, on the team domain.
    Page,
    /// Back from the identity provider, on the team domain.
    Callback,
    /// Back from the login page, on the application's host.
    Authorized,
    /// A program's login, on the application's host.
    Cli,
    /// Where that is handed over, for the public key that is named.
    Transfer(&'a str),
}

impl<'a> Step<'a> {
    /// The step that a path stands for.
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix(endpoints::OURS)?;
        Some(match path {
            "login" => Self::Page,
            "callback" => Self::Callback,
            "authorized" => Self::Authorized,
            "cli" => Self::Cli,
            _ if path.starts_with("login/") => Self::Page,
            _ => Self::Transfer(path.strip_prefix("transfer/")?),
        })
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
    /// Answers a request of a login.
    pub(crate) async fn log_in(
        &self,
        login: &Login,
        snapshot: &Snapshot,
        connection: &Connection,
        host: &str,
        request: Request<Body>,
    ) -> Response<Body> {
        let path = request.uri().path().to_owned();
        match Step::of(&path) {
            Some(Step::Page) => self.login_page(login, snapshot, request).await,
            Some(Step::Authorized) => self.authorized(snapshot, connection, host, &request),
            Some(Step::Cli) => self.cli(snapshot, connection, host, request).await,
            Some(Step::Transfer(key)) => self.transfer(request.method() == Method::GET, key).await,
            Some(Step::Callback) if let Login::Oidc(oidc) = login => {
                let (query, headers) = (
                    request.uri().query().unwrap_or_default().to_owned(),
                    request.headers().clone(),
                );
                oidc.callback(self, snapshot, &query, &headers).await
            }
            _ => respond::text(StatusCode::NOT_FOUND, "there is no such endpoint of Access"),
        }
    }

    /// A request to `/cdn-cgi/access/login/…`.
    async fn login_page(&self, login: &Login, snapshot: &Snapshot, request: Request<Body>) -> Response<Body> {
        let now = (self.options.clock)();
        let Some(wanted) = self.wanted(snapshot, request.uri().query().unwrap_or_default(), now) else {
            return over(
                StatusCode::BAD_REQUEST,
                "This login is over, or did not begin at a protected page. Open that page again.",
            );
        };
        let asks = request.method() == Method::GET || request.method() == Method::HEAD;
        if asks && let Some(email) = self.team_session(snapshot, request.headers(), now) {
            return self.hand_over(snapshot, &wanted, &email, now);
        }
        // Older cloudflareds learn from here which application they follow redirects for.
        let domain = HeaderValue::try_from(&wanted.place.domain);
        let mut response = match login {
            Login::Development(development) => development.answer(self, snapshot, &wanted, request).await,
            Login::Oidc(_) if !asks => {
                respond::text(StatusCode::METHOD_NOT_ALLOWED, "this page can only be read")
            }
            Login::Oidc(oidc) => oidc.begin(self, snapshot, &wanted).await,
        };
        if let Ok(domain) = domain {
            response.headers_mut().insert("cf-access-domain", domain);
        }
        response
    }

    /// Reads the query of a redirect to the login.
    fn wanted(&self, snapshot: &Snapshot, query: &str, now: UnixSeconds) -> Option<Wanted> {
        let query: HashMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let (meta, back) = (query.get("meta")?, query.get("redirect_url")?);
        let claims = self.keys.claims(snapshot, meta, "meta", now)?;
        // Signed by us, and what the redirect was about; the rest of the query is only a copy.
        if claims["redirect_url"].as_str()? != back {
            return None;
        }
        self.wanted_by(snapshot, &claims)
    }

    /// The same from claims that we signed.
    fn wanted_by(&self, snapshot: &Snapshot, claims: &Value) -> Option<Wanted> {
        let text = |name: &str| claims[name].as_str();
        let back = text("redirect_url")?;
        let application = Arc::clone(snapshot.application(text("aud")?)?);
        back.starts_with('/').then_some(())?;
        Some(Wanted {
            place: self.place_of(snapshot, text("hostname")?, application)?,
            back: back.to_owned(),
            app_session_hash: text("app_session_hash")?.to_owned(),
        })
    }

    /// An application on a host, without a path of it.
    fn place_of(&self, snapshot: &Snapshot, host: &str, application: Arc<Application>) -> Option<Place> {
        Some(Place {
            host: host.to_owned(),
            issuer: self.issuer(snapshot),
            domain: application.destinations.first()?.as_str().to_owned(),
            application,
        })
    }

    /// Sends a person who is known back to the application's host, and keeps who they are for the next application.
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
        let mut response = to(StatusCode::SEE_OTHER, &location);
        // Where both hosts are one, the application's own session is what this cookie holds.
        if !same_host(challenge::auth_domain(&wanted.place), &wanted.place.host)
            && let Some(token) = self.team_token(snapshot, &wanted.place, email, now)
            && let Ok(cookie) = HeaderValue::try_from(format!(
                "{SESSION_COOKIE}={token}; Max-Age={TEAM_SESSION}; Path=/; Secure; HttpOnly; SameSite=None"
            ))
        {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        response
    }

    /// An org token: a person's session with the team, which is for no application and buys sessions of any.
    fn team_token(
        &self,
        snapshot: &Snapshot,
        place: &Place,
        email: &str,
        now: UnixSeconds,
    ) -> Option<String> {
        let identity = identity(email)?;
        let claims = json!({
            "type": "org", "iss": &*place.issuer, "aud": [challenge::auth_domain(place)], "email": email,
            "sub": identity.subject, "identity_nonce": identity.nonce, "iat": now, "exp": now + TEAM_SESSION,
        });
        self.keys.sign(snapshot, &claims).ok()
    }

    /// Whose session with the team a request carries.
    fn team_session(&self, snapshot: &Snapshot, headers: &HeaderMap, now: UnixSeconds) -> Option<String> {
        let issuer = self.issuer(snapshot);
        cookies(headers, SESSION_COOKIE)
            // A peer decides how many there are, and each costs a signature check.
            .take(4)
            .filter_map(|token| self.keys.claims(snapshot, token, "org", now))
            .filter(|claims| claims["iss"] == *issuer)
            .find_map(|claims| {
                let (subject, issued_at) = (claims["sub"].as_str()?, claims["iat"].as_i64()?);
                let revoked = snapshot.revoked(&format!("user:{subject}"), issued_at);
                claims["email"].as_str().filter(|_| !revoked).map(str::to_owned)
            })
    }

    /// The end of the chain, on the application's host: checks the hand-over, asks the policies, sets the cookie.
    fn authorized(
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
            .filter(|claims| {
                cookies(headers, "CF_AppSession")
                    .next()
                    .is_some_and(|value| claims["app_session_hash"] == hash(value))
            });
        let (Some(claims), Some(back)) = (
            checked,
            query.get("redirect_url").filter(|back| back.starts_with('/')),
        ) else {
            return over(
                StatusCode::BAD_REQUEST,
                "This login is over, or belongs to another browser. Open the protected page again.",
            );
        };
        let place = claims["aud"]
            .as_str()
            .and_then(|aud| snapshot.application(aud))
            .and_then(|application| self.place_of(snapshot, host, Arc::clone(application)));
        let (Some(place), Some(email)) = (place, claims["email"].as_str()) else {
            return respond::blocked(StatusCode::FORBIDDEN, headers, None);
        };
        let session = self.session(snapshot, &place, connection, email, now);
        self.note_login(request, connection, &place, email, session.is_some());
        let cookie = session.and_then(|(token, permit)| {
            challenge::session_cookie(&place.application, &token, permit.session(), now)
        });
        match cookie {
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

    /// Writes into the audit log who logged in, or was not let in.
    fn note_login(
        &self,
        request: &Request<Body>,
        connection: &Connection,
        place: &Place,
        email: &str,
        admitted: bool,
    ) {
        let (decision, reason) = if admitted {
            ("allow", None)
        } else {
            ("deny", Some(DenyReason::NotAuthorised))
        };
        self.note(
            request,
            connection,
            Some(email.into()),
            Some(place),
            decision,
            reason,
            None,
        );
    }

    /// A new application token for a person whom the application's policies admit.
    fn session(
        &self,
        snapshot: &Snapshot,
        place: &Place,
        connection: &Connection,
        email: &str,
        now: UnixSeconds,
    ) -> Option<(HeaderValue, Permit)> {
        let identity = identity(email)?;
        let caller = Caller {
            address: connection.address,
            identity: Some(&identity),
            certificate: connection.certificate(now),
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
        let mut token = HeaderValue::try_from(token).ok()?;
        token.set_sensitive(true);
        Some((token, permit))
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

/// SHA-256 in hex.
fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// The values of a cookie.
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(move |pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Whether a browser would send the cookies of one host to the other: ports make no difference.
fn same_host(one: &str, other: &str) -> bool {
    let name = |host: &str| {
        host.parse::<http::uri::Authority>()
            .map(|authority| authority.host().to_ascii_lowercase())
            .ok()
    };
    name(one) == name(other)
}

/// The members of a form.
async fn form(body: Body) -> Option<HashMap<String, String>> {
    let form = tokio::time::timeout(SENDING, whole(body, FORM))
        .await
        .ok()?
        .ok()?;
    Some(url::form_urlencoded::parse(&form).into_owned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps() {
        for (path, step) in [
            ("/cdn-cgi/access/login", Some(Step::Page)),
            ("/cdn-cgi/access/login/a.example", Some(Step::Page)),
            ("/cdn-cgi/access/authorized", Some(Step::Authorized)),
            ("/cdn-cgi/access/callback", Some(Step::Callback)),
            ("/cdn-cgi/access/cli", Some(Step::Cli)),
            ("/cdn-cgi/access/transfer/abc", Some(Step::Transfer("abc"))),
            ("/cdn-cgi/access/loginx", None),
            ("/cdn-cgi/access/certs", None),
            ("/login", None),
        ] {
            assert_eq!(Step::of(path), step, "{path}");
        }
    }

    #[test]
    fn cookies_of_a_host_go_to_all_its_ports() {
        assert!(same_host("team.example:1", "Team.example:2"));
        assert!(same_host("[::1]:1", "[::1]"));
        assert!(!same_host("team.example", "app.team.example"));
    }
}
