//! Small requests of our own: redirects are seen, never followed; bodies and times are bounded.

use std::path::PathBuf;
use std::time::Duration;

use bowline_upstream::{Client, TlsError, client, client_config};
use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};

/// From the start of a connection to its TLS.
const CONNECT: Duration = Duration::from_secs(7);
/// Firewalls refuse what does not say who it is.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("bowline/", env!("CARGO_PKG_VERSION")));

/// An answer, its body cut to what was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The other side cannot be reached, or went away.
    #[error("reach {host}")]
    Unreachable {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("{host} did not answer within {} s", .within.as_secs_f32())]
    TimedOut {
        /// The host.
        host: String,
        /// The time it had.
        within: Duration,
    },
}

/// Sends requests. Clones share connections.
#[derive(Clone)]
pub struct HttpClient(Client<Empty<Bytes>>);

impl HttpClient {
    /// A client that trusts the system's certificate authorities and those in `extra`.
    pub fn new(extra: &[PathBuf]) -> Result<Self, TlsError> {
        Ok(Self(client(Some(client_config(extra)?), CONNECT)))
    }

    /// Sends one request and reads at most `most` bytes of its body, all `within` a time. A `101` has no body.
    pub(crate) async fn send(
        &self,
        mut request: Request<Empty<Bytes>>,
        most: usize,
        within: Duration,
    ) -> Result<Answer, HttpError> {
        let host = host_of(request.uri());
        request.headers_mut().entry(USER_AGENT).or_insert(AGENT);
        if let Some(value) = request
            .uri()
            .authority()
            .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
        {
            request.headers_mut().insert(HOST, value);
        }
        let unreachable = |source| HttpError::Unreachable {
            host: host.clone(),
            source,
        };
        let exchange = async {
            let response = self
                .0
                .request(request)
                .await
                .map_err(|error| unreachable(Box::new(error)))?;
            let (parts, mut body) = response.into_parts();
            let mut read = BytesMut::new();
            while read.len() < most && parts.status != StatusCode::SWITCHING_PROTOCOLS {
                let Some(frame) = body.frame().await else { break };
                let frame = frame.map_err(|error| unreachable(Box::new(error)))?;
                if let Some(data) = frame.data_ref() {
                    read.extend_from_slice(&data[..data.len().min(most - read.len())]);
                }
            }
            Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body: read.freeze(),
            })
        };
        tokio::time::timeout(within, exchange).await.unwrap_or_else(|_| {
            Err(HttpError::TimedOut {
                host: host.clone(),
                within,
            })
        })
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpClient")
    }
}

fn host_of(url: &Uri) -> String {
    url.authority().map(ToString::to_string).unwrap_or_default()
}
