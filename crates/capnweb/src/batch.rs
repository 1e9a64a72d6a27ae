//! Sessions of one HTTP exchange: all messages of the client in the request's body, all of the server's in the response's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Notify;

use crate::core::Core;
use crate::driver::{Input, Received, Running, Stop, Wire, deliver, drive};
use crate::{Error, Session, SessionError, SessionOptions, Stub, Target};

/// No answer to a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The batch broke the protocol or a limit.
    #[error("the batch aborted its session")]
    Aborted(#[source] Option<SessionError>),
    /// Something it asks for was not answered in time: perhaps a call of a stub of the client's, which cannot be answered
    /// in a batch.
    #[error("the batch was not answered within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
}

/// Answers a batch: the request's body in, the response's body out.
///
/// Everything that the batch pulls is waited for, at most `deadline`.
pub async fn serve_batch(
    body: &str,
    main: Arc<dyn Target>,
    options: SessionOptions,
    deadline: Duration,
) -> Result<String, BatchError> {
    serve_batch_with(body, options, |_| main, deadline).await
}

/// As [`serve_batch`], for a main object that needs the session.
pub(crate) async fn serve_batch_with(
    body: &str,
    options: SessionOptions,
    main: impl FnOnce(&Session) -> Arc<dyn Target>,
    deadline: Duration,
) -> Result<String, BatchError> {
    if body.is_empty() {
        return Ok(String::new());
    }
    let core = options.core_with(main);
    let shared = Arc::new(Shared::default());
    let lines = Lines {
        // A trailing newline is an empty last message, which is malformed; that is the peer's to avoid.
        incoming: body.split('\n').map(str::to_owned).collect(),
        shared: Arc::clone(&shared),
    };
    let session = Session::new(Arc::clone(&core));
    let answered = async {
        shared.read.notified().await;
        session.drain().await
    };
    tokio::select! {
        biased;
        ended = drive(Arc::clone(&core), lines, &options) => return Err(BatchError::Aborted(ended.err())),
        answered = answered => if answered.is_err() {
            return Err(BatchError::Aborted(None));
        },
        () = tokio::time::sleep(deadline) => return Err(BatchError::TimedOut(deadline)),
    }
    let mut outgoing = std::mem::take(&mut *shared.outgoing.lock().unwrap_or_else(PoisonError::into_inner));
    core.drive(|state| outgoing.extend(std::iter::from_fn(|| state.session.poll_message())));
    core.fail(ended());
    Ok(outgoing.join("\n"))
}

#[derive(Default)]
struct Shared {
    outgoing: Mutex<Vec<String>>,
    /// All messages have been handled.
    read: Notify,
}

struct Lines {
    incoming: VecDeque<String>,
    shared: Arc<Shared>,
}

impl Wire for Lines {
    fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<Received> {
        match self.incoming.pop_front() {
            Some(line) => Poll::Ready(Received::Text(line.into())),
            None => {
                self.shared.read.notify_one();
                Poll::Pending
            }
        }
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(true)
    }

    fn feed(&mut self, message: String) -> bool {
        self.shared
            .outgoing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(message);
        true
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(true)
    }

    async fn close(&mut self, _: u16, _: &str) {}
}

fn ended() -> Error {
    Error::new("Error", "Batch RPC request ended.").disconnected()
}

/// Makes calls in one HTTP exchange.
///
/// `calls` runs until it first has to wait: what it has called by then goes into the request, and what it then waits for is
/// answered. So await several results together (`tokio::join!`), not one after the other. Whatever is open when the
/// response has been read, and every later call, fails with `Batch RPC request ended.`
///
/// `post` sends the request's body and gives the response's, with any HTTP client. [`batch_over_http`] brings one.
pub async fn batch<R>(
    options: SessionOptions,
    post: impl AsyncFnOnce(String) -> Result<String, Error>,
    calls: impl AsyncFnOnce(Stub) -> R,
) -> R {
    let core = options.core(Arc::new(crate::target::NoMain));
    let main = Stub::owner(Arc::clone(&core), core.with(|state| state.session.remote_main()));
    let exchange = async {
        // Second in the join below, so the calls have run as far as they come.
        let outgoing: Vec<String> =
            core.drive(|state| std::iter::from_fn(|| state.session.poll_message()).collect());
        let error = match exchange(&core, post, outgoing).await {
            Ok(()) => ended(),
            Err(error) => error.disconnected(),
        };
        core.fail(error);
    };
    let calls = calls(main);
    let (result, ()) = tokio::join!(biased; calls, exchange);
    result
}

async fn exchange(
    core: &Arc<Core>,
    post: impl AsyncFnOnce(String) -> Result<String, Error>,
    outgoing: Vec<String>,
) -> Result<(), Error> {
    let answer = post(outgoing.join("\n")).await?;
    // Calls of the server's run, and their answers go nowhere.
    let mut running = Running::new();
    for line in answer.split('\n').filter(|_| !answer.is_empty()) {
        deliver(core, Input::Message(line.into()), &mut running, &mut false).map_err(|stop| match stop {
            Stop::Aborted(error) => error,
            Stop::Fault(fault) => Error::new(fault.class(), fault.to_string()),
        })?;
    }
    Ok(())
}

/// Sends batches to `http:` URLs, over connections that are kept for the next one. Clones share them.
#[derive(Debug, Clone)]
pub struct BatchClient(Client<HttpConnector, Full<Bytes>>);

impl Default for BatchClient {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchClient {
    /// A client without a connection. It belongs to the tokio runtime it is first used on.
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        // Small messages must not wait for a full segment.
        connector.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// [`batch`] to a URL, with headers of your own. At most `options.send_deadline` for the whole exchange.
    pub async fn batch<R>(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        options: SessionOptions,
        calls: impl AsyncFnOnce(Stub) -> R,
    ) -> R {
        let (deadline, limit) = (
            options.send_deadline,
            options.limits.max_message_size.saturating_mul(4),
        );
        let post = async |body: String| {
            tokio::time::timeout(deadline, self.post(url, headers, body, limit))
                .await
                .unwrap_or_else(|_| Err(Error::new("Error", "the server did not answer the batch in time")))
        };
        batch(options, post, calls).await
    }

    async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: String,
        limit: usize,
    ) -> Result<String, Error> {
        let fault = |error: &dyn std::fmt::Display| Error::new("TypeError", format!("fetch failed: {error}"));
        let uri: http::Uri = url.parse().map_err(|error| fault(&error))?;
        if uri.scheme_str() != Some("http") || uri.host().is_none() {
            return Err(fault(&"not an http: URL"));
        }
        let mut request = http::Request::post(uri)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| fault(&error))?;
        for (name, value) in headers {
            let (Ok(name), Ok(mut value)) = (HeaderName::try_from(*name), HeaderValue::try_from(*value))
            else {
                return Err(fault(&"a header has characters that cannot be sent"));
            };
            value.set_sensitive(true);
            request.headers_mut().append(name, value);
        }
        let response = self.0.request(request).await.map_err(|error| fault(&error))?;
        let status = response.status();
        if !status.is_success() {
            let text = status.canonical_reason().unwrap_or_default();
            let text = format!("RPC request failed: {} {text}", status.as_u16());
            return Err(Error::new("Error", text));
        }
        let body = Limited::new(response.into_body(), limit).collect().await;
        let body = body.map_err(|error| fault(&error))?.to_bytes();
        String::from_utf8(body.into()).map_err(|_| fault(&"the response is not UTF-8"))
    }
}

/// One [`BatchClient::batch`] with a client of its own.
pub async fn batch_over_http<R>(
    url: &str,
    headers: &[(&str, &str)],
    options: SessionOptions,
    calls: impl AsyncFnOnce(Stub) -> R,
) -> R {
    BatchClient::new().batch(url, headers, options, calls).await
}
