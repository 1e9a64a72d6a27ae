//! What a refused client is told, and how it finds out what stands in front of a place.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bowline_access::{Application, Page, Refusal, UnixSeconds, hex};
use bowline_access_store::{Snapshot, random};
use bowline_binding::Body;
use http::header::{HOST, LOCATION, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::gateway::Inner;
use crate::keys::Issued;
use crate::respond;

/// Where a request goes, as Access sees it.
#[derive(Debug)]
pub(crate) struct Place {
    /// The host asked for, with its port.
    pub(crate) host: String,
    /// The team domain as a URL.
    pub(crate) issuer: Arc<str>,
    /// The application's destination that covers it, wildcards kept.
    pub(crate) domain: String,
    /// The application.
    pub(crate) application: Arc<Application>,
}

/// Redirects to the login that are signed in one second. More go without a `meta` token: a signature costs a millisecond,
/// and anybody can ask for one.
const SIGNED: u64 = 50;
/// How long a `meta` token is good for.
const META: i64 = 300;

/// The one host that a request is for: what a server behind would take it for.
pub(crate) fn host<B>(request: &Request<B>) -> Option<String> {
    let mut named = request.headers().get_all(HOST).iter();
    let header = named.next().map(HeaderValue::to_str).transpose().ok()?;
    if named.next().is_some() {
        return None;
    }
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let host = match (authority, header) {
        (Some(authority), Some(header)) if !authority.eq_ignore_ascii_case(header) => return None,
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => return None,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (!host.is_empty() && host.len() <= 255 && host.bytes().all(plain)).then(|| host.to_owned())
}

impl Inner {
    /// The answer to a refused request.
    pub(crate) fn challenge(
        &self,
        snapshot: &Snapshot,
        place: &Place,
        request: &Request<Body>,
        chosen: Refusal,
    ) -> Response<Body> {
        let status = StatusCode::from_u16(chosen.status).unwrap_or(StatusCode::FORBIDDEN);
        let mut response = match chosen.page {
            Page::Blocked => respond::blocked(status, request.headers(), Some(place)),
            Page::Unauthorized => respond::unauthorized(),
            Page::Found => self.login(snapshot, place, request),
        };
        if chosen.challenge {
            let resource = resource_document(place, request.uri().path());
            let challenge = format!("Cloudflare-Access resource_metadata=\"{resource}\"");
            if let Ok(challenge) = HeaderValue::try_from(challenge) {
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
        }
        response
    }

    /// The redirect to the login.
    pub(crate) fn login(
        &self,
        snapshot: &Snapshot,
        place: &Place,
        request: &Request<Body>,
    ) -> Response<Body> {
        let back = request
            .uri()
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let now = (self.options.clock)();
        let mut location = format!(
            "{}/cdn-cgi/access/login/{}?kid={}",
            place.issuer, place.host, place.application.aud
        );
        let session = random::<32>()
            .ok()
            .map(|bytes| hex(&bytes))
            .filter(|_| self.may_sign(now));
        if let Some(session) = &session
            && let Ok(meta) = self.keys.sign(snapshot, &meta(place, back, session, now))
        {
            location.push_str("&meta=");
            location.push_str(&meta);
        }
        location.push_str("&redirect_url=");
        percent_encode(back, &mut location);
        let mut response = respond::found();
        let headers = response.headers_mut();
        if let Ok(location) = HeaderValue::try_from(location) {
            headers.insert(LOCATION, location);
        }
        if let Some(session) = session {
            let cookie =
                format!("CF_AppSession={session}; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=None");
            if let Ok(cookie) = HeaderValue::try_from(cookie) {
                headers.append(SET_COOKIE, cookie);
            }
        }
        response
    }

    /// Counts what is signed for anybody who asks.
    pub(crate) fn may_sign(&self, now: UnixSeconds) -> bool {
        let second = now.unsigned_abs() << 16;
        let count = self
            .signed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                Some(if count >> 16 == second >> 16 {
                    (count + 1).min(second | 0xffff)
                } else {
                    second + 1
                })
            })
            .map_or(second, |before| {
                if before >> 16 == second >> 16 {
                    before
                } else {
                    second
                }
            });
        count - second < SIGNED
    }

    /// The token of header `cf-access-metadata`: which application guards the place.
    pub(crate) fn metadata(&self, snapshot: &Snapshot, place: &Place) -> Option<HeaderValue> {
        let now = (self.options.clock)();
        let hostname = match place.host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => host,
            _ => place.host.as_str(),
        };
        let issued = Issued {
            kid: snapshot.keys.first()?.kid.clone(),
            issuer: Arc::clone(&place.issuer),
            aud: Arc::clone(&place.application.aud),
            who: format!("metadata {}", hostname.to_ascii_lowercase()),
            session: 120,
        };
        self.keys
            .issue(snapshot, issued, now, || {
                self.may_sign(now).then(|| {
                    json!({
                        "type": "match", "hostname": hostname.to_ascii_lowercase(), "auth_domain": auth_domain(place),
                        "aud": &*place.application.aud, "app_hostname": place.domain, "iat": now,
                    })
                })
            })
            .ok()
            .flatten()
    }
}

fn meta(place: &Place, back: &str, session: &str, now: UnixSeconds) -> Value {
    json!({
        "type": "meta", "aud": &*place.application.aud, "hostname": place.host, "redirect_url": back,
        // Measured: false even when a wrong service token was sent.
        "service_token_status": false, "is_warp": false, "is_gateway": false, "auth_status": "NONE",
        "app_session_hash": hex(&Sha256::digest(session.as_bytes())),
        "iat": now, "nbf": now, "exp": now + META,
    })
}

/// The team domain as a host.
pub(crate) fn auth_domain(place: &Place) -> &str {
    place
        .issuer
        .split_once("://")
        .map_or(&*place.issuer, |(_, host)| host)
}

fn resource_document(place: &Place, path: &str) -> String {
    format!(
        "{}/.well-known/cloudflare-access-protected-resource{path}",
        origin_url(place)
    )
}

/// The place's own URL. A team domain of plain HTTP is a gateway without TLS in front.
pub(crate) fn origin_url(place: &Place) -> String {
    let scheme = if place.issuer.starts_with("http://") {
        "http"
    } else {
        "https"
    };
    format!("{scheme}://{}", place.host)
}

/// The protected-resource document of a place.
pub(crate) fn protected_resource(place: &Place, path: &str) -> Value {
    json!({
        "resource": format!("{}{path}", origin_url(place)),
        "protected": true,
        "team_domain": auth_domain(place),
        "authorization_servers": [&*place.issuer],
        "authentication_methods": [{"name": "cloudflared"}],
    })
}

/// The session cookie for a new session.
pub(crate) fn session_cookie(
    application: &Application,
    token: &HeaderValue,
    session: Option<Duration>,
    now: UnixSeconds,
) -> Option<HeaderValue> {
    let shape = application.cookie;
    let seconds = i64::try_from(session?.as_secs()).ok()?;
    let expires = jiff::Timestamp::from_second(now.saturating_add(seconds)).ok()?;
    let path = application
        .destinations
        .first()
        .and_then(|destination| destination.as_str().split_once('/'))
        .filter(|_| shape.path)
        .map_or_else(
            || "/".to_owned(),
            |(_, path)| format!("/{}", path.trim_end_matches(['*', '/'])),
        );
    let http_only = if shape.http_only { "; HttpOnly" } else { "" };
    HeaderValue::try_from(format!(
        "{}={}; Expires={}; Path={path}; Secure{http_only}; SameSite={}",
        bowline_access::SESSION_COOKIE,
        token.to_str().ok()?,
        expires.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        shape.same_site.as_str(),
    ))
    .ok()
}

/// Encodes everything but unreserved characters (RFC 3986 §2.3).
pub(crate) fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex(&[byte]).to_ascii_uppercase());
        }
    }
}
