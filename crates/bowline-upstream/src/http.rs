//! Requests with an end to every wait.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::{Client, client, client_config};

/// Any error a body can end with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A streamed body.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// How long each wait may take.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// Name resolution, TCP and TLS together.
    pub connect: Duration,
    /// From the request to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of the answer's body.
    pub idle: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(90),
            idle: Duration::from_secs(60),
        }
    }
}

/// Why there is no answer. The texts hold no header and no query.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL is not one that can be asked.
    #[error("{0} is not an http or https URL")]
    Url(String),
    /// TLS could not be set up.
    #[error("set up TLS: {0}")]
    Tls(String),
    /// Nobody answered in time.
    #[error("{host} gave no answer within {} s", .after.as_secs_f32())]
    Timeout {
        /// Host and port.
        host: String,
        /// The deadline.
        after: Duration,
    },
    /// The host could not be reached, or broke the exchange off.
    #[error("{host} could not be reached")]
    Unreachable {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: BoxError,
    },
}

impl HttpError {
    /// The text with everything that caused it.
    pub fn told(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let next = error.to_string();
            if !text.contains(&next) {
                text = format!("{text}: {next}");
            }
            cause = error.source();
        }
        text
    }
}

/// Sends requests to whatever host they name. TLS is set up by the first `https` URL.
#[derive(Debug)]
pub struct Http {
    authorities: Vec<PathBuf>,
    waits: Waits,
    plain: Client<Body>,
    secure: OnceLock<Result<Client<Body>, String>>,
}

impl Http {
    /// A client that trusts the system's certificate authorities and those in `authorities` (PEM files). Opens nothing.
    pub fn new(authorities: Vec<PathBuf>, waits: Waits) -> Self {
        Self {
            authorities,
            waits,
            plain: client(None, waits.connect),
            secure: OnceLock::new(),
        }
    }

    /// Sends one request and waits for the head of its answer.
    ///
    /// `first_byte` may only shorten the usual deadline. The body ends with an error when nothing comes for the idle
    /// deadline. Cancel safe: dropping the future or the body closes the connection, which is how the other side learns
    /// that nobody listens any more.
    pub async fn send(
        &self,
        mut request: Request<Body>,
        first_byte: Option<Duration>,
    ) -> Result<Response<Body>, HttpError> {
        let (host, secure) = host(request.uri())?;
        if !request.headers().contains_key(HOST)
            && let Ok(value) = HeaderValue::from_str(&host)
        {
            request.headers_mut().insert(HOST, value);
        }
        let client = if secure { self.secure()? } else { &self.plain };
        let after = first_byte.map_or(self.waits.first_byte, |wait| wait.min(self.waits.first_byte));
        match tokio::time::timeout(after, client.request(request)).await {
            Err(_) => Err(HttpError::Timeout { host, after }),
            Ok(Err(source)) => Err(HttpError::Unreachable {
                host,
                source: source.into(),
            }),
            Ok(Ok(response)) => {
                let idle = self.waits.idle;
                Ok(response.map(|body| IdleBody::new(body, idle).boxed_unsync()))
            }
        }
    }

    /// Sends a request that asks for an upgrade; the answer's body is hyper's own, so that the upgrade can be taken.
    pub async fn upgrade(&self, mut request: Request<Body>) -> Result<Response<Incoming>, HttpError> {
        let (host, secure) = host(request.uri())?;
        if let Ok(value) = HeaderValue::from_str(&host) {
            request.headers_mut().insert(HOST, value);
        }
        let client = if secure { self.secure()? } else { &self.plain };
        let after = self.waits.first_byte;
        match tokio::time::timeout(after, client.request(request)).await {
            Err(_) => Err(HttpError::Timeout { host, after }),
            Ok(answered) => answered.map_err(|source| HttpError::Unreachable {
                host,
                source: source.into(),
            }),
        }
    }

    fn secure(&self) -> Result<&Client<Body>, HttpError> {
        self.secure
            .get_or_init(|| {
                client_config(&self.authorities)
                    .map(|config| client(Some(config), self.waits.connect))
                    .map_err(|error| error.to_string())
            })
            .as_ref()
            .map_err(|error| HttpError::Tls(error.clone()))
    }
}

fn host(uri: &Uri) -> Result<(String, bool), HttpError> {
    let shown = || HttpError::Url(uri.path().to_owned());
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(shown()),
    };
    let host = uri.authority().ok_or_else(shown)?;
    // User information in a URL is a secret in the wrong place.
    if host.as_str().contains('@') {
        return Err(shown());
    }
    Ok((host.as_str().to_owned(), secure))
}

/// A body that ends with an error when nothing comes for too long.
struct IdleBody {
    body: Incoming,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
}

impl IdleBody {
    fn new(body: Incoming, idle: Duration) -> Self {
        Self {
            body,
            idle,
            timer: Box::pin(tokio::time::sleep(idle)),
        }
    }
}

impl http_body::Body for IdleBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.timer.as_mut().reset(Instant::now() + this.idle);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending if this.timer.as_mut().poll(cx).is_ready() => {
                let text = format!("nothing came for {} s", this.idle.as_secs_f32());
                Poll::Ready(Some(Err(text.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
