//! What the gate answers itself: `/cdn-cgi/access/*` and the protected-resource document.

use bowline_access::{Session, Subject, presented_sessions};
use bowline_access_store::Snapshot;
use bowline_binding::Body;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::json;

use crate::challenge::{self, Place};
use crate::gateway::Inner;
use crate::identify::{Known, subjects};
use crate::{keys, respond};

const OURS: &str = "/cdn-cgi/access/";
const RESOURCE: &str = "/.well-known/cloudflare-access-protected-resource";

/// A request without its body, which may not be shared between threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    method: &'a Method,
    path: &'a str,
    headers: &'a HeaderMap,
}

impl<'a> Head<'a> {
    pub(crate) fn of(request: &'a Request<Body>) -> Self {
        Self {
            method: request.method(),
            path: request.uri().path(),
            headers: request.headers(),
        }
    }
}

/// Answers that need no application: the keys, on whatever host.
pub(crate) fn public(snapshot: &Snapshot, head: Head<'_>) -> Option<Response<Body>> {
    let is_get = matches!(*head.method, Method::GET | Method::HEAD);
    (head.path == "/cdn-cgi/access/certs" && is_get)
        .then(|| respond::json(StatusCode::OK, &keys::published(snapshot)))
}

/// Answers at a place with an application; `None` for what is not the gate's own.
pub(crate) async fn answer(
    inner: &Inner,
    known: &Known<'_>,
    place: &Place,
    head: Head<'_>,
) -> Option<Response<Body>> {
    if let Some(response) = public(known.snapshot, head) {
        return Some(response);
    }
    let path = head.path;
    if let Some(path) = path.strip_prefix(RESOURCE)
        && (path.is_empty() || path.starts_with('/'))
        && *head.method == Method::GET
    {
        return Some(respond::json(
            StatusCode::OK,
            &challenge::protected_resource(place, path),
        ));
    }
    Some(match path.strip_prefix(OURS)? {
        "get-identity" => identity(known, place, head),
        "logout" => logout(inner, known, place, head).await,
        login if login.starts_with("login") || matches!(login, "authorized" | "cli" | "callback") => {
            respond::text(
                StatusCode::NOT_IMPLEMENTED,
                "this gateway has no login for people; machines send a service token with every request",
            )
        }
        _ => respond::text(StatusCode::NOT_FOUND, "there is no such endpoint of Access"),
    })
}

/// The sessions that a request carries for the place's application, revoked ones left out.
fn sessions(known: &Known<'_>, place: &Place, head: Head<'_>) -> impl Iterator<Item = Session> {
    presented_sessions(head.headers)
        .filter_map(|token| known.keys.session(known.snapshot, token, known.issuer, known.now))
        .filter(|session| {
            session
                .audiences
                .iter()
                .any(|aud| **aud == *place.application.aud)
        })
        .filter(|session| !known.is_revoked(session, &place.application.aud))
}

fn identity(known: &Known<'_>, place: &Place, head: Head<'_>) -> Response<Body> {
    match sessions(known, place, head).next() {
        Some(Session {
            subject: Subject::Person(identity),
            issued_at,
            ..
        }) => respond::json(
            StatusCode::OK,
            &json!({
                "email": identity.email, "name": identity.email, "user_uuid": identity.subject, "iat": issued_at,
                "idp": {"id": "", "type": "onetimepin"}, "groups": [], "amr": [], "service_token_status": false,
                "is_warp": false, "is_gateway": false, "version": 2,
            }),
        ),
        // What Access itself answers to a service token's session is not known; any non-2xx means "no identity".
        Some(_) => respond::json(
            StatusCode::NOT_FOUND,
            &json!({"message": "a service token has no identity"}),
        ),
        None => respond::json(
            StatusCode::UNAUTHORIZED,
            &json!({"message": "no valid session was sent"}),
        ),
    }
}

/// Clears the cookie and revokes the sessions of whoever asks.
async fn logout(inner: &Inner, known: &Known<'_>, place: &Place, head: Head<'_>) -> Response<Body> {
    let subjects: Vec<String> = sessions(known, place, head)
        .filter_map(|session| subjects(&session.subject, &place.application.aud).pop())
        .collect();
    for subject in subjects {
        if let Err(error) = inner.watched.store().revoke(&subject, known.now).await {
            tracing::error!(error = %respond::chain(&error), "a logout could not be stored");
            return respond::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the session could not be revoked; try again",
            );
        }
    }
    let mut response = respond::text(StatusCode::OK, "You are logged out.");
    for name in [bowline_access::SESSION_COOKIE, "CF_AppSession"] {
        let cookie = format!(
            "{name}=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; HttpOnly; SameSite=None"
        );
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
    response
}
