//! Why a call on the API has no result.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::codes;
use crate::retry::Retry;
use crate::wrangler_login::LoginError;

/// How much of an answer that is no envelope is shown.
const SHOWN: usize = 200;

/// One entry of `errors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiMessage {
    /// The number.
    pub code: u64,
    /// The API's own words. No secret of ours is in them.
    pub message: String,
}

/// A call failed. Its text says which one, who is at fault and what was said; never a credential.
#[derive(Debug)]
pub struct ApiError {
    /// What was being done, as a fragment after "failed to".
    pub operation: String,
    /// What happened.
    pub cause: Cause,
    /// Cloudflare's id of the request, by which its support finds it.
    pub ray: Option<String>,
    /// What the answer asked for with `Retry-After`.
    pub(crate) retry_after: Option<Duration>,
}

/// What happened.
#[derive(Debug)]
pub enum Cause {
    /// The API refused, with `success: false`.
    Refused {
        /// The status.
        status: StatusCode,
        /// `errors`.
        errors: Vec<ApiMessage>,
    },
    /// The answer is no envelope: something else than the API answered.
    Malformed {
        /// The status.
        status: StatusCode,
        /// How the answer begins.
        said: String,
    },
    /// The result lacks something.
    Incomplete(&'static str),
    /// The API could not be reached, or broke the exchange off.
    Unreachable(String),
    /// Nothing, or not all of it, came in time.
    TimedOut(Duration),
    /// A stored login could not be renewed.
    Login(LoginError),
    /// There is no answer to what the user has to choose.
    Choice {
        /// What is to be chosen.
        question: String,
        /// How.
        next: &'static str,
    },
}

impl ApiError {
    pub(crate) fn new(operation: impl Into<String>, cause: Cause) -> Self {
        Self {
            operation: operation.into(),
            cause,
            ray: None,
            retry_after: None,
        }
    }

    /// A beginning of a body, fit to be shown on one line.
    pub(crate) fn said(body: &[u8]) -> String {
        let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn has_code(&self, wanted: impl Fn(u64) -> bool) -> bool {
        matches!(&self.cause, Cause::Refused { errors, .. } if errors.iter().any(|error| wanted(error.code)))
    }

    /// Whether the session token of an upload has ended (code 10049).
    pub fn is_session_expired(&self) -> bool {
        self.has_code(|code| code == codes::SESSION_EXPIRED)
    }

    /// Whether the account has no workers.dev subdomain yet (code 10007).
    pub(crate) fn is_without_subdomain(&self) -> bool {
        self.has_code(|code| code == codes::NO_SUBDOMAIN)
    }

    /// Whether the credentials are at fault.
    pub fn is_authentication(&self) -> bool {
        matches!(
            self.cause,
            Cause::Login(LoginError::Refused { .. } | LoginError::NoRefreshToken(_))
        ) || self.has_code(|code| codes::AUTHENTICATION.contains(&code))
    }

    /// Whether another attempt may succeed.
    pub fn retry(&self) -> Retry {
        let temporary = match &self.cause {
            Cause::Refused { status, .. } | Cause::Malformed { status, .. } => {
                !self.is_authentication()
                    && (status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS)
            }
            Cause::Unreachable(_) | Cause::TimedOut(_) => true,
            Cause::Login(error) => matches!(error, LoginError::Unreachable { .. }),
            Cause::Incomplete(_) | Cause::Choice { .. } => false,
        };
        if !temporary {
            return Retry::Never;
        }
        let limited = matches!(&self.cause, Cause::Refused { status, .. } | Cause::Malformed { status, .. }
            if *status == StatusCode::TOO_MANY_REQUESTS);
        match self.retry_after {
            Some(after) => Retry::After(after),
            None if limited => Retry::After(Duration::from_secs(1)),
            None => Retry::Soon,
        }
    }

    /// What the user could do.
    pub fn advice(&self) -> Option<String> {
        match &self.cause {
            Cause::Refused { errors, .. } => errors
                .iter()
                .find_map(|error| codes::explain(error.code))
                .map(|(_, next)| next.to_owned()),
            Cause::Malformed { .. } => Some(
                "something between here and the API answers in its place: check CLOUDFLARE_API_BASE_URL, and proxies on \
                 the way"
                    .to_owned(),
            ),
            Cause::Unreachable(_) | Cause::TimedOut(_) => Some(
                "check the network, CLOUDFLARE_API_BASE_URL, and NODE_EXTRA_CA_CERTS if a proxy opens TLS on the way"
                    .to_owned(),
            ),
            Cause::Login(error) => Some(error.advice().to_owned()),
            Cause::Choice { next, .. } => Some((*next).to_owned()),
            Cause::Incomplete(_) => None,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.operation)?;
        match &self.cause {
            Cause::Refused { status, errors } => {
                let known = errors
                    .iter()
                    .find_map(|error| codes::explain(error.code).map(|(meaning, _)| meaning));
                match known {
                    Some(meaning) => write!(f, "{meaning}")?,
                    None => write!(f, "the API refused with status {}", status.as_u16())?,
                }
                for error in errors {
                    write!(f, " ({}: {})", error.code, error.message)?;
                }
            }
            Cause::Malformed { status, said } => {
                write!(f, "the answer, status {}, is not the API's", status.as_u16())?;
                if !said.is_empty() {
                    write!(f, ": it begins \"{said}\"")?;
                }
            }
            Cause::Incomplete(what) => write!(f, "the API's answer has no {what}")?,
            Cause::Unreachable(why) => write!(f, "{why}")?,
            Cause::TimedOut(after) => write!(f, "no answer within {} s", after.as_secs_f32())?,
            Cause::Login(error) => write!(f, "{error}")?,
            Cause::Choice { question, .. } => write!(f, "{question}")?,
        }
        if let Some(ray) = &self.ray {
            write!(f, " [ray {ray}]")?;
        }
        Ok(())
    }
}

impl std::error::Error for ApiError {}
