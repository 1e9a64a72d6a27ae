//! What an answer says about the way there: Access, something that only looks like it, or the remote itself.
//!
//! Source: reference of what a refused request gets (Cloudflare's documentation, cloudflared, published captures).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use url::Url;

/// What stands between the client and the remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Access asks for credentials, and none that it could judge were sent; or a login is over.
    LoginRequired,
    /// Access does not recognise the service token: unknown, wrong, expired or disabled.
    TokenRejected,
    /// Access admits no such token here. Outside strict mode a wrong secret is answered in the same way.
    TokenNotAuthorised,
    /// Access lets requests pass and refuses the upgrade, as applications that protect a Worker do.
    WebSocketRefused,
    /// A bot or firewall challenge: not Access, and no credential helps.
    Firewall,
    /// The tunnel behind the edge is down.
    TunnelDown,
}

impl Refusal {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::LoginRequired,
        Self::TokenRejected,
        Self::TokenNotAuthorised,
        Self::WebSocketRefused,
        Self::Firewall,
        Self::TunnelDown,
    ];

    /// The name in JSON and logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::LoginRequired => "login_required",
            Self::TokenRejected => "token_rejected",
            Self::TokenNotAuthorised => "token_not_authorised",
            Self::WebSocketRefused => "websocket_refused",
            Self::Firewall => "firewall",
            Self::TunnelDown => "tunnel_down",
        }
    }

    /// Whether another credential might change the answer.
    pub fn is_about_credentials(self) -> bool {
        matches!(
            self,
            Self::LoginRequired | Self::TokenRejected | Self::TokenNotAuthorised
        )
    }
}

/// Which credential a request carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// None.
    Nothing,
    /// A service token.
    ServiceToken,
    /// An application token, the fruit of a login.
    ApplicationToken,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// An ordinary request.
    Request,
    /// A WebSocket that the remote itself may refuse.
    Upgrade,
    /// A WebSocket that only something in front of the remote would refuse with an empty 403: rpc and connect.
    Session,
}

/// The request an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// What it asked for.
    pub asked: Asked,
    /// What it carried.
    pub sent: Sent,
    /// Whether the same credential has passed on this host before, and never on an upgrade.
    pub passes_requests_only: bool,
}

/// A refusal and what gave it away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub refusal: Refusal,
    /// Why.
    pub evidence: Evidence,
}

/// What an answer tells about the application in front of a host. Texts are cut and free of control characters; they
/// are the peer's claims, unverified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What in the answer was recognised, in words for a person.
    pub marks: Vec<&'static str>,
    /// The application's audience tag.
    pub audience: Option<String>,
    /// The application's domain as configured.
    pub application: Option<String>,
    /// The host that logins happen at.
    pub team_domain: Option<String>,
    /// Whether Access recognised a service token, where the redirect says so.
    pub service_token_status: Option<bool>,
    /// The id of the answer in Cloudflare's logs.
    pub ray: Option<String>,
}

/// Bytes of a body that are looked at.
pub const PREFIX: usize = 64 * 1024;
/// Characters kept of a peer's claim.
const LONGEST_CLAIM: usize = 256;
/// A redirect's token is shorter.
const LONGEST_META: usize = 16 * 1024;

/// Whether the body is needed to tell: an ambiguous refusal that no header explains.
pub fn needs_body(status: StatusCode, headers: &HeaderMap) -> bool {
    match status.as_u16() {
        401 | 403 => !is_challenge(headers) && marks(headers).is_empty(),
        530 => true,
        _ => false,
    }
}

/// Judges an answer by status, headers and the first bytes of its body (at most [`PREFIX`] matter). `None` is an answer
/// of the remote itself, its own 401 and 403 included.
pub fn classify(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    exchange: Exchange,
) -> Option<Judgement> {
    let body = &body[..body.len().min(PREFIX)];
    let says = |text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
    let ray = claim(headers, "cf-ray");
    let other = |refusal, mark| {
        let evidence = Evidence {
            marks: vec![mark],
            ray: ray.clone(),
            ..Evidence::default()
        };
        Some(Judgement { refusal, evidence })
    };
    if status.is_redirection() {
        let mut evidence = login(headers)?;
        evidence.ray = ray;
        let refusal = match (exchange.sent, evidence.service_token_status) {
            (Sent::ServiceToken, Some(true)) => Refusal::TokenNotAuthorised,
            (Sent::ServiceToken, _) => Refusal::TokenRejected,
            (Sent::Nothing | Sent::ApplicationToken, _) => Refusal::LoginRequired,
        };
        return Some(Judgement { refusal, evidence });
    }
    match status.as_u16() {
        400.. if is_challenge(headers) => other(Refusal::Firewall, "header cf-mitigated: challenge"),
        401 | 403 if says("error code: 1010") => other(Refusal::Firewall, "body: error code: 1010"),
        530 if says("1033") => other(Refusal::TunnelDown, "status 530, body: 1033"),
        401 | 403 => {
            let mut marks = marks(headers);
            if says("Cloudflare Access") {
                marks.push("body: the block page");
            }
            let upgrade = exchange.asked != Asked::Request;
            let passes_otherwise = upgrade && exchange.passes_requests_only && exchange.sent != Sent::Nothing;
            if marks.is_empty() {
                let silent = passes_otherwise && exchange.asked == Asked::Session && body.is_empty();
                return (silent && status == StatusCode::FORBIDDEN)
                    .then(|| other(Refusal::WebSocketRefused, "an empty 403 to the upgrade"))
                    .flatten();
            }
            let refusal = match (exchange.sent, status.as_u16()) {
                (Sent::Nothing, _) | (Sent::ApplicationToken, 401) => Refusal::LoginRequired,
                (Sent::ServiceToken, 401) => Refusal::TokenRejected,
                _ if passes_otherwise => Refusal::WebSocketRefused,
                _ => Refusal::TokenNotAuthorised,
            };
            let evidence = Evidence {
                marks,
                audience: claim(headers, "cf-access-aud"),
                application: claim(headers, "cf-access-domain"),
                ray,
                ..Evidence::default()
            };
            Some(Judgement { refusal, evidence })
        }
        _ => None,
    }
}

fn is_challenge(headers: &HeaderMap) -> bool {
    headers
        .get("cf-mitigated")
        .is_some_and(|value| value == "challenge")
}

/// The headers by which Access signs a refusal.
fn marks(headers: &HeaderMap) -> Vec<&'static str> {
    let mut marks: Vec<_> = [
        ("cf-access-aud", "header cf-access-aud"),
        ("cf-access-domain", "header cf-access-domain"),
        ("cf-access-error", "header cf-access-error"),
    ]
    .into_iter()
    .filter(|(name, _)| headers.contains_key(*name))
    .map(|(_, mark)| mark)
    .collect();
    let challenged = headers.get_all(WWW_AUTHENTICATE).iter().any(|value| {
        let value = String::from_utf8_lossy(value.as_bytes());
        value.starts_with("Cloudflare-Access") || value.contains("cloudflare-access-protected-resource")
    });
    if challenged {
        marks.push("header www-authenticate: Cloudflare-Access");
    }
    marks
}

/// A redirect to a login page: a path that starts `/cdn-cgi/access/`, or a host that ends `.cloudflareaccess.com`.
fn login(headers: &HeaderMap) -> Option<Evidence> {
    let location = headers.get(LOCATION)?.as_bytes();
    let location = String::from_utf8_lossy(location);
    // Parsed as browsers do; a relative reference stays on the host that was asked.
    let base = Url::parse("https://same-host.invalid/").ok()?;
    let location = base.join(&location).ok()?;
    let host = location.host_str().unwrap_or_default();
    let by_host = host.ends_with(".cloudflareaccess.com");
    let by_path = location.path().starts_with("/cdn-cgi/access/");
    if !by_host && !by_path {
        return None;
    }
    let query = |name: &str| {
        location
            .query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let claims = query("meta").and_then(|token| unverified_claims(&token));
    let text = |name: &str| claims.as_ref()?.get(name)?.as_str().map(shorten);
    Some(Evidence {
        marks: vec!["redirect to a login page"],
        audience: query("kid").map(|kid| shorten(&kid)),
        application: text("hostname"),
        team_domain: by_host.then(|| host.to_owned()),
        service_token_status: claims
            .as_ref()
            .and_then(|claims| claims.get("service_token_status")?.as_bool()),
        ray: None,
    })
}

/// The claims of a token nobody vouches for: good for explaining, never for deciding.
fn unverified_claims(token: &str) -> Option<Value> {
    let payload = token
        .get(..LONGEST_META.min(token.len()))?
        .split('.')
        .nth(1)?
        .trim_end_matches('=');
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn claim(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = String::from_utf8_lossy(headers.get(name)?.as_bytes());
    Some(shorten(&value))
}

/// A peer's text, fit to be shown on a terminal.
pub(crate) fn shorten(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(LONGEST_CLAIM)
        .collect()
}

#[cfg(test)]
mod tests;
