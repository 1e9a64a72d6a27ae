//! Requests to the server and its answers: `{"result", "status": "ok" | {"error"}, "time"}`.

use bowline_binding::{Credential, collect_boxed, full};
use bowline_upstream::Http;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::error::VectorizeError;

/// The largest answer: 1000 vectors of 1536 values with all their metadata fit.
const LARGEST: usize = 64 << 20;
/// Characters of a refusal that are passed on.
const TOLD: usize = 300;

/// One server.
pub(crate) struct Server {
    http: Http,
    /// Ends without a slash.
    url: String,
    credential: Option<Credential>,
}

/// What the server said.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    document: Value,
    credential: Option<Credential>,
}

/// The server answered something else than its documentation says.
pub(crate) fn garbage(instead_of: &str) -> VectorizeError {
    VectorizeError::Backend(format!("Qdrant answered something that is not {instead_of}"))
}

impl Server {
    pub(crate) fn new(http: Http, url: String, credential: Option<Credential>) -> Self {
        Self {
            http,
            url,
            credential,
        }
    }

    /// One request, whatever the answer.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Answer, VectorizeError> {
        let bytes = match body {
            None => Vec::new(),
            Some(body) => serde_json::to_vec(body).map_err(|_| VectorizeError::Internal)?,
        };
        let mut request = Request::new(full(bytes));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.url)
            .parse()
            .map_err(|_| VectorizeError::Internal)?;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        if let Some(credential) = &self.credential {
            credential.write(request.headers_mut());
        }
        let response = self
            .http
            .send(request, None)
            .await
            .map_err(|error| VectorizeError::Backend(format!("Qdrant: {}", error.told())))?;
        let status = response.status();
        let body = collect_boxed(response.into_body(), LARGEST)
            .await
            .map_err(|error| VectorizeError::Backend(format!("Qdrant broke off its answer: {error}")))?;
        Ok(Answer {
            status,
            document: serde_json::from_slice(&body).unwrap_or(Value::Null),
            credential: self.credential.clone(),
        })
    }

    /// One request that must succeed; its result.
    pub(crate) async fn ok(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Value, VectorizeError> {
        self.call(method, path, body).await?.ok()
    }
}

impl Answer {
    /// The result of a success. `/`, unlike the rest, answers without the envelope.
    pub(crate) fn ok(mut self) -> Result<Value, VectorizeError> {
        if self.status == StatusCode::OK {
            return match &mut self.document {
                Value::Object(members) => Ok(members.remove("result").unwrap_or(self.document)),
                _ => Err(garbage("JSON")),
            };
        }
        if matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            return Err(VectorizeError::Overloaded);
        }
        let told = self.document["status"]["error"].as_str();
        let mut told: String = told.unwrap_or("no reason given").chars().take(TOLD).collect();
        if let Some(credential) = &self.credential {
            told = credential.scrub(&told);
        }
        Err(VectorizeError::Backend(format!(
            "Qdrant answered {}: {told}",
            self.status.as_u16()
        )))
    }
}
