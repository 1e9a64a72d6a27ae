//! An upstream that is no Worker of ours.

use std::time::Duration;

use bowline_binding::{
    BindingError, BoxDuplex, ConfigError, ErrorKind, FetchReply, FetchRequest, exchange, open_websocket,
};
use http::{HeaderName, HeaderValue, Uri};
use tokio::net::TcpStream;
use url::Url;

/// Resolving and connecting together.
const CONNECT: Duration = Duration::from_secs(10);
/// From the request to the head of the answer.
const FIRST_BYTE: Duration = Duration::from_secs(60);

/// Where it is. TLS is not spoken.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    address: (String, u16),
    authority: HeaderValue,
    /// Without a slash at its end.
    path: String,
    query: Option<String>,
}

impl Upstream {
    pub(crate) fn parse(key: &str, url: &str, schemes: [&'static str; 2]) -> Result<Self, ConfigError> {
        let problem = |problem: String| ConfigError::new(key, problem);
        let url = Url::parse(url).map_err(|error| problem(format!("is not a URL: {error}")))?;
        if !schemes.contains(&url.scheme()) {
            return Err(problem(format!(
                "must be a {} URL, not {}",
                schemes[0],
                url.scheme()
            )));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(problem("must not hold credentials".to_owned()));
        }
        let host = url
            .host_str()
            .ok_or_else(|| problem("names no host".to_owned()))?;
        let port = url.port_or_known_default().unwrap_or(80);
        let authority = url
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self {
            address: (host.trim_matches(['[', ']']).to_owned(), port),
            authority: HeaderValue::from_str(&authority).map_err(|error| problem(error.to_string()))?,
            path: url.path().trim_end_matches('/').to_owned(),
            query: url.query().map(str::to_owned),
        })
    }

    /// Answers a request: path and query are the user's, below the upstream's own path.
    pub(crate) async fn fetch(&self, mut request: FetchRequest) -> Result<FetchReply, BindingError> {
        let query = match request.query() {
            "" => String::new(),
            query => format!("?{query}"),
        };
        let target = format!("{}{}{query}", self.path, request.path());
        let target: Uri = target.parse().map_err(|error| {
            let text = format!("`{}` cannot be sent: {error}", request.url);
            BindingError::new(ErrorKind::Invalid, "fetch", text)
        })?;
        // The upstream is addressed by its own name; what user code addressed is told beside it.
        let (scheme, rest) = request.url.split_once("://").unwrap_or_default();
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        for (name, value) in [("x-forwarded-proto", scheme), ("x-forwarded-host", host)] {
            if let Ok(value) = HeaderValue::from_str(value) {
                request.headers.insert(HeaderName::from_static(name), value);
            }
        }
        request.headers.insert(http::header::HOST, self.authority.clone());
        let stream = self.open("fetch").await?;
        exchange(stream, request, target, None, FIRST_BYTE)
            .await
            .map_err(|error| self.failed("fetch", error))
    }

    /// Opens a session.
    pub(crate) async fn session(&self) -> Result<BoxDuplex, BindingError> {
        let query = self
            .query
            .as_ref()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let target = format!("{}/{query}", self.path);
        let target: Uri = target.parse().map_err(|error: http::uri::InvalidUri| {
            BindingError::new(ErrorKind::Invalid, "rpc", error.to_string())
        })?;
        let stream = self.open("rpc").await?;
        open_websocket(stream, target, self.authority.clone(), FIRST_BYTE)
            .await
            .map_err(|error| self.failed("rpc", error))
    }

    async fn open(&self, operation: &'static str) -> Result<TcpStream, BindingError> {
        let (host, port) = &self.address;
        let opened = tokio::time::timeout(CONNECT, TcpStream::connect((host.as_str(), *port))).await;
        let stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.failed(operation, error)),
            Err(_) => {
                let late = format!("no connection within {} s", CONNECT.as_secs());
                return Err(self.failed(operation, std::io::Error::new(std::io::ErrorKind::TimedOut, late)));
            }
        };
        // A peer that cannot take the option still works, only slower.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    fn failed<E>(&self, operation: &'static str, error: E) -> BindingError
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let (host, port) = &self.address;
        let text = format!("the upstream {host}:{port} does not answer: {error}");
        BindingError::new(ErrorKind::Unavailable, operation, text).caused_by(error)
    }
}
