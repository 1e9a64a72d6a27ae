//! Every answer the proxy makes up itself, and its words.
//!
//! The first line of a text stands alone, because some callers show only that. None contains the words "Cloudflare
//! Access" side by side: miniflare replaces a 403 with those words by a text of its own, which knows less.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};

use crate::proxy::Body;
use crate::{CredentialState, Refusal};

/// What happened to one call, as the caller is told.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        text(self.status, self.text)
    }
}

/// A plain text answer.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(
        Full::from(text.into())
            .map_err(|never| match never {})
            .boxed_unsync(),
    );
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// An upstream that could not be reached or did not answer in time.
pub(crate) fn unreachable(binding: &str, hop: &str, host: &str, cause: &str, timed_out: bool) -> Failure {
    let status = if timed_out {
        StatusCode::GATEWAY_TIMEOUT
    } else {
        StatusCode::BAD_GATEWAY
    };
    let text = format!(
        "bowline: binding \"{binding}\": {hop} {host} failed ({}): {cause}",
        status.as_u16()
    );
    Failure { status, text }
}

/// An upgrade that the remote answered with something else.
pub(crate) fn not_upgraded(binding: &str, host: &str, status: StatusCode, body: &[u8]) -> Failure {
    let said = String::from_utf8_lossy(&body[..body.len().min(1024)]);
    let said = said.trim();
    let said = if said.is_empty() {
        "nothing".to_owned()
    } else {
        format!("\"{said}\"")
    };
    let text = format!(
        "bowline: binding \"{binding}\": {host} answered the upgrade with {} and said {said}",
        status.as_u16()
    );
    Failure { status, text }
}

/// A refusal by something in front of the remote. A redirect becomes 401: a client that followed it would read the
/// login page as a success.
pub(crate) fn refused(
    binding: &str,
    host: &str,
    status: StatusCode,
    refusal: Refusal,
    sent: &CredentialState,
) -> Failure {
    let answer = status.as_u16();
    let (first, advice): (String, String) = match refusal {
        Refusal::Denied | Refusal::Login => match sent {
            CredentialState::Nothing => (
                format!("bowline: Access refused binding \"{binding}\" at {host} ({answer}): no service token was sent."),
                "Set CLOUDFLARE_ACCESS_CLIENT_ID and CLOUDFLARE_ACCESS_CLIENT_SECRET to a service token of that host and start again.".into(),
            ),
            CredentialState::Half { set, missing } => (
                format!("bowline: Access refused binding \"{binding}\" at {host} ({answer}): no service token was sent, because {missing} is not set."),
                format!("{set} is set, {missing} is not; a service token needs both. Set {missing} and start again."),
            ),
            CredentialState::Token(_) => (
                format!("bowline: Access refused binding \"{binding}\" at {host} ({answer}): the service token was sent and not accepted."),
                "It may be wrong, expired, disabled, or in no Service Auth policy of that host; the answer does not tell which.\n\
                 Check CLOUDFLARE_ACCESS_CLIENT_ID and CLOUDFLARE_ACCESS_CLIENT_SECRET, and the token at the host (`bowline access token list` on a Bowline remote)."
                    .into(),
            ),
        },
        Refusal::Firewall => (
            format!("bowline: a firewall or bot check in front of {host} refused binding \"{binding}\" ({answer})."),
            "This is not Access and a service token does not help. Exempt this traffic in the zone's security settings.".into(),
        ),
        Refusal::TunnelDown => (
            format!("bowline: the tunnel behind {host} is down, so binding \"{binding}\" cannot be reached ({answer})."),
            "Start cloudflared at the far side.".into(),
        ),
    };
    let status = if status.is_redirection() {
        StatusCode::UNAUTHORIZED
    } else {
        status
    };
    Failure {
        status,
        text: format!("{first}\n{advice}\n"),
    }
}
