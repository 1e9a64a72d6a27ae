//! Every answer the proxy makes up itself, and its words.
//!
//! The first line of a text stands alone, because some callers show only that. None contains the words "Cloudflare
//! Access" side by side: miniflare replaces a 403 with those words by a text of its own, which knows less.

use bowline_credentials::{CredentialState, Explanation, Judgement, NoPreview, Refusal, explain};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::json;

use crate::proxy::Body;

/// Where on its way a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// Nowhere yet: it is not on the wire's terms.
    Request,
    /// Name resolution, TCP or TLS.
    Connect,
    /// The connection, while the request was sent or its answer was due.
    Send,
    /// No answer began in time.
    Answer,
    /// The upgrade: answered with something else, or not in time.
    Upgrade,
    /// Something in front of the remote refused it.
    Gate(Refusal),
    /// There is no preview session for it at the moment.
    Preview,
}

impl Hop {
    fn words(self) -> &'static str {
        match self {
            Self::Request => "the request for",
            Self::Connect => "connecting to",
            Self::Send => "the request to",
            Self::Answer => "waiting for an answer of",
            Self::Upgrade => "the upgrade at",
            Self::Gate(_) => "the gate of",
            Self::Preview => "the preview session at",
        }
    }
}

/// Why a request was not answered by its binding. The text names binding, host, status and cause; its first line stands
/// alone.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.first_line())]
pub struct Failure {
    /// Where it failed.
    pub hop: Hop,
    /// What the remote answered, or what a proxy answers in its place.
    pub status: StatusCode,
    /// What happened and what to do about it.
    pub text: String,
}

impl Failure {
    pub(crate) fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// In the form its caller reads.
    pub(crate) fn into_response(self, form: Form) -> Response<Body> {
        match form {
            Form::Text => text(self.status, self.text),
            Form::Json => {
                let body = json!({"code": self.status.as_u16(), "error": self.text.trim_end()});
                let mut response = text(self.status, body.to_string());
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                response
            }
        }
    }
}

/// How a failure of an HTTP request is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Plain text.
    Text,
    /// `{"code", "error"}`.
    Json,
}

impl Form {
    /// JSON where the wrapped request accepts nothing else: such a client shows a body only as JSON, and of any other the
    /// status alone. Who accepts more is likely a person's tool.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        match bowline_wire::request::header(headers, "accept") {
            Some(value) if value.as_bytes() == b"application/json" => Self::Json,
            _ => Self::Text,
        }
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

/// A request that cannot be sent as it is.
pub(crate) fn bad_request(error: impl std::fmt::Display) -> Failure {
    Failure {
        hop: Hop::Request,
        status: StatusCode::BAD_REQUEST,
        text: format!("bowline: {error}"),
    }
}

/// An upstream that could not be reached or did not answer in time.
pub(crate) fn unreachable(binding: &str, hop: Hop, host: &str, cause: &str, timed_out: bool) -> Failure {
    let status = if timed_out {
        StatusCode::GATEWAY_TIMEOUT
    } else {
        StatusCode::BAD_GATEWAY
    };
    let text = format!(
        "bowline: binding \"{binding}\": {} {host} failed ({}): {cause}",
        hop.words(),
        status.as_u16()
    );
    Failure { hop, status, text }
}

/// A request for which no preview token came. It was not sent.
pub(crate) fn no_preview(binding: &str, host: &str, error: NoPreview) -> Failure {
    Failure {
        hop: Hop::Preview,
        status: StatusCode::SERVICE_UNAVAILABLE,
        text: format!(
            "bowline: binding \"{binding}\": {} {host} failed (503): {error}\nThe terminal that Bowline runs in says why.\n",
            Hop::Preview.words()
        ),
    }
}

/// A request that found the preview session at its end, and whose body is gone; or that found the next one at its end, too.
pub(crate) fn preview_ended(binding: &str, host: &str) -> Failure {
    Failure {
        hop: Hop::Preview,
        status: StatusCode::SERVICE_UNAVAILABLE,
        text: format!(
            "bowline: binding \"{binding}\": {} {host} had ended (503), and the call was not sent a second time.\nIt reached no \
             Worker. The session is being renewed: make the call again.\n",
            Hop::Preview.words()
        ),
    }
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
    Failure {
        hop: Hop::Upgrade,
        status,
        text,
    }
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
        hop: Hop::Gate(judgement.refusal),
        status,
        text: format!("{first}\n{next}{again}\n"),
    }
}
