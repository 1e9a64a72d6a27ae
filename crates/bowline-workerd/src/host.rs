//! Workers that bindings call, one workerd process each, started by the first call.
//!
//! ```text
//! Host ─ by spec ─▶ Slot ─ lock ─▶ running? ─ yes ─▶ call
//!                                   no, and not too soon ─▶ start ─▶ call
//! ```
//!
//! What such a Worker may cost is bounded: its heap, the processes at a time, the time in which it must show a sign of life.

mod held;
mod slot;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bowline_binding::{
    BindingError, BoxDuplex, BoxError, ErrorKind, ExchangeError, FetchReply, FetchRequest, WireService,
    WorkerForm, WorkerHost, WorkerSpec, exchange, open_websocket,
};
use bowline_config::Project;
use http::{HeaderValue, Uri};
use tokio::net::UnixStream;
use tokio::sync::OnceCell;

use crate::{OutputSink, Toolchain, ToolchainError, ToolchainOptions};
use held::Held;
use slot::{Running, Slot};

/// From a request to the head of its answer. The router's own limit ends earlier where there is one.
const FIRST_BYTE: Duration = Duration::from_secs(120);

/// A project that was read, and who answers for its bindings.
pub type Loaded = (Project, HashMap<String, Arc<dyn WireService>>);

/// Reads the project at a path and builds its bindings. Called off the runtime's threads.
pub type Load = Box<dyn Fn(&Path) -> Result<Loaded, BoxError> + Send + Sync>;

/// How a host runs Workers.
pub struct HostOptions {
    /// Reads the project at a path and builds its bindings.
    pub load: Load,
    /// The form of each kind, as the registry of kinds says.
    pub forms: fn(&str) -> Option<WorkerForm>,
    /// Where workerd is found, once, by the first Worker.
    pub toolchain: ToolchainOptions,
    /// A folder for sockets and configurations. Its path must be short.
    pub temp_dir: PathBuf,
    /// How long workerd may take until it listens.
    pub ready_within: Duration,
    /// Processes at a time. When they are all there, one that nobody uses makes room for the next.
    pub most: usize,
    /// The JavaScript heap of one process, in MB; workerd ends when it grows beyond.
    pub heap_mb: u32,
    /// A busy Worker that shows no sign of life for so long is killed.
    pub stuck_after: Duration,
    /// Takes what workerd and the Workers print.
    pub output: OutputSink,
}

impl HostOptions {
    /// Cloudflare's memory for one Worker.
    pub const HEAP_MB: u32 = 128;
    /// Processes of some 40 MB each, before what the Workers themselves need.
    pub const MOST: usize = 32;
    /// Cloudflare gives a request 30 s of CPU.
    pub const STUCK_AFTER: Duration = Duration::from_secs(30);
}

/// Runs Workers on demand; see [`WorkerHost`]. Dropping it ends them.
pub struct Host {
    options: Arc<HostOptions>,
    toolchain: OnceCell<Toolchain>,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host")
    }
}

impl Host {
    /// Starts nothing.
    pub fn new(options: HostOptions) -> Self {
        Self {
            options: Arc::new(options),
            toolchain: OnceCell::new(),
            slots: Mutex::default(),
        }
    }

    /// The process of a Worker, started when there is none.
    async fn running(&self, spec: &WorkerSpec) -> Result<Held<Arc<Running>>, BindingError> {
        let toolchain = self
            .toolchain
            .get_or_try_init(|| Toolchain::find(&self.options.toolchain));
        let toolchain = toolchain.await.map_err(|error: ToolchainError| {
            let text = format!("the Worker {} cannot be run: {error}", spec.project.display());
            BindingError::new(ErrorKind::Unavailable, "run a Worker", text).caused_by(error)
        })?;
        let slot = self.slot(spec)?;
        slot.running(spec, &self.options, toolchain).await
    }

    /// A connection to the Worker. One that turns out to have ended was sent nothing, so the next one is asked, once.
    async fn connected(
        &self,
        spec: &WorkerSpec,
        socket: fn(&Running) -> &Path,
    ) -> Result<(Held<Arc<Running>>, UnixStream), BindingError> {
        let running = self.running(spec).await?;
        match connect(socket(&running), spec).await {
            Err(_) if running.ended_soon().await.is_some() => {}
            stream => return Ok((running, stream?)),
        }
        let running = self.running(spec).await?;
        let stream = connect(socket(&running), spec).await?;
        Ok((running, stream))
    }

    fn slot(&self, spec: &WorkerSpec) -> Result<Arc<Slot>, BindingError> {
        let outbound = spec
            .outbound
            .as_ref()
            .map(|outbound| (&outbound.project, &outbound.params));
        let key = serde_json::json!([spec.project, spec.entrypoint, spec.props, outbound]).to_string();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&key) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= self.options.most {
            let idle = slots
                .iter()
                .filter_map(|(key, slot)| Some((slot.idle_since()?, key.clone())))
                .min();
            let Some((_, idle)) = idle else {
                let text = format!("{} Workers run already and all are in use", self.options.most);
                return Err(BindingError::new(ErrorKind::RateLimited, "run a Worker", text));
            };
            // Its process ends with it.
            slots.remove(&idle);
        }
        let slot = Arc::new(Slot::default());
        slots.insert(key, Arc::clone(&slot));
        Ok(slot)
    }
}

#[async_trait::async_trait]
impl WorkerHost for Host {
    async fn fetch(&self, spec: &WorkerSpec, request: FetchRequest) -> Result<FetchReply, BindingError> {
        let target: Uri = request.url.parse().map_err(|error| {
            let text = format!("`{}` is not a URL that can be sent: {error}", request.url);
            BindingError::new(ErrorKind::Invalid, "fetch", text)
        })?;
        let (running, stream) = self.connected(spec, Running::fetch_socket).await?;
        let reply = match exchange(stream, request, target, None, FIRST_BYTE).await {
            Ok(reply) => reply,
            Err(error) => return Err(broken("fetch", spec, &running, error).await),
        };
        Ok(match reply {
            FetchReply::Response(response) => response.map(|body| running.with(body).boxed()).into(),
            FetchReply::Upgrade { headers, duplex } => FetchReply::Upgrade {
                headers,
                duplex: Box::new(running.with(duplex)),
            },
        })
    }

    async fn session(&self, spec: &WorkerSpec) -> Result<BoxDuplex, BindingError> {
        let (running, stream) = self.connected(spec, Running::rpc_socket).await?;
        let opened = open_websocket(
            stream,
            Uri::from_static("/"),
            HeaderValue::from_static("callee"),
            FIRST_BYTE,
        );
        match opened.await {
            Ok(duplex) => Ok(Box::new(running.with(duplex))),
            Err(error) => Err(broken("rpc", spec, &running, error).await),
        }
    }
}

async fn connect(socket: &Path, spec: &WorkerSpec) -> Result<UnixStream, BindingError> {
    UnixStream::connect(socket).await.map_err(|error| {
        let text = format!("the Worker {} does not listen: {error}", spec.project.display());
        BindingError::new(ErrorKind::Unavailable, "call a Worker", text).caused_by(error)
    })
}

async fn broken(
    operation: &'static str,
    spec: &WorkerSpec,
    running: &Running,
    error: ExchangeError,
) -> BindingError {
    let ended = match &error {
        ExchangeError::Broken(_) => running.ended_soon().await,
        _ => running.ended(),
    };
    let why = match ended {
        Some(ended) => format!("it ended: {ended}"),
        None => error.to_string(),
    };
    let text = format!("the Worker {} gave no answer: {why}", spec.project.display());
    BindingError::new(ErrorKind::Unavailable, operation, text).caused_by(error)
}
