//! Every answer the proxy makes up itself, and its words.
//!
//! The first line of a text stands alone, because some callers show only that. None contains the words "Cloudflare
//! Access" side by side: miniflare replaces a 403 with those words by a text of its own, which knows less.

use bowline_credentials::{CredentialState, Explanation, Judgement, Refusal, explain};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};

use crate::proxy::Body;

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
    judgement: &Judgement,
    sent: &CredentialState,
    switched: bool,
) -> Failure {
    let answer = status.as_u16();
    let Explanation { reason, next } = explain(judgement, status, host, sent);
    let first = match judgement.refusal {
        Refusal::LoginRequired | Refusal::TokenRejected | Refusal::TokenNotAuthorised => {
            format!("bowline: Access refused binding \"{binding}\" at {host} ({answer}): {reason}.")
        }
        Refusal::WebSocketRefused => format!(
            "bowline: Access refused the WebSocket of binding \"{binding}\" at {host} ({answer}): {reason}."
        ),
        Refusal::Firewall | Refusal::TunnelDown => {
            format!("bowline: binding \"{binding}\" cannot be reached at {host} ({answer}): {reason}.")
        }
    };
    // A body that is already on its way cannot be sent twice.
    let again = if switched {
        "\nOther credentials are used from now on: this call can be made again."
    } else {
        ""
    };
    let status = if status.is_redirection() {
        StatusCode::UNAUTHORIZED
    } else {
        status
    };
    Failure {
        status,
        text: format!("{first}\n{next}{again}\n"),
    }
}
