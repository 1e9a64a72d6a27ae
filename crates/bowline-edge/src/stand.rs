//! The stand-in's state: an account, its sessions and previews.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bowline_access_store::StoreError;
use bowline_binding::WireService;
use bowline_gateway::GatewayError;
use bowline_remote::{DispatchUploads, Router};
use bowline_secret::Secret;
use serde_json::Value;

use crate::access::{Access, AccessMode, AccessPair};
use crate::bindings::Bindings;
use crate::deployed::Deployed;
use crate::faults::{Faults, Step, Strike};
use crate::journal::Journal;
use crate::tail::Tails;
use crate::tokens::Tokens;
use crate::upload::{RunUpload, RunningUpload, Upload};
use crate::{Api, Control, Edge};

/// A call that hangs on demand is cut after this; clients give up after 30 s.
pub(crate) const HANG: Duration = Duration::from_secs(120);

/// The label of the host that exchanges session tokens. Where Cloudflare does it, nobody here has seen.
const EXCHANGE: &str = "bowline-exchange";
/// The label of the host of tails, likewise.
const TAIL: &str = "bowline-tail";

/// How a stand-in is set up.
pub struct StandOptions {
    /// The one account.
    pub account_id: String,
    /// The credential of the API.
    pub api_token: Secret,
    /// The account's part of host names.
    pub subdomain: String,
    /// Whether the account has it yet. Otherwise the first `PUT` registers it, whatever name was asked for: names have to
    /// resolve.
    pub registered: bool,
    /// Whether session tokens are to be exchanged.
    pub exchange: bool,
    /// Whether uploads get a `tail_url`.
    pub tail: bool,
    /// How long a session token is good.
    pub session_lifetime: Duration,
    /// How long a preview token is good.
    pub preview_lifetime: Duration,
    /// Who may pass at first.
    pub access: AccessMode,
    /// What answers for uploaded bindings.
    pub bindings: Bindings,
    /// Runs uploads; without it the stand-in answers for their bindings itself.
    pub run: Option<Arc<dyn RunUpload>>,
    /// Where the API is reached, without a slash at the end: endpoints of bindings (git) are served there, too.
    pub api_origin: String,
}

impl fmt::Debug for StandOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandOptions")
            .field("account_id", &self.account_id)
            .finish_non_exhaustive()
    }
}

/// The stand-in failed.
#[derive(Debug, thiserror::Error)]
pub enum StandError {
    /// The state of Access, or the system's randomness.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The gate.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The files of uploaded Workers.
    #[error("keep uploaded Workers")]
    Files(#[from] std::io::Error),
}

/// A stand-in: an API and an edge over one state. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stand(pub(crate) Arc<State>);

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) options: StandOptions,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    pub(crate) access: Access,
    registered: AtomicBool,
    pub(crate) connections: Arc<AtomicU64>,
    pub(crate) sessions: Tokens<()>,
    /// What an exchange URL stands for.
    pub(crate) tickets: Tokens<()>,
    pub(crate) previews: Tokens<Preview>,
    pub(crate) tails: Tails,
    pub(crate) deployed: Deployed,
    /// Workers uploaded into dispatch namespaces.
    pub(crate) uploads: DispatchUploads,
    /// The bindings of the last upload, whose endpoints are served.
    latest: Mutex<Arc<Router>>,
    pair: AccessPair,
}

/// One upload that can be used.
#[derive(Debug)]
pub(crate) struct Preview {
    pub(crate) script: String,
    pub(crate) answers: Answers,
    /// The tail that hears of it.
    pub(crate) tail: Option<String>,
}

/// Who answers for a preview.
#[derive(Debug)]
pub(crate) enum Answers {
    /// Bowline's own bindings.
    Bindings(Arc<Router>),
    /// The uploaded Worker.
    Worker(Box<RunningUpload>),
}

impl Stand {
    /// A stand-in with one service token.
    pub async fn new(options: StandOptions) -> Result<Self, StandError> {
        let (access, pair) = Access::new(options.access).await?;
        Ok(Self(Arc::new(State {
            registered: AtomicBool::new(options.registered),
            uploads: options.bindings.uploads(),
            options,
            access,
            pair,
            faults: Faults::default(),
            journal: Journal::default(),
            sessions: Tokens::default(),
            connections: Arc::default(),
            tickets: Tokens::default(),
            previews: Tokens::default(),
            tails: Tails::default(),
            deployed: Deployed::default(),
            latest: Mutex::default(),
        })))
    }

    /// The service token that passes.
    pub fn pair(&self) -> &AccessPair {
        &self.0.pair
    }

    /// What goes wrong on demand.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// Where a [`Line`](crate::Line) in front of the edge counts its connections; the control interface shows it.
    pub fn connections(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.connections)
    }

    /// The API and the control interface.
    pub fn api(&self) -> Api {
        Api(Arc::clone(&self.0))
    }

    /// The control interface alone.
    pub fn control(&self) -> Control {
        Control(Arc::clone(&self.0))
    }

    /// The edge.
    pub fn edge(&self) -> Edge {
        Edge::new(Arc::clone(&self.0))
    }

    /// The names that the edge's certificate needs.
    pub fn certificate_names(&self) -> Vec<String> {
        vec![self.0.host("*"), "localhost".to_owned(), "127.0.0.1".to_owned()]
    }
}

/// The hosts of an edge with `subdomain` for Workers called `scripts`: what has to resolve to it.
pub fn hosts<'a>(subdomain: &str, scripts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let labels = scripts.into_iter().chain([EXCHANGE, TAIL]);
    labels.map(|label| host(label, subdomain)).collect()
}

fn host(label: &str, subdomain: &str) -> String {
    format!("{label}.{subdomain}.workers.dev")
}

impl State {
    pub(crate) fn host(&self, script: &str) -> String {
        host(script, &self.options.subdomain)
    }

    pub(crate) fn exchange_host(&self) -> String {
        self.host(EXCHANGE)
    }

    pub(crate) fn tail_host(&self) -> String {
        self.host(TAIL)
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.registered.load(Ordering::Relaxed)
    }

    pub(crate) fn register(&self) {
        self.registered.store(true, Ordering::Relaxed);
    }

    pub(crate) fn latest(&self) -> Arc<Router> {
        Arc::clone(&self.latest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes an upload usable. The outer error is ours, the inner one for whoever uploaded.
    pub(crate) async fn preview(&self, upload: Upload) -> Result<Result<NewPreview, String>, StandError> {
        let router = match self.options.bindings.router(&upload.bindings) {
            Ok(router) => Arc::new(router),
            Err(problem) => return Ok(Err(problem)),
        };
        router.mounted(&self.options.api_origin);
        let script = upload.script.clone();
        let answers = match &self.options.run {
            None => Answers::Bindings(Arc::clone(&router)),
            Some(run) => match run.run(upload, Arc::clone(&router), None).await {
                Ok(running) => Answers::Worker(Box::new(running)),
                Err(problem) => return Ok(Err(problem)),
            },
        };
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = router;
        let tail = if self.options.tail {
            Some(self.tails.open()?)
        } else {
            None
        };
        let preview = Preview {
            script,
            answers,
            tail: tail.clone(),
        };
        let token = self.previews.issue(preview, self.options.preview_lifetime)?;
        let tail_url = tail.map(|tail| format!("wss://{}/{tail}", self.tail_host()));
        Ok(Ok(NewPreview { token, tail_url }))
    }

    /// Puts a Worker on the account. The error is for whoever deployed it.
    pub(crate) async fn deploy(&self, upload: Upload) -> Result<(), String> {
        let run = self.options.run.as_ref().ok_or(
            "a Worker that stays judges its own requests, so it has to be run: start the stand-in with --workerd",
        )?;
        let script = upload.script.clone();
        if !self.deployed.has_room_for(&script) {
            return Err("this stand-in has no room for another Worker that stays".to_owned());
        }
        let router = Arc::new(self.options.bindings.router(&upload.bindings)?);
        router.mounted(&self.options.api_origin);
        let fetches: Arc<dyn WireService> = Arc::new(self.access.team_domain());
        let running = run.run(upload, Arc::clone(&router), Some(fetches)).await?;
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = router;
        self.deployed.put(script, running);
        Ok(())
    }

    /// The name of the Worker that `host` belongs to.
    pub(crate) fn script<'a>(&self, host: &'a str) -> Option<&'a str> {
        let (script, rest) = host.split_once('.')?;
        (rest == self.host("").trim_start_matches('.')).then_some(script)
    }

    /// Lets the faults at `step` strike. `None`: go on.
    pub(crate) async fn strike(&self, step: Step) -> Option<crate::faults::Action> {
        let Strike { delay, action } = self.faults.strike(step);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        action
    }

    pub(crate) fn note(&self, entry: Value) {
        self.journal.note(entry);
    }
}

/// What an upload is answered with.
pub(crate) struct NewPreview {
    pub(crate) token: String,
    pub(crate) tail_url: Option<String>,
}
