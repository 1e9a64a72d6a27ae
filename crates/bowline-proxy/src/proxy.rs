//! One request from the local side to the remote and back.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bowline_credentials::{
    Asked, Credentials, Exchange, Host, Judgement, PREFIX, PreviewToken, PreviewTokens, Refusal, Sending,
    classify, needs_body,
};
use bowline_upstream::TlsError;
use bowline_wire::flow::{Flow, classify as call_of, flow_of};
use bowline_wire::header::{CF_WORKERS_PREVIEW_TOKEN, MF_FORWARDED_RESPONSE};
use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderName, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use crate::preview::{self, Ended};
use crate::repeat::Repeat;
use crate::respond::{self, Failure, Form, Hop};
use crate::warm::{self, Kind, Warm};

/// A streamed body. The same type as `bowline_binding::Body`, without the dependency.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// How long each wait may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Name resolution, TCP and TLS together.
    pub connect: Duration,
    /// From sending an upgrade to its answer.
    pub upgrade: Duration,
    /// From sending a request to the head of its answer. Generous: a model may think for minutes.
    pub first_byte: Duration,
    /// Reading the body of a refusal.
    pub refusal_body: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            upgrade: Duration::from_secs(30),
            first_byte: Duration::from_secs(300),
            refusal_body: Duration::from_secs(5),
        }
    }
}

/// Called with the text of a refusal.
pub type OnRefusal = Box<dyn Fn(&str) + Send + Sync>;

/// What a proxy is made of.
#[derive(Default)]
pub struct ProxyOptions {
    /// The remote, `http:` or `https:`, with an optional path that is put before every request's path.
    pub remote: Uri,
    /// What to send to it. They must belong to its host.
    pub credentials: Credentials,
    /// The preview session that the remote is, if it is one.
    pub preview: Option<PreviewTokens>,
    /// Keep upgraded connections ready for rpc.
    pub warm: bool,
    /// Files of certificate authorities to trust besides the system's.
    pub extra_authorities: Vec<PathBuf>,
    /// Deadlines.
    pub deadlines: Deadlines,
    /// Called with the full text of a refusal, once for each kind and life of the proxy.
    pub on_refusal: Option<OnRefusal>,
}

/// A proxy could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The remote is not an `http:` or `https:` URL with a host and no query.
    ///
    /// It is not shown: its path may be a capability, its user information a password.
    #[error("the remote must be an http or https URL with a host, and without user information or a query")]
    Remote,
    /// The credentials belong to another host.
    #[error("the credentials belong to another host than {0}")]
    ForeignCredentials(Host),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The proxy of one remote. Cheap to clone.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    client: bowline_upstream::Client<Body>,
    scheme: http::uri::Scheme,
    authority: http::uri::Authority,
    host: HeaderValue,
    /// The remote's own path without a trailing `/`.
    prefix: String,
    /// Where a request without a path or query of its own goes.
    root: Uri,
    credentials: Credentials,
    preview: Option<PreviewTokens>,
    warm: Option<Warm>,
    deadlines: Deadlines,
    on_refusal: Option<OnRefusal>,
    /// One bit for each kind of refusal that was told.
    told: AtomicU8,
    shutdown: CancellationToken,
}

impl Proxy {
    /// A proxy for one remote. Opens nothing yet.
    pub fn new(options: ProxyOptions) -> Result<Self, ProxyError> {
        let bad = || ProxyError::Remote;
        let parts = options.remote.clone().into_parts();
        let scheme = parts
            .scheme
            .filter(|scheme| matches!(scheme.as_str(), "http" | "https"))
            .ok_or_else(bad)?;
        let authority = parts.authority.ok_or_else(bad)?;
        let whose = Host::at(scheme.as_str(), &authority).ok_or_else(bad)?;
        if !options.credentials.may_go_to(&whose) {
            return Err(ProxyError::ForeignCredentials(whose));
        }
        if options.remote.query().is_some() {
            return Err(bad());
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| bad())?;
        let tls = if scheme.as_str() == "https" {
            Some(bowline_upstream::client_config(&options.extra_authorities)?)
        } else {
            None
        };
        let prefix = options.remote.path().trim_end_matches('/').to_owned();
        let root = at(&scheme, &authority, &format!("{prefix}/")).map_err(|_| bad())?;
        Ok(Self(Arc::new(Inner {
            client: bowline_upstream::client(tls, options.deadlines.connect),
            scheme,
            authority,
            host,
            prefix,
            root,
            credentials: options.credentials,
            preview: options.preview,
            warm: options.warm.then(Warm::default),
            deadlines: options.deadlines,
            on_refusal: options.on_refusal,
            told: AtomicU8::new(0),
            shutdown: CancellationToken::new(),
        })))
    }

    /// Where requests go: host, and port where one is named.
    pub fn authority(&self) -> &str {
        self.0.authority.as_str()
    }

    /// Ends every spliced stream. Requests under way go on.
    pub fn shutdown(&self) {
        self.0.shutdown.cancel();
        if let Some(warm) = &self.0.warm {
            warm.clear();
        }
    }

    /// Carries one request in the form of the wire. `path` is what follows the remote's own path, starting with `/`.
    ///
    /// Never fails: what goes wrong becomes an answer the caller's flow can show. Dropping the future drops the request.
    pub async fn call<B>(&self, path: &str, mut request: Request<B>) -> Response<Body>
    where
        B: http_body_util::BodyExt<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let flow = flow_of(request.uri(), request.headers());
        let upgrade = request
            .headers()
            .contains_key(UPGRADE)
            .then(|| hyper::upgrade::on(&mut request));
        let key = request.headers().get(SEC_WEBSOCKET_KEY).cloned();
        let form = Form::accepted(request.headers());
        let kind = (self.0.warm.is_some() && flow == Flow::Rpc).then(|| Kind::of(path, &request));
        let spare = kind.as_ref().and_then(|kind| {
            let spare = self.0.warm.as_ref()?.take(kind, self.generation())?;
            Some((spare, key.as_ref().and_then(switching)?))
        });
        if let (Some((remote, response)), Some(kind)) = (spare, &kind) {
            if let Some(local) = upgrade {
                self.join(local, std::future::ready(Ok(remote)));
            }
            self.warm_up(kind);
            return response;
        }
        match (self.exchange(path, request).await, upgrade) {
            (Ok(response), Some(local)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                // Only now: what is refused once would be refused again.
                if let Some(kind) = &kind {
                    self.warm_up(kind);
                }
                self.splice(response, local)
            }
            (Ok(response), _) => response,
            // The request never left, so there is no session to speak in.
            (Err(failure), _) if failure.hop == Hop::Request => failure.into_response(form),
            // A failed upgrade of an rpc session tells user code nothing. One of a connect fails the caller's socket, which
            // a socket that opens and ends would not do: its reader would see a clean end.
            (Err(failure), Some(local)) if flow == Flow::Rpc => respond_on_socket(failure, key, local),
            (Err(failure), _) => failure.into_response(form),
        }
    }

    /// As [`Proxy::call`], for a caller in this process: a failure is an error, and the far side of an upgrade is taken
    /// from a 101 with `hyper::upgrade::on`. Dropping the future drops the request.
    pub async fn exchange<B>(&self, path: &str, request: Request<B>) -> Result<Response<Body>, Failure>
    where
        B: http_body_util::BodyExt<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let call = call_of(request.uri(), request.headers()).map_err(respond::bad_request)?;
        let (flow, binding) = (call.flow, call.binding);
        tracing::debug!(flow = flow.name(), binding.name = %binding, upstream.host = %self.0.authority, "call");
        let asked = match (flow, call.upgrade) {
            (Flow::Fetch, false) => Asked::Request,
            (Flow::Fetch, true) => Asked::Upgrade,
            (Flow::Rpc | Flow::Connect, _) => Asked::Session,
        };
        let mut outgoing = self.outgoing(path, request)?;
        let (credentials, preview) = (&self.0.credentials, self.0.preview.as_ref());
        let mut sending = credentials.ready().await;
        let host = self.0.authority.as_str();
        let no_preview = |error| respond::no_preview(&binding, host, error);
        let mut token = match preview {
            Some(tokens) => Some(tokens.ready().await.map_err(no_preview)?),
            None => None,
        };
        // Either may turn out to have ended, once.
        let mut turns = u8::from(credentials.may_retry()) + u8::from(preview.is_some());
        loop {
            let mut again = None;
            if turns > 0 {
                turns -= 1;
                let (request, repeat) = Repeat::of(outgoing, self.0.deadlines.first_byte).await;
                (outgoing, again) = (request, Some(repeat));
            }
            sending.add_to(outgoing.headers_mut());
            if let Some(token) = &token {
                token.add_to(CF_WORKERS_PREVIEW_TOKEN, outgoing.headers_mut());
            }
            let response = self.send(&binding, call.upgrade, outgoing).await?;
            let status = response.status();
            let judged = self.judge(&binding, flow, asked, (&sending, token.as_ref()), response);
            match judged.await? {
                Judged::Passed(response) => return Ok(response),
                Judged::Ended { generation } => {
                    let tokens = preview.ok_or_else(|| respond::preview_ended(&binding, host))?;
                    tokens.dead(generation);
                    // It reached no Worker, so that sending it again repeats nothing.
                    let request = again.as_ref().and_then(Repeat::request);
                    outgoing = request.ok_or_else(|| respond::preview_ended(&binding, host))?;
                    token = Some(tokens.newer_than(generation).await.map_err(no_preview)?);
                }
                Judged::Refused(judgement) => {
                    // What was opened with the same credentials is about to be cut, and would fail without a reason.
                    if let Some(warm) = &self.0.warm {
                        warm.clear();
                    }
                    let next = credentials.after_refusal(&sending, judgement.refusal).await;
                    match (next, again.as_ref().and_then(Repeat::request)) {
                        (Some(next), Some(request)) => (sending, outgoing) = (next, request),
                        (next, _) => {
                            return Err(self.refused(&binding, status, &judgement, &sending, next.is_some()));
                        }
                    }
                }
            }
        }
    }

    /// The number of the preview token that requests carry now; 0 without one.
    fn generation(&self) -> u64 {
        self.0.preview.as_ref().map_or(0, PreviewTokens::generation)
    }

    /// Opens connections for later calls of a kind that has just been used.
    fn warm_up(&self, kind: &Kind) {
        if let Some(warm) = &self.0.warm {
            for _ in 0..warm.lacking(kind) {
                tokio::spawn(self.clone().open_spare(kind.clone()));
            }
        }
    }

    /// Opens a connection, and closes it again if there is no call for it.
    async fn open_spare(self, kind: Kind) {
        let Some(warm) = &self.0.warm else { return };
        let generation = self.generation();
        let key = tokio_tungstenite::tungstenite::handshake::client::generate_key();
        // Base64 is a header's value.
        let Ok(key) = HeaderValue::from_str(&key) else {
            return;
        };
        let opened = async {
            let (path, request) = kind.request::<Empty<Bytes>>(key);
            let mut response = self.exchange(&path, request).await.ok()?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return None;
            }
            let upgraded = hyper::upgrade::on(&mut response);
            tokio::time::timeout(self.0.deadlines.upgrade, upgraded)
                .await
                .ok()?
                .ok()
        };
        let opened = tokio::select! {
            opened = opened => opened,
            () = self.0.shutdown.cancelled() => return,
        };
        let Some(upgraded) = opened else {
            return warm.failed(&kind);
        };
        warm.put(&kind, TokioIo::new(upgraded), generation);
        tokio::select! {
            () = tokio::time::sleep(warm::IDLE) => warm.sweep(),
            () = self.0.shutdown.cancelled() => warm.clear(),
        }
    }

    /// The request as it goes to the remote: where to, for whom, and with which credentials; the rest untouched.
    fn outgoing<B>(&self, path: &str, request: Request<B>) -> Result<Request<Body>, Failure>
    where
        B: http_body_util::BodyExt<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        *request.uri_mut() = match request.uri().query() {
            // All of fetch and connect, and worth not parsing a URL for.
            None if path == "/" => self.0.root.clone(),
            query => {
                let query = query.map(|query| format!("?{query}")).unwrap_or_default();
                let target = format!("{}{path}{query}", self.0.prefix);
                at(&self.0.scheme, &self.0.authority, &target).map_err(respond::bad_request)?
            }
        };
        if self.0.preview.is_some() {
            preview::prepare(request.headers_mut());
        }
        // `insert` replaces in place, so the order of the others stays as it came.
        request.headers_mut().insert(HOST, self.0.host.clone());
        if request.headers().contains_key(UPGRADE) && request.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS)
        {
            // Frames are spliced as they are, so neither leg may compress them.
            let kept = without(request.headers(), &SEC_WEBSOCKET_EXTENSIONS);
            *request.headers_mut() = kept;
        }
        Ok(request)
    }

    /// Sends one request and waits for the head of its answer.
    async fn send(
        &self,
        binding: &str,
        upgrade: bool,
        request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, Failure> {
        let (hop, deadline) = if upgrade {
            (Hop::Upgrade, self.0.deadlines.upgrade)
        } else {
            (Hop::Answer, self.0.deadlines.first_byte)
        };
        match tokio::time::timeout(deadline, self.0.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.unreachable(binding, &error)),
            Err(_) => {
                let cause = format!("nothing came within {} s", deadline.as_secs_f32());
                let host = self.0.authority.as_str();
                Err(respond::unreachable(binding, hop, host, &cause, true))
            }
        }
    }

    /// Passes an answer on, or recognises a refusal in it. Only an answer that might be one has its body looked at.
    async fn judge(
        &self,
        binding: &str,
        flow: Flow,
        asked: Asked,
        (sending, token): (&Sending, Option<&PreviewToken>),
        response: Response<hyper::body::Incoming>,
    ) -> Result<Judged, Failure> {
        let boxed = |body: hyper::body::Incoming| body.map_err(Into::into).boxed_unsync();
        let status = response.status();
        let credentials = &self.0.credentials;
        let forwarded = response.headers().contains_key(MF_FORWARDED_RESPONSE) && flow == Flow::Fetch;
        if let Some(token) = token
            && preview::may_have_ended(status)
        {
            let (parts, body) = response.into_parts();
            let (prefix, rest) = read_prefix(body, self.0.deadlines.refusal_body).await;
            // Whatever it says, Access let it pass.
            credentials.admitted();
            let generation = token.generation();
            match preview::ended(status, forwarded, &prefix) {
                Some(Ended::Token) => return Ok(Judged::Ended { generation }),
                Some(Ended::Product) => {
                    if let Some(tokens) = &self.0.preview {
                        tokens.stale(generation);
                    }
                }
                None => {}
            }
            if flow != Flow::Fetch {
                let host = self.0.authority.as_str();
                return Err(respond::not_upgraded(binding, host, status, &prefix));
            }
            let body = replay(vec![Ok(Frame::data(prefix))], boxed(rest));
            return Ok(Judged::Passed(Response::from_parts(parts, body)));
        }
        if forwarded {
            credentials.admitted();
            return Ok(Judged::Passed(response.map(boxed)));
        }
        let exchange = Exchange {
            asked,
            sent: sending.sent(),
            passes_requests_only: credentials.passes_requests_only(),
        };
        let upgrade_failed = flow != Flow::Fetch && status != StatusCode::SWITCHING_PROTOCOLS;
        let (parts, body) = response.into_parts();
        if !upgrade_failed && !needs_body(status, &parts.headers) {
            return Ok(match classify(status, &parts.headers, b"", exchange) {
                Some(judgement) => Judged::Refused(judgement),
                None => {
                    // An edge in trouble has judged nobody.
                    if status == StatusCode::SWITCHING_PROTOCOLS {
                        credentials.upgraded();
                    } else if !status.is_server_error() {
                        credentials.admitted();
                    }
                    Judged::Passed(Response::from_parts(parts, boxed(body)))
                }
            });
        }
        let (prefix, rest) = read_prefix(body, self.0.deadlines.refusal_body).await;
        match classify(status, &parts.headers, &prefix, exchange) {
            Some(judgement) => Ok(Judged::Refused(judgement)),
            None if upgrade_failed => {
                let host = self.0.authority.as_str();
                Err(respond::not_upgraded(binding, host, status, &prefix))
            }
            None => {
                let body = replay(vec![Ok(Frame::data(prefix))], boxed(rest));
                Ok(Judged::Passed(Response::from_parts(parts, body)))
            }
        }
    }

    fn refused(
        &self,
        binding: &str,
        status: StatusCode,
        judgement: &Judgement,
        sent: &Sending,
        switched: bool,
    ) -> Failure {
        let host = self.0.authority.as_str();
        let state = self.0.credentials.state();
        let failure = respond::refused(binding, host, status, judgement, state, switched);
        let refusal = judgement.refusal;
        tracing::debug!(upstream.host = %self.0.authority, refusal = refusal.code(), sent = ?sent.sent(), "refused");
        let bit = Refusal::ALL
            .iter()
            .position(|one| *one == refusal)
            .map_or(0, |at| 1 << at);
        if self.0.told.fetch_or(bit, Ordering::Relaxed) & bit == 0
            && let Some(tell) = &self.0.on_refusal
        {
            tell(failure.text.trim_end());
        }
        failure
    }

    fn unreachable(&self, binding: &str, error: &hyper_util::client::legacy::Error) -> Failure {
        let mut cause = String::new();
        let mut next: Option<&dyn std::error::Error> = std::error::Error::source(error);
        let mut timed_out = false;
        while let Some(error) = next {
            timed_out |= error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut);
            cause = error.to_string();
            next = error.source();
        }
        let hop = if error.is_connect() {
            Hop::Connect
        } else {
            Hop::Send
        };
        let cause = if cause.is_empty() {
            error.to_string()
        } else {
            cause
        };
        respond::unreachable(binding, hop, self.0.authority.as_str(), &cause, timed_out)
    }

    /// Joins the two upgraded connections. Bytes go through as they are.
    fn splice(&self, mut response: Response<Body>, local: hyper::upgrade::OnUpgrade) -> Response<Body> {
        let remote = hyper::upgrade::on(&mut response);
        self.join(local, async { remote.await.map(TokioIo::new) });
        let (parts, _) = response.into_parts();
        Response::from_parts(parts, Empty::new().map_err(|never| match never {}).boxed_unsync())
    }

    fn join(
        &self,
        local: hyper::upgrade::OnUpgrade,
        remote: impl Future<Output = hyper::Result<TokioIo<Upgraded>>> + Send + 'static,
    ) {
        let (shutdown, deadline) = (self.0.shutdown.clone(), self.0.deadlines.upgrade);
        tokio::spawn(async move {
            let both = async { tokio::try_join!(local, remote) };
            let Ok(Ok((local, remote))) = tokio::time::timeout(deadline, both).await else {
                return;
            };
            tokio::select! {
                // How it ended is told by the frames themselves; an abrupt end on one side becomes one on the other.
                () = bowline_tunnel::splice(TokioIo::new(local), remote) => {}
                () = shutdown.cancelled() => {}
            }
        });
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({})", self.0.authority)
    }
}

/// What an answer turned out to be.
enum Judged {
    Passed(Response<Body>),
    /// Something in front of the remote refused.
    Refused(Judgement),
    /// The edge does not know the preview token of this number.
    Ended {
        generation: u64,
    },
}

/// `headers` in their order, without one name. (`HeaderMap::remove` moves the last header into the gap.)
fn without(headers: &HeaderMap, name: &HeaderName) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (key, value) in headers.iter().filter(|(key, _)| *key != name) {
        kept.append(key.clone(), value.clone());
    }
    kept
}

fn at(
    scheme: &http::uri::Scheme,
    authority: &http::uri::Authority,
    target: &str,
) -> Result<Uri, http::Error> {
    Uri::builder()
        .scheme(scheme.clone())
        .authority(authority.clone())
        .path_and_query(target)
        .build()
}

/// The answer to an upgrade with this key.
fn switching(key: &HeaderValue) -> Option<Response<Body>> {
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(http::header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        http::header::SEC_WEBSOCKET_ACCEPT,
        HeaderValue::from_str(&accept).ok()?,
    );
    Some(response)
}

/// Answers a failed rpc upgrade on a WebSocket of our own (docs/adr/0001).
fn respond_on_socket(
    failure: Failure,
    key: Option<HeaderValue>,
    local: hyper::upgrade::OnUpgrade,
) -> Response<Body> {
    let Some(response) = key.as_ref().and_then(switching) else {
        return failure.into_response(Form::Text);
    };
    tokio::spawn(async move {
        let Ok(Ok(upgraded)) = tokio::time::timeout(Duration::from_secs(30), local).await else {
            return;
        };
        let socket = bowline_tunnel::server_socket(TokioIo::new(upgraded)).await;
        bowline_tunnel::reject_rpc(socket, &failure.text, failure.first_line()).await;
    });
    response
}

/// At most [`PREFIX`] bytes of a body, or what has come when the deadline passes; and the rest, unread.
async fn read_prefix(mut body: hyper::body::Incoming, deadline: Duration) -> (Bytes, hyper::body::Incoming) {
    let mut prefix = BytesMut::new();
    let _ = tokio::time::timeout(deadline, async {
        while prefix.len() < PREFIX {
            match body.frame().await {
                // Trailers of an answer this short are nobody's.
                Some(Ok(frame)) => {
                    prefix.extend_from_slice(frame.data_ref().map_or(&[], |data| data.as_ref()))
                }
                Some(Err(_)) | None => break,
            }
        }
    })
    .await;
    (prefix.freeze(), body)
}

/// A body that was looked at, put together again.
pub(crate) fn replay(
    read: Vec<Result<Frame<Bytes>, Box<dyn std::error::Error + Send + Sync>>>,
    rest: Body,
) -> Body {
    use futures_util::StreamExt;
    let rest = http_body_util::BodyStream::new(rest);
    StreamBody::new(futures_util::stream::iter(read).chain(rest)).boxed_unsync()
}
