//! Git's smart HTTP: what `git clone` and `git push` speak.

use std::sync::Arc;

use base64::Engine;
use bowline_binding::{Body, BoxFuture, Endpoint, full};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, EXPIRES, PRAGMA, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::catalog::State;
use crate::error::Refusal;
use crate::exchange::{Exchange, ExchangeError, Service};
use crate::namespace::Namespace;
use crate::token::{Scope, SecretHash};

/// The endpoint of one namespace.
pub(crate) struct GitEndpoint {
    namespace: Arc<Namespace>,
    prefix: String,
}

/// A path that leads somewhere.
#[derive(Debug, PartialEq, Eq)]
struct Route<'a> {
    repo: &'a str,
    service: Service,
    /// Whether the refs are asked for, rather than an exchange.
    refs: bool,
}

impl GitEndpoint {
    pub(crate) fn new(namespace: Arc<Namespace>) -> Self {
        let prefix = format!("/git/{}/", namespace.config.namespace);
        Self { namespace, prefix }
    }
}

impl Endpoint for GitEndpoint {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn mounted(&self, origin: &str) {
        self.namespace.mounted(origin);
    }

    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let (namespace, prefix) = (Arc::clone(&self.namespace), self.prefix.len());
        Box::pin(async move { answer(&namespace, prefix, request).await })
    }
}

async fn answer(namespace: &Arc<Namespace>, prefix: usize, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let path = parts.uri.path().get(prefix..).unwrap_or_default();
    let Some(route) = route(&parts.method, path, query) else {
        return text(StatusCode::NOT_FOUND, "Not found");
    };
    let repo = match authorize(namespace, &route, &parts.headers).await {
        Ok(repo) => repo,
        Err(refused) => return *refused,
    };
    let media = |end: &str| format!("application/x-git-{}-{end}", route.service.name());
    if !route.refs
        && parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) != Some(media("request").as_bytes())
    {
        return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type");
    }
    let gzip = match parts.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported content encoding"),
    };
    let Some(turn) = namespace.turn().await else {
        let mut response = text(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many git exchanges are running; try again",
        );
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("10"));
        return response;
    };
    let exchange = Exchange {
        service: route.service,
        repo,
        protocol: protocol(&parts.headers),
        body: (!route.refs).then_some((body, gzip)),
        turn,
    };
    match exchange.start(namespace).await {
        Ok(body) => {
            let mut response = Response::new(body);
            let media = media(if route.refs { "advertisement" } else { "result" });
            let headers = response.headers_mut();
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::try_from(media).expect("letters and hyphens make a header value"),
            );
            headers.insert(
                CACHE_CONTROL,
                HeaderValue::from_static("no-cache, max-age=0, must-revalidate"),
            );
            headers.insert(EXPIRES, HeaderValue::from_static("Fri, 01 Jan 1980 00:00:00 GMT"));
            headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
            response
        }
        Err(error @ ExchangeError::Full(_)) => text(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("{error}; delete branches, or make another repository"),
        ),
        Err(error) => {
            tracing::error!(error.kind = "git", error = %error, "an exchange with a git client did not begin");
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "git could not be run; see the log of this place",
            )
        }
    }
}

/// Lets in who has a token for the repository that is good for what is asked; gives the repository's id.
///
/// Who has no valid token learns nothing, not even whether there is such a repository: names tell a lot.
async fn authorize(
    namespace: &Arc<Namespace>,
    route: &Route<'_>,
    headers: &HeaderMap,
) -> Result<String, Box<Response<Body>>> {
    let Some(token) = credentials(headers) else {
        return Err(Box::new(unauthorized()));
    };
    let (name, hash) = (route.repo.to_owned(), SecretHash::of(&token));
    let looked_up = namespace
        .blocking(move |own| {
            let (repo, now) = (own.catalog.find(&name)?, own.now());
            let scope = match &repo {
                Some(repo) => own.catalog.scope(&repo.id, hash, now)?,
                None => None,
            };
            Ok((repo, scope, scope.is_some() || own.catalog.is_active(hash, now)?))
        })
        .await;
    let (repo, scope, known) = looked_up
        .map_err(|Refusal { message, .. }| Box::new(text(StatusCode::INTERNAL_SERVER_ERROR, &message)))?;
    let refused = match (repo, scope) {
        (Some(repo), Some(scope)) if repo.state == State::Ready => match (route.service, scope) {
            (Service::ReceivePack, _) if repo.read_only => {
                text(StatusCode::FORBIDDEN, "Artifacts repository is read-only")
            }
            (Service::ReceivePack, Scope::Read) => {
                text(StatusCode::FORBIDDEN, "Artifacts token requires write scope")
            }
            _ => return Ok(repo.id),
        },
        (None, _) if known => text(StatusCode::NOT_FOUND, "Not found"),
        _ => unauthorized(),
    };
    Err(Box::new(refused))
}

fn route<'a>(method: &Method, path: &'a str, query: &str) -> Option<Route<'a>> {
    let (repo, rest) = path.split_once('/')?;
    let repo = repo.strip_suffix(".git").filter(|repo| !repo.is_empty())?;
    let (service, refs) = match (method, rest) {
        (&Method::GET, "info/refs") => {
            let name = url::form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == "service")
                .map(|(_, name)| name)?;
            (Service::parse(&name)?, true)
        }
        (&Method::POST, name) => (Service::parse(name)?, false),
        _ => return None,
    };
    Some(Route { repo, service, refs })
}

/// The token of a `Bearer` or `Basic` header: with `Basic` it is the password, the user may be anybody.
fn credentials(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(rest.trim())
        .ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

/// `Git-Protocol`, when it is made of nothing but keys and values.
fn protocol(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("git-protocol")?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b':' | b'.' | b'-' | b'_');
    (value.len() <= 128 && value.bytes().all(plain)).then(|| value.to_owned())
}

fn unauthorized() -> Response<Body> {
    let mut response = text(StatusCode::UNAUTHORIZED, "Invalid Artifacts token");
    response.headers_mut().insert(
        WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"Artifacts\""),
    );
    response
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(full(text.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_smart_http_leads_somewhere() {
        let good = route(&Method::GET, "a.git.git/info/refs", "service=git-upload-pack").unwrap();
        assert_eq!(
            good,
            Route {
                repo: "a.git",
                service: Service::UploadPack,
                refs: true
            }
        );
        assert!(!route(&Method::POST, "a.git/git-receive-pack", "").unwrap().refs);
        for (method, path, query) in [
            (Method::GET, "a.git/info/refs", ""),
            (Method::GET, "a.git/info/refs", "service=git-upload-archive"),
            (Method::GET, "a/info/refs", "service=git-upload-pack"),
            (Method::GET, ".git/info/refs", "service=git-upload-pack"),
            (Method::GET, "a.git/HEAD", ""),
            (Method::GET, "a.git/objects/info/packs", ""),
            (Method::GET, "a.git/git-upload-pack", ""),
            (Method::POST, "a.git/info/refs", "service=git-upload-pack"),
            (Method::POST, "../a.git/git-upload-pack", ""),
            (Method::POST, "a.git/../b.git/git-upload-pack", ""),
        ] {
            assert_eq!(route(&method, path, query), None, "{method} {path}?{query}");
        }
    }

    #[test]
    fn tokens_come_by_either_scheme() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            credentials(&headers)
        };
        assert_eq!(read("Bearer t").as_deref(), Some("t"));
        assert_eq!(read("basic eDphOmI=").as_deref(), Some("a:b"));
        for bad in ["", "Bearer", "Basic ????", "Basic eA==", "Digest x"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
