//! Which application guards a URL, as the edge itself says it under signature.
//!
//! Source: cloudflared 2026.8, `token/`: `HEAD` with `cf-access-metadata-request: true` is answered with a JWT in
//! `cf-access-metadata`. Following the redirect of a refusal instead, as older versions did, lets any host pass for an
//! application of somebody else and collect its tokens.

use std::time::Duration;

use bowline_access::UnixSeconds;
use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::Empty;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use url::Url;

use crate::http_client::{HttpClient, HttpError};
use crate::{Application, Host};

/// cloudflared's own deadline for it.
const DISCOVERY: Duration = Duration::from_secs(7);
/// Keys are a few kilobytes.
const LARGEST_KEYS: usize = 1024 * 1024;
/// A statement is good for a day, and clocks differ by five minutes at most.
const OLDEST: UnixSeconds = 24 * 3600;
const AHEAD: UnixSeconds = 300;

/// The application in front of a URL could not be established. No credential has been sent.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The host does not say which application guards it.
    #[error("{0} does not say which Access application guards it")]
    NoMetadata(Host),
    /// What it says cannot be believed.
    #[error("what {host} says about its Access application cannot be believed: {problem}")]
    Unbelievable {
        /// The host.
        host: Host,
        /// Why.
        problem: String,
    },
    /// A host could not be asked.
    #[error(transparent)]
    Http(#[from] HttpError),
}

#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "type")]
    kind: String,
    hostname: String,
    auth_domain: String,
    aud: String,
    app_hostname: Option<String>,
    iat: i64,
}

/// Asks `url` for its application and checks the statement. `team_domain` is a host the user trusts to sign for this
/// one, besides Cloudflare's own.
pub async fn discover(
    client: &HttpClient,
    url: &Uri,
    team_domain: Option<&str>,
    now: UnixSeconds,
) -> Result<Application, DiscoveryError> {
    let Some(host) = Host::of(url) else {
        return Err(HttpError::Unreachable {
            host: String::new(),
            source: "it is no http or https URL".into(),
        }
        .into());
    };
    let unbelievable = |problem: &str| DiscoveryError::Unbelievable {
        host: host.clone(),
        problem: problem.to_owned(),
    };
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::HEAD;
    *request.uri_mut() = url.clone();
    request.headers_mut().insert(
        "cf-access-metadata-request",
        http::HeaderValue::from_static("true"),
    );
    let answer = client.send(request, 0, DISCOVERY).await?;
    let statement = answer
        .headers
        .get("cf-access-metadata")
        .ok_or_else(|| DiscoveryError::NoMetadata(host.clone()))?
        .to_str()
        .map_err(|_| unbelievable("it is no text"))?;

    // Read before it is believed, because it names whose keys prove it; what it names is checked first.
    let claims: Claims = jsonwebtoken::dangerous::insecure_decode::<Claims>(statement)
        .map_err(|error| unbelievable(&error.to_string()))?
        .claims;
    let signer = signer(&claims.auth_domain, team_domain).ok_or_else(|| {
        unbelievable(
            "it is signed by neither a host of cloudflareaccess.com nor the `team_domain` in your settings",
        )
    })?;
    let keys = keys(client, &signer).await?;
    let claims = verify(statement, &keys).map_err(|problem| unbelievable(&problem))?;
    let age = now.saturating_sub(claims.iat);
    let problem = if claims.kind != "match" {
        "it is another kind of token"
    } else if !claims.hostname.eq_ignore_ascii_case(host.name()) {
        "it is about another host"
    } else if claims.aud.is_empty() {
        "it has no audience tag"
    } else if age > OLDEST {
        "it is older than a day"
    } else if age < -AHEAD {
        "it comes from the future; is this machine's clock right?"
    } else if !is_file_name(&claims.aud) {
        "its audience tag has characters that no file name should"
    } else {
        let hostname = claims
            .app_hostname
            .filter(|name| !name.is_empty())
            .unwrap_or(claims.hostname);
        return Ok(Application {
            hostname,
            audience: claims.aud,
            auth_domain: signer,
        });
    };
    Err(unbelievable(problem))
}

/// The host that signs: Cloudflare's for teams, without user information, port and path; or the very one the user named.
fn signer(auth_domain: &str, trusted: Option<&str>) -> Option<String> {
    if let Some(trusted) = trusted
        && trusted.eq_ignore_ascii_case(auth_domain)
    {
        return Some(trusted.to_ascii_lowercase());
    }
    let host = Url::parse(&format!("https://{auth_domain}/"))
        .ok()?
        .host_str()?
        .to_owned();
    host.ends_with(".cloudflareaccess.com").then_some(host)
}

async fn keys(client: &HttpClient, signer: &str) -> Result<JwkSet, DiscoveryError> {
    let url = format!("{}/cdn-cgi/access/certs", base(signer));
    let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| HttpError::Unreachable {
        host: signer.to_owned(),
        source,
    };
    let uri: Uri = url.parse().map_err(|error| unreachable(Box::new(error)))?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = uri;
    let answer = client.send(request, LARGEST_KEYS, DISCOVERY).await?;
    if !answer.status.is_success() {
        return Err(
            unreachable(format!("it answered {} for its keys", answer.status.as_u16()).into()).into(),
        );
    }
    serde_json::from_slice(&answer.body).map_err(|error| unreachable(Box::new(error)).into())
}

/// The URL of a host where people sign in: https, but for this very machine, where a stand-in may do without.
pub(crate) fn base(auth_domain: &str) -> String {
    let loopback = auth_domain
        .parse()
        .ok()
        .and_then(|authority| Host::at("http", &authority))
        .is_some_and(|host| host.is_loopback());
    format!("{}://{auth_domain}", if loopback { "http" } else { "https" })
}

fn verify(statement: &str, keys: &JwkSet) -> Result<Claims, String> {
    let header = decode_header(statement).map_err(|error| error.to_string())?;
    let kid = header.kid.ok_or("it names no key")?;
    let key = keys
        .find(&kid)
        .ok_or("its key is none of those of the host that signs")?;
    let key = DecodingKey::from_jwk(key).map_err(|error| error.to_string())?;
    let mut validation = Validation::new(Algorithm::RS256);
    // Neither is part of it: the audience is what it tells, and its age is checked by `iat`.
    validation.validate_aud = false;
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    decode::<Claims>(statement, &key, &validation)
        .map(|token| token.claims)
        .map_err(|error| error.to_string())
}

/// The tag becomes part of a file's name.
fn is_file_name(tag: &str) -> bool {
    tag.len() <= 128
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_sign() {
        let cloudflare = |domain: &str| signer(domain, None);
        assert_eq!(
            cloudflare("Team.cloudflareaccess.com").as_deref(),
            Some("team.cloudflareaccess.com")
        );
        assert_eq!(
            cloudflare("team.cloudflareaccess.com:8443/x#y").as_deref(),
            Some("team.cloudflareaccess.com")
        );
        for not in [
            "cloudflareaccess.com",
            "evilcloudflareaccess.com",
            "team.cloudflareaccess.com.evil.example",
            "team.cloudflareaccess.com@evil.example",
            "evil.example/team.cloudflareaccess.com",
            "evil.example\\.cloudflareaccess.com",
            "",
        ] {
            assert_eq!(cloudflare(not), None, "{not}");
        }
        assert_eq!(
            signer("127.0.0.1:1234", Some("127.0.0.1:1234")).as_deref(),
            Some("127.0.0.1:1234")
        );
        assert_eq!(signer("127.0.0.1:1234", Some("127.0.0.1:99")), None);
        assert_eq!(base("127.0.0.1:1"), "http://127.0.0.1:1");
        assert_eq!(base("t.cloudflareaccess.com"), "https://t.cloudflareaccess.com");
    }
}
