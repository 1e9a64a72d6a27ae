//! The place of one Worker: its process, or when it may be started again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bowline_binding::{BindingError, ErrorKind, WorkerSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::HostOptions;
use super::held::Held;
use crate::runner::{Callee, Outbound};
use crate::{Runner, RunnerOptions, Toolchain};

/// The pause before the second start in a row; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// From the end of a process's connections to its own; longer when it writes a core.
const LAST_BREATH: Duration = Duration::from_secs(2);
/// A process that lived longer did not end because of how it started.
const STEADY: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Slot {
    state: tokio::sync::Mutex<State>,
    /// The process of `state`, for those who must not wait for a start.
    current: Mutex<Weak<Running>>,
}

#[derive(Default)]
struct State {
    running: Option<Arc<Running>>,
    /// Ends and failed starts in a row.
    failures: u32,
    /// Why it does not run, and when the next start may be tried.
    down: Option<(Instant, String)>,
}

/// A process that listens.
pub(super) struct Running {
    runner: Runner,
    users: Arc<AtomicUsize>,
    started: Instant,
    last_used: Mutex<Instant>,
}

impl Running {
    pub(super) fn fetch_socket(&self) -> &Path {
        self.runner.callee_sockets().0
    }

    pub(super) fn rpc_socket(&self) -> &Path {
        self.runner.callee_sockets().1
    }

    /// How it ended, when it has.
    pub(super) fn ended(&self) -> Option<String> {
        self.runner.ended().map(|error| error.to_string())
    }

    /// The same after a connection to it broke. That is how an end is first seen: a caller who hears of it must not find the
    /// same process again.
    pub(super) async fn ended_soon(&self) -> Option<String> {
        let ended = tokio::time::timeout(LAST_BREATH, self.runner.wait()).await;
        ended.ok().map(|error| error.to_string())
    }

    fn is_busy(&self) -> bool {
        self.users.load(Ordering::Acquire) > 0
    }
}

impl Slot {
    /// When it was last used, unless it is in use or being started. A slot without a process is the oldest.
    pub(super) fn idle_since(&self) -> Option<Option<Instant>> {
        let state = self.state.try_lock().ok()?;
        match &state.running {
            None => Some(None),
            Some(running) if running.is_busy() => None,
            Some(running) => Some(Some(
                *running.last_used.lock().unwrap_or_else(PoisonError::into_inner),
            )),
        }
    }

    /// The process, started when there is none. Callers wait for one start together.
    pub(super) async fn running(
        &self,
        spec: &WorkerSpec,
        options: &Arc<HostOptions>,
        toolchain: &Toolchain,
    ) -> Result<Held<Arc<Running>>, BindingError> {
        let usable = |running: &Arc<Running>| {
            *running.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            Held::new(Arc::clone(running), &running.users)
        };
        let current = self
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade();
        if let Some(running) = current.filter(|running| running.ended().is_none()) {
            return Ok(usable(&running));
        }
        let unavailable = |text: &str| {
            let text = format!("the Worker {} does not run: {text}", spec.project.display());
            BindingError::new(ErrorKind::Unavailable, "run a Worker", text)
        };
        let mut state = self.state.lock().await;
        if let Some(running) = state.running.take() {
            match running.ended() {
                None => {
                    let held = usable(&running);
                    state.running = Some(running);
                    return Ok(held);
                }
                Some(why) => {
                    tracing::warn!(worker = %spec.project.display(), error = %why, "a Worker ended");
                    if running.started.elapsed() > STEADY {
                        state.failures = 0;
                    }
                    state.fail(why);
                }
            }
        }
        if let Some((until, why)) = &state.down
            && let Some(left) = until.checked_duration_since(Instant::now())
        {
            let seconds = left.as_secs_f32();
            return Err(unavailable(&format!(
                "{why}\nIt is started again in {seconds:.1} s."
            )));
        }
        match start(spec, options, toolchain).await {
            Ok(running) => {
                let running = Arc::new(running);
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&running);
                tokio::spawn(watch(
                    Arc::downgrade(&running),
                    options.stuck_after,
                    spec.project.clone(),
                ));
                let held = usable(&running);
                state.running = Some(running);
                state.down = None;
                Ok(held)
            }
            Err(why) => {
                tracing::warn!(worker = %spec.project.display(), error = %why, "a Worker did not start");
                let error = unavailable(&why);
                state.fail(why);
                Err(error)
            }
        }
    }
}

impl State {
    fn fail(&mut self, why: String) {
        // The first end is answered with a start at once: whoever calls next is not to blame.
        let pause = match self.failures {
            0 => Duration::ZERO,
            failures => FIRST_PAUSE
                .saturating_mul(1 << (failures - 1).min(16))
                .min(LONGEST_PAUSE),
        };
        self.failures = self.failures.saturating_add(1);
        self.down = Some((Instant::now() + pause, why));
    }
}

async fn start(
    spec: &WorkerSpec,
    options: &Arc<HostOptions>,
    toolchain: &Toolchain,
) -> Result<Running, String> {
    let load = |path: PathBuf| {
        let options = Arc::clone(options);
        async move {
            tokio::task::spawn_blocking(move || (options.load)(&path))
                .await
                .map_err(|error| error.to_string())?
                .map_err(|error| chain(error.as_ref()))
        }
    };
    let (project, services) = load(spec.project.clone()).await?;
    let outbound = match &spec.outbound {
        None => None,
        Some(outbound) => {
            let (mut project, _) = load(outbound.project.clone()).await?;
            project.vars.extend(outbound.params.clone());
            Some(Outbound { project })
        }
    };
    let name = project
        .name
        .clone()
        .unwrap_or_else(|| spec.project.display().to_string());
    let print = options.output.clone();
    let runner = Runner::start(RunnerOptions {
        project,
        services,
        forms: options.forms,
        fetches: None,
        listen: ([127, 0, 0, 1], 0).into(),
        callee: Some(Callee {
            entrypoint: spec.entrypoint.clone(),
            props: spec.props.clone(),
            outbound,
            heap_mb: options.heap_mb,
        }),
        toolchain: toolchain.clone(),
        temp_dir: options.temp_dir.clone(),
        ready_within: options.ready_within,
        output: print,
    })
    .await
    .map_err(|error| chain(&error))?;
    tracing::info!(worker = %name, pid = runner.pid(), "a Worker runs");
    let now = Instant::now();
    Ok(Running {
        runner,
        users: Arc::default(),
        started: now,
        last_used: Mutex::new(now),
    })
}

/// An error with everything that caused it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Kills a busy process that shows no sign of life: a Worker that never gives its thread back answers nobody any more.
async fn watch(running: Weak<Running>, stuck_after: Duration, project: PathBuf) {
    loop {
        tokio::time::sleep(stuck_after / 3).await;
        let Some(running) = running.upgrade().filter(|running| running.ended().is_none()) else {
            return;
        };
        if running.is_busy()
            && tokio::time::timeout(stuck_after, probe(running.rpc_socket()))
                .await
                .is_err()
        {
            tracing::error!(worker = %project.display(), "a Worker gave no sign of life for {} s and is killed", stuck_after.as_secs());
            running.runner.end().await;
            return;
        }
    }
}

/// Any answer of any kind is a sign of life.
async fn probe(socket: &Path) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: callee\r\nConnection: close\r\n\r\n")
        .await?;
    stream.read_u8().await?;
    Ok(())
}
