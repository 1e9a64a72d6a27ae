//! Failures of the gateway itself. What a provider answers is never one of them.

use http::StatusCode;

/// Why the gateway did not do what it was asked. The numbers are Bowline's own: Cloudflare documents none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// No gateway has that id.
    #[error("there is no gateway \"{id}\"; {known}")]
    NoGateway {
        /// The id asked for.
        id: String,
        /// Which ids there are, as a sentence.
        known: String,
    },
    /// The request is not what the endpoint takes.
    #[error("{0}")]
    Invalid(String),
    /// The request is larger than it may be.
    #[error("the request is larger than {0} bytes")]
    TooLarge(usize),
    /// No provider has that name.
    #[error("there is no provider \"{name}\"; {known}")]
    NoProvider {
        /// The name asked for.
        name: String,
        /// Which providers there are, as a sentence.
        known: String,
    },
    /// No step was answered by its provider at all; the text is the last step's.
    #[error("{0}")]
    Unreachable(String),
    /// No provider answered in time; the text is the last step's.
    #[error("{0}")]
    Timeout(String),
    /// No log has that id.
    #[error("Not Found")]
    NoLog,
    /// The gateway has no address to hand out.
    #[error(
        "gateway \"{0}\" has no public address here; set `gateways.{0}.url` of the binding in bowline.jsonc"
    )]
    NoUrl(String),
    /// The store failed or has too much to do.
    #[error("the gateway's store could not be used")]
    Storage,
}

impl GatewayError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoGateway { .. } | Self::NoLog | Self::NoUrl(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) | Self::NoProvider { .. } => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unreachable(_) => StatusCode::BAD_GATEWAY,
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Storage => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The `code` of the answer: the status and a number.
    pub fn code(&self) -> u32 {
        match self {
            Self::Invalid(_) => 40001,
            Self::NoProvider { .. } => 40002,
            // As captured from a client that accepted it.
            Self::NoLog => 7002,
            Self::NoGateway { .. } => 40401,
            Self::NoUrl(_) => 40402,
            Self::TooLarge(_) => 41301,
            Self::Storage => 50001,
            Self::Unreachable(_) => 50201,
            Self::Timeout(_) => 50401,
        }
    }

    /// The body of the answer.
    pub fn body(&self) -> serde_json::Value {
        serde_json::json!({
            "success": false, "result": null, "messages": [],
            "errors": [{"code": self.code(), "message": self.to_string()}],
        })
    }
}
