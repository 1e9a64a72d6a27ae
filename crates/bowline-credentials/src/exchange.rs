//! A new application token for an org token, without a person.
//!
//! Source: cloudflared 2026.8, `token/`: follow the redirects of the application with the org token as the
//! `CF_Authorization` cookie of the login page and `CF_AppSession` of the way back; the last answer sets the token.
//! Unlike it, the org token is shown to the host that issued it and nobody else, and the chain leads nowhere but there
//! and back.

use std::time::Duration;

use bowline_access::UnixSeconds;
use bytes::Bytes;
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Empty;
use url::Url;

use crate::application::base;
use crate::http_client::{HttpClient, HttpError};
use crate::{Application, ApplicationToken, Host};

/// Hosts redirect a few times; more is a loop.
const HOPS: usize = 10;
const HOP: Duration = Duration::from_secs(7);

/// No application token was given for the org token.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The chain leads to a host that has no part in it.
    #[error("the login leads to {0}, which has no part in it")]
    Astray(String),
    /// The chain ends without a token: the team asks for a new login.
    #[error("{0} asks for a new login")]
    NoToken(String),
    /// A host could not be asked.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// Exchanges `org` for a token of `application`, which guards `url`.
pub(crate) async fn exchange(
    client: &HttpClient,
    url: &Uri,
    application: &Application,
    org: &ApplicationToken,
    now: UnixSeconds,
) -> Result<ApplicationToken, ExchangeError> {
    let no_token = || ExchangeError::NoToken(application.auth_domain.clone());
    let home = Host::of(url).ok_or_else(no_token)?;
    let team: Uri = base(&application.auth_domain).parse().map_err(|_| no_token())?;
    let team = Host::of(&team).ok_or_else(no_token)?;
    let mut next = Url::parse(&url.to_string()).map_err(|_| no_token())?;
    let mut app_session: Option<String> = None;
    for _ in 0..HOPS {
        let uri: Uri = next.as_str().parse().map_err(|_| no_token())?;
        let at = Host::of(&uri)
            .filter(|host| *host == home || *host == team)
            .ok_or_else(|| ExchangeError::Astray(next.host_str().unwrap_or_default().to_owned()))?;
        let path = next.path();
        let last = at == home && path.contains("/cdn-cgi/access/authorized");
        let cookie = if at == team && path.contains("/cdn-cgi/access/login") {
            Some(format!("CF_Authorization={}", org.jwt().expose()))
        } else {
            app_session.clone().filter(|_| last)
        };
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = Method::HEAD;
        *request.uri_mut() = uri;
        if let Some(cookie) = cookie {
            let mut cookie = HeaderValue::from_str(&cookie).map_err(|_| no_token())?;
            cookie.set_sensitive(true);
            request.headers_mut().insert(COOKIE, cookie);
        }
        let answer = client.send(request, 0, HOP).await?;
        if last {
            return set_cookie(&answer.headers, "CF_Authorization")
                .and_then(|token| ApplicationToken::parse(&token).ok())
                .filter(|token| token.expires_at() > now && token.is_for(&application.audience))
                .ok_or_else(no_token);
        }
        if at == home
            && let Some(value) = set_cookie(&answer.headers, "CF_AppSession")
        {
            app_session = Some(format!("CF_AppSession={value}"));
        }
        let location = answer
            .headers
            .get(LOCATION)
            .filter(|_| answer.status.is_redirection())
            .and_then(|location| location.to_str().ok())
            .ok_or_else(no_token)?;
        next = next.join(location).map_err(|_| no_token())?;
    }
    Err(no_token())
}

/// The value that an answer gives a cookie.
fn set_cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get_all(SET_COOKIE).iter().find_map(|header| {
        let pair = header.to_str().ok()?.split(';').next()?;
        let (key, value) = pair.split_once('=')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}
