//! What the gate answers itself: `/cdn-cgi/access/*` and the protected-resource document.

use bowline_access::{Application, Session, Subject, presented_sessions};
use bowline_access_store::Snapshot;
use bowline_binding::Body;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::json;

use crate::challenge::{self, Place};
use crate::gateway::Inner;
use crate::identify::{Known, subjects};
use crate::login::{Login, Step};
use crate::{keys, respond};

/// What is below is answered here, on every host.
pub(crate) const OURS: &str = "/cdn-cgi/access/";
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

/// The path that a request is about: the question what protects a path is about that path.
pub(crate) fn subject(path: &str) -> &str {
    match resource(path) {
        Some("") => "/",
        Some(about) => about,
        None => path,
    }
}

/// Whether a path is that of a protected-resource document.
pub(crate) fn is_document(path: &str) -> bool {
    resource(path).is_some()
}

/// The path that a protected-resource document is asked for.
fn resource(path: &str) -> Option<&str> {
    path.strip_prefix(RESOURCE)
        .filter(|about| about.is_empty() || about.starts_with('/'))
}

/// What protects a place, to everybody who asks; `None` for any other request. The place was chosen by [`subject`], so
/// nothing of this may go to the origin.
pub(crate) fn document(place: &Place, head: Head<'_>) -> Option<Response<Body>> {
    let about = resource(head.path)?;
    Some(match *head.method {
        Method::GET | Method::HEAD => {
            respond::json(StatusCode::OK, &challenge::protected_resource(place, about))
        }
        _ => respond::text(StatusCode::METHOD_NOT_ALLOWED, "this document can only be read"),
    })
}

/// Answers below `/cdn-cgi/access/`, on whatever host; `None` for any other path.
pub(crate) async fn answer(inner: &Inner, snapshot: &Snapshot, head: Head<'_>) -> Option<Response<Body>> {
    let endpoint = head.path.strip_prefix(OURS)?;
    let issuer = inner.issuer(snapshot);
    let known = Known {
        snapshot,
        keys: &inner.keys,
        throttle: &inner.throttle,
        issuer: &issuer,
        now: (inner.options.clock)(),
    };
    Some(match endpoint {
        "certs" => respond::json(StatusCode::OK, &keys::published(snapshot)),
        "get-identity" => identity(&known, head, inner.options.login.as_ref().map_or("", Login::kind)),
        "logout" => logout(inner, &known, head).await,
        _ if Step::of(head.path).is_some() => respond::text(
            StatusCode::NOT_IMPLEMENTED,
            "this gateway has no login for people; machines send a service token with every request",
        ),
        _ => respond::text(StatusCode::NOT_FOUND, "there is no such endpoint of Access"),
    })
}

/// The sessions that a request carries and that still hold, with the application each is for.
fn sessions<'a>(known: &'a Known<'_>, head: Head<'a>) -> impl Iterator<Item = (Session, &'a Application)> {
    presented_sessions(head.headers)
        .filter_map(|token| known.keys.session(known.snapshot, token, known.issuer, known.now))
        .filter_map(|session| {
            let mut audiences = session.audiences.iter();
            let application = audiences.find_map(|aud| known.snapshot.application(aud))?;
            Some((session, &**application))
        })
        .filter(|(session, application)| !known.is_revoked(session, &application.aud))
}

/// Who the session is about; `by` is the kind of identity provider.
fn identity(known: &Known<'_>, head: Head<'_>, by: &str) -> Response<Body> {
    match sessions(known, head).next().map(|(session, _)| session) {
        Some(Session {
            subject: Subject::Person(identity),
            issued_at,
            ..
        }) => respond::json(
            StatusCode::OK,
            &json!({
                "email": identity.email, "name": identity.email, "user_uuid": identity.subject, "iat": issued_at,
                "idp": {"id": "", "type": by}, "groups": [], "amr": [], "service_token_status": false,
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
async fn logout(inner: &Inner, known: &Known<'_>, head: Head<'_>) -> Response<Body> {
    let subjects: Vec<String> = sessions(known, head)
        .filter_map(|(session, application)| subjects(&session.subject, &application.aud).pop())
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
