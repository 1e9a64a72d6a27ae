//! Recognising Access in an answer (reference: what a refused request gets).

use http::header::{LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};

/// What in an answer stands between the client and the remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 403 or 401 by Access.
    Denied,
    /// A redirect to Access's login page. Organisations without strict mode also answer a wrong secret so.
    Login,
    /// A bot or firewall challenge: not Access, and no credential helps.
    Firewall,
    /// The tunnel behind the edge is down.
    TunnelDown,
}

/// Bytes of a body that are looked at.
pub(crate) const PREFIX: usize = 64 * 1024;

/// Whether the body is needed to tell: an ambiguous refusal that no header explains.
pub(crate) fn needs_body(status: StatusCode, headers: &HeaderMap) -> bool {
    matches!(status.as_u16(), 401 | 403 | 530) && classify(status, headers, b"").is_none()
}

/// Judges an answer by status, headers and the first bytes of its body. `None` is an answer of the remote itself, its
/// own 403 included.
pub fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Refusal> {
    let says = |text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
    if status.is_redirection() {
        let location = headers.get(LOCATION)?.as_bytes();
        return is_login(&String::from_utf8_lossy(location)).then_some(Refusal::Login);
    }
    match status.as_u16() {
        401 | 403 => {
            if headers
                .get("cf-mitigated")
                .is_some_and(|value| value == "challenge")
                || says("error code: 1010")
            {
                return Some(Refusal::Firewall);
            }
            let by_header = ["cf-access-aud", "cf-access-domain", "cf-access-error"]
                .iter()
                .any(|name| headers.contains_key(*name));
            let by_challenge = headers.get_all(WWW_AUTHENTICATE).iter().any(|value| {
                let value = String::from_utf8_lossy(value.as_bytes());
                value.starts_with("Cloudflare-Access")
                    || value.contains("cloudflare-access-protected-resource")
            });
            (by_header || by_challenge || says("Cloudflare Access")).then_some(Refusal::Denied)
        }
        530 if says("error code: 1033") => Some(Refusal::TunnelDown),
        _ => None,
    }
}

/// A `Location` whose path starts `/cdn-cgi/access/` or whose host ends `.cloudflareaccess.com`.
fn is_login(location: &str) -> bool {
    let (host, path) = match location.split_once("://") {
        Some((_, rest)) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
        None => ("", location),
    };
    let host = host.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    path.starts_with("/cdn-cgi/access/") || host.ends_with(".cloudflareaccess.com")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn judge(status: u16, pairs: &[(&'static str, &'static str)], body: &str) -> Option<Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        classify(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn access_and_what_only_looks_like_it() {
        let page = "<title>Error \u{30fb} Cloudflare Access</title>";
        for (status, headers, body, expected) in [
            (403, &[][..], page, Some(Refusal::Denied)),
            (401, &[], page, Some(Refusal::Denied)),
            (403, &[("cf-access-aud", "x")], "", Some(Refusal::Denied)),
            (403, &[("cf-access-domain", "x")], "", Some(Refusal::Denied)),
            (403, &[("cf-access-error", "1")], "", Some(Refusal::Denied)),
            (
                401,
                &[("www-authenticate", "Cloudflare-Access resource_metadata=\"x\"")],
                "",
                Some(Refusal::Denied),
            ),
            (
                401,
                &[(
                    "www-authenticate",
                    "Bearer resource_metadata=\"/.well-known/cloudflare-access-protected-resource/\"",
                )],
                "",
                Some(Refusal::Denied),
            ),
            (
                302,
                &[(
                    "location",
                    "https://t.cloudflareaccess.com/cdn-cgi/access/login/h?kid=1",
                )],
                "",
                Some(Refusal::Login),
            ),
            (
                302,
                &[("location", "/cdn-cgi/access/login/h")],
                "",
                Some(Refusal::Login),
            ),
            (
                302,
                &[("location", "https://T.CloudflareAccess.com:443/x")],
                "",
                Some(Refusal::Login),
            ),
            (
                403,
                &[("cf-mitigated", "challenge")],
                page,
                Some(Refusal::Firewall),
            ),
            (403, &[], "error code: 1010", Some(Refusal::Firewall)),
            (530, &[], "error code: 1033", Some(Refusal::TunnelDown)),
            // The remote's own answers.
            (403, &[], "you may not", None),
            (401, &[("www-authenticate", "Bearer")], "", None),
            (200, &[("cf-access-aud", "x")], page, None),
            (404, &[], page, None),
            (
                302,
                &[("location", "https://example.com/?x=.cloudflareaccess.com")],
                "",
                None,
            ),
            (
                302,
                &[("location", "https://cloudflareaccess.com.example.com/")],
                "",
                None,
            ),
            (302, &[], "", None),
            (500, &[], page, None),
        ] {
            assert_eq!(
                judge(status, headers, body),
                expected,
                "{status} {headers:?} {body}"
            );
        }
    }
}
