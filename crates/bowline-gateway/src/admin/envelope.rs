//! What every answer of the API is wrapped in.

use bowline_access::ShapeError;
use bowline_access_store::StoreError;
use bowline_binding::Body;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::gateway::GatewayError;
use crate::respond;

/// Objects a page has unless the caller says otherwise.
const PAGE: usize = 25;
/// And at most.
const LARGEST_PAGE: usize = 1000;

/// A good answer.
#[derive(Debug)]
pub(crate) struct Success {
    status: StatusCode,
    result: Value,
    page: Option<Value>,
}

impl Success {
    pub(crate) fn of(result: Value) -> Self {
        Self {
            status: StatusCode::OK,
            result,
            page: None,
        }
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// One page of a list.
    pub(crate) fn list(all: Vec<Value>, query: &Query) -> Self {
        let number = |name: &str, default: usize| {
            query
                .get(name)
                .and_then(|text| text.parse().ok())
                .unwrap_or(default)
        };
        let size = number("per_page", PAGE).clamp(1, LARGEST_PAGE);
        let page = number("page", 1).max(1);
        let total = all.len();
        let result: Vec<Value> = all
            .into_iter()
            .skip((page - 1).saturating_mul(size))
            .take(size)
            .collect();
        let info = json!({
            "page": page, "per_page": size, "count": result.len(), "total_count": total,
            "total_pages": total.div_ceil(size),
        });
        Self {
            status: StatusCode::OK,
            result: result.into(),
            page: Some(info),
        }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut body = json!({"success": true, "errors": [], "messages": [], "result": self.result});
        if let Some(page) = self.page {
            body["result_info"] = page;
        }
        respond::json(self.status, &body)
    }
}

/// A failed call.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
    pointer: Option<String>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            pointer: None,
        }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut error = json!({"code": 9000 + self.status.as_u16(), "message": self.message});
        if let Some(pointer) = self.pointer {
            error["source"] = json!({"pointer": pointer});
        }
        let body = json!({"success": false, "errors": [error], "messages": [], "result": null});
        respond::json(self.status, &body)
    }
}

impl From<ShapeError> for Failure {
    fn from(error: ShapeError) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: error.to_string(),
            pointer: Some(error.pointer),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Shape(error) => error.into(),
            StoreError::Duration(error) => ShapeError::new("/duration", error.to_string()).into(),
            StoreError::NotFound(text) => Self::new(StatusCode::NOT_FOUND, text),
            StoreError::Conflict(text) => Self::new(StatusCode::CONFLICT, text),
            error => {
                tracing::error!(error.kind = "access_state", error = %respond::chain(&error), "an API call failed");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the state of Access cannot be used now; see the gateway's log",
                )
            }
        }
    }
}

impl From<GatewayError> for Failure {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Store(error) => error.into(),
            error => {
                tracing::error!(error = %respond::chain(&error), "an API call failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
        }
    }
}

/// The parameters of a query.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        Self(
            url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a list's element is wanted: `name` is exact, `search` a part of it.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.get("name").is_none_or(|wanted| wanted == name)
            && self
                .get("search")
                .is_none_or(|part| name.to_lowercase().contains(&part.to_lowercase()))
    }
}
