//! A session in progress: the task that does what its [`Lifecycle`] says.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bowline_api::{ApiError, EdgePreview, Preview, Retry, UploadToken};
use bowline_credentials::{PreviewToken, PreviewTokenSource, PreviewTokens};
use bowline_upstream::Http;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::lifecycle::{Expiry, Fault, Job, Lifecycle, Step, Timing, Told};
use crate::tail::{self, Log};
use crate::{RemoteBinding, proxy_worker};

/// The clock is looked at this often even when nothing is due: a machine that slept has not counted the time.
const GLANCE: Duration = Duration::from_secs(20);

/// What a session tells its user, as it happens.
#[derive(Debug)]
pub enum News<'a> {
    /// It was renewed, or its bindings were changed, after this many failures.
    Renewed {
        /// Failures before.
        failures: u32,
    },
    /// An attempt to renew it failed.
    Failed {
        /// Why.
        error: &'a SessionError,
        /// The next attempt comes after this.
        again_in: Duration,
        /// Whether requests wait meanwhile: the old token does not work any more.
        held: bool,
    },
    /// The proxy Worker, or what it calls, wrote a line to its log.
    Log(&'a Log),
}

/// Called with every piece of news. It must not block.
pub type OnNews = Arc<dyn Fn(News<'_>) + Send + Sync>;

/// What a session is made of.
pub struct SessionOptions {
    /// The API.
    pub api: EdgePreview,
    /// Connections for the tail.
    pub http: Arc<Http>,
    /// What the proxy Worker has.
    pub bindings: Vec<RemoteBinding>,
    /// How long things last.
    pub timing: Timing,
    /// Who is told.
    pub on_news: OnNews,
}

/// Why there is no session, or no newer one.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A call on the API failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The account's subdomain is another now, and with it the host that credentials belong to.
    #[error("previews of this account are served at {to} now, no longer at {from}: start again")]
    Moved {
        /// The host so far.
        from: String,
        /// The host now.
        to: String,
    },
    /// A token cannot stand in a header.
    #[error("the API gave a preview token that no header can carry")]
    Unsendable,
}

impl SessionError {
    /// What the user could do.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Api(error) => error.advice(),
            Self::Moved { .. } | Self::Unsendable => None,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Api(error) if error.is_session_expired() => Fault::SessionEnded,
            Self::Api(error) => match error.retry() {
                Retry::Never => Fault::Lasting,
                Retry::Soon => Fault::Temporary(Duration::ZERO),
                Retry::After(least) => Fault::Temporary(least),
            },
            Self::Moved { .. } | Self::Unsendable => Fault::Lasting,
        }
    }
}

/// A preview session that keeps itself alive until it is dropped. Nothing is deleted then: sessions run out by themselves.
pub struct PreviewSession {
    host: String,
    tokens: PreviewTokens,
    bindings: watch::Sender<Arc<[RemoteBinding]>>,
    over: CancellationToken,
}

impl PreviewSession {
    /// Makes a session. Ready when its first preview token is.
    ///
    /// Cancel safe: dropped, what was begun at Cloudflare runs out by itself.
    ///
    /// # Errors
    /// Any failure of the first attempt (of the API client's attempts, that is). Later ones are retried for as long as the
    /// session lives.
    pub async fn start(options: SessionOptions) -> Result<Self, SessionError> {
        let (source, tokens) = PreviewTokens::new();
        let (bindings, changes) = watch::channel(Arc::from(options.bindings));
        let over = CancellationToken::new();
        let guard = over.clone().drop_guard();
        let mut driver = Driver {
            lifecycle: Lifecycle::new(options.timing, rand::random()),
            clock: Clock::start(),
            api: options.api,
            http: options.http,
            source,
            bindings: changes,
            session: None,
            ended: None,
            on_news: options.on_news,
            tail: None,
            over: over.clone(),
        };
        let host = driver.open().await?;
        tokio::spawn(driver.run());
        Ok(Self {
            host,
            tokens,
            bindings,
            over: guard.disarm(),
        })
    }

    /// The host that previews are served at, over TLS.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What requests to it carry.
    pub fn tokens(&self) -> &PreviewTokens {
        &self.tokens
    }

    /// Other bindings from now on. Requests go on with the old ones until the new ones are there.
    pub fn change(&self, bindings: Vec<RemoteBinding>) {
        self.bindings.send_replace(Arc::from(bindings));
    }
}

impl Drop for PreviewSession {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

impl fmt::Debug for PreviewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PreviewSession({}, {:?})", self.host, self.tokens)
    }
}

/// Time that does not stand still while the machine sleeps: the later of the two clocks. (A wall clock may be set back, a
/// monotonic one may stop.)
#[derive(Clone, Copy)]
struct Clock {
    monotonic: tokio::time::Instant,
    wall: SystemTime,
}

impl Clock {
    fn start() -> Self {
        Self {
            monotonic: tokio::time::Instant::now(),
            wall: SystemTime::now(),
        }
    }

    fn now(&self) -> Instant {
        let wall = self.wall.elapsed().unwrap_or_default();
        self.monotonic.into_std() + self.monotonic.elapsed().max(wall)
    }
}

/// What a job brings.
struct Brought {
    /// The session token and the host, when a session was opened.
    session: Option<(UploadToken, String)>,
    preview: Preview,
}

type Work = Pin<Box<dyn Future<Output = Result<Brought, SessionError>> + Send>>;

struct Driver {
    lifecycle: Lifecycle,
    clock: Clock,
    api: EdgePreview,
    http: Arc<Http>,
    source: PreviewTokenSource,
    bindings: watch::Receiver<Arc<[RemoteBinding]>>,
    /// The current session's token and host.
    session: Option<(UploadToken, String)>,
    /// What the last job brought, until it is published or told.
    ended: Option<Result<Preview, SessionError>>,
    on_news: OnNews,
    tail: Option<tokio::task::AbortHandle>,
    over: CancellationToken,
}

impl Driver {
    /// Everything up to the first token.
    async fn open(&mut self) -> Result<String, SessionError> {
        let mut work = self.steps();
        while let Some(running) = work.take() {
            let brought = running.await;
            self.end(brought);
            work = self.steps();
        }
        match (&self.session, self.ended.take()) {
            (_, Some(Err(error))) => Err(error),
            (Some((_, host)), _) => Ok(host.clone()),
            (None, _) => Err(SessionError::Unsendable),
        }
    }

    /// Until the session is dropped.
    async fn run(mut self) {
        let over = self.over.clone();
        tokio::select! {
            () = self.keep() => {}
            () = over.cancelled() => {}
        }
        if let Some(tail) = self.tail.take() {
            tail.abort();
        }
    }

    async fn keep(&mut self) {
        let mut work: Option<Work> = None;
        loop {
            if let Some(next) = self.steps() {
                work = Some(next);
            }
            let wait = self.lifecycle.poll_timeout().map_or(GLANCE, |at| {
                at.saturating_duration_since(self.clock.now()).min(GLANCE)
            });
            tokio::select! {
                brought = async { match &mut work {
                    Some(work) => work.await,
                    None => std::future::pending().await,
                } } => {
                    work = None;
                    self.end(brought);
                }
                expired = self.source.expired() => {
                    let now = self.clock.now();
                    self.lifecycle.handle_expired(expired.dead, Expiry::Dead, now);
                    self.lifecycle.handle_expired(expired.stale, Expiry::Stale, now);
                }
                changed = self.bindings.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.lifecycle.handle_changed(self.clock.now());
                }
                () = tokio::time::sleep(wait) => self.lifecycle.handle_timeout(self.clock.now()),
            }
        }
    }

    /// Does every step there is, and gives the job to run if there is one.
    fn steps(&mut self) -> Option<Work> {
        let mut work = None;
        while let Some(step) = self.lifecycle.poll_step() {
            match step {
                Step::Run(job) => work = Some(self.begin(job)),
                Step::Publish { generation } => self.publish(generation),
                Step::Withdraw => self.source.withdraw(),
                Step::Tell(told) => self.tell(told),
            }
        }
        work
    }

    fn begin(&mut self, job: Job) -> Work {
        let bindings = Arc::clone(&self.bindings.borrow_and_update());
        let api = self.api.clone();
        let session = self.session.clone();
        tracing::debug!(job = ?job, bindings = bindings.len(), "preview session");
        Box::pin(work(api, job, session, bindings))
    }

    /// Tells the lifecycle how the job ended.
    fn end(&mut self, brought: Result<Brought, SessionError>) {
        let now = self.clock.now();
        match brought {
            Ok(Brought { session, preview }) => {
                if session.is_some() {
                    self.session = session;
                }
                self.ended = Some(Ok(preview));
                self.lifecycle.handle_done(now);
            }
            Err(error) => {
                let fault = error.fault();
                self.ended = Some(Err(error));
                self.lifecycle.handle_failed(fault, now);
            }
        }
    }

    fn publish(&mut self, generation: u64) {
        let Some(Ok(preview)) = self.ended.take() else {
            return;
        };
        if let Ok(token) = PreviewToken::new(&preview.token, generation) {
            self.source.publish(token);
        }
        if let Some(old) = self.tail.take() {
            old.abort();
        }
        if let Some(url) = preview.tail {
            let (http, on_news) = (Arc::clone(&self.http), Arc::clone(&self.on_news));
            let following = tail::follow(http, url, move |log| on_news(News::Log(log)));
            self.tail = Some(tokio::spawn(following).abort_handle());
        }
    }

    fn tell(&mut self, told: Told) {
        match told {
            Told::Ready => tracing::info!("the preview session is ready"),
            Told::Renewed { by, failures } => {
                tracing::info!(by = ?by, failures, "the preview session was renewed");
                (self.on_news)(News::Renewed { failures });
            }
            Told::Failed { again_in, held } => {
                if let Some(Err(error)) = self.ended.take() {
                    tracing::debug!(error = %error, again_in_ms = again_in.as_millis(), held, "renewal failed");
                    (self.on_news)(News::Failed {
                        error: &error,
                        again_in,
                        held,
                    });
                }
            }
            // The error is handed out by `open`.
            Told::GaveUp => {}
        }
    }
}

/// Carries a job out. Each call on the API has its deadlines, so this ends by itself.
async fn work(
    api: EdgePreview,
    job: Job,
    session: Option<(UploadToken, String)>,
    bindings: Arc<[RemoteBinding]>,
) -> Result<Brought, SessionError> {
    let form = proxy_worker::form(&bindings, None);
    let opened = match (job, &session) {
        (Job::Upload, Some(_)) => None,
        (Job::Open, _) | (Job::Upload, None) => Some(api.open().await.map_err(SessionError::Api)?),
    };
    if let (Some((_, from)), Some((_, to))) = (&session, &opened)
        && from != to
    {
        let (from, to) = (from.clone(), to.clone());
        return Err(SessionError::Moved { from, to });
    }
    let current = opened.as_ref().or(session.as_ref());
    // A job opens a session when there is none.
    let (token, _) = current.ok_or(SessionError::Unsendable)?;
    let preview = api.upload(token, &form).await.map_err(SessionError::Api)?;
    PreviewToken::new(&preview.token, 0).map_err(|_| SessionError::Unsendable)?;
    Ok(Brought {
        session: opened,
        preview,
    })
}
