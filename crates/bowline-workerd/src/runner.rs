//! A project's Worker, running.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bowline_binding::WireService;
use bowline_config::{BindingEntry, Project};
use serde_json::Value;
use tempfile::TempDir;

use crate::config::{Config, Door, FETCHES, Script};
use crate::listener::{Dialect, Listener};
use crate::process::{Ended, Process};
use crate::{OutputSink, RunnerError, Toolchain, modules};
use bowline_binding::WorkerForm;

/// The bytes of a unix socket's path, its end mark left out (`sun_path` on Linux).
const LONGEST_SOCKET_PATH: usize = 107;

/// What to run.
pub struct RunnerOptions {
    /// The project.
    pub project: Project,
    /// Who answers for each binding, by its name in `env`. Bindings of the project without an entry here are left out
    /// of `env`.
    pub services: HashMap<String, Arc<dyn WireService>>,
    /// The form of each kind, as the registry of kinds says.
    pub forms: fn(&str) -> Option<WorkerForm>,
    /// Answers what the Worker itself fetches; without it that goes to the internet. A callee's [`Outbound`] comes first.
    pub fetches: Option<Arc<dyn WireService>>,
    /// Where the Worker is served. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Present for a Worker that is only called by others: it is not served at `listen` but at two sockets of its own.
    pub callee: Option<Callee>,
    /// What to run it with ([`Toolchain::find`]).
    pub toolchain: Toolchain,
    /// A folder in which to make a private one for sockets and configuration. Its path must be short.
    pub temp_dir: PathBuf,
    /// How long workerd may take until it listens.
    pub ready_within: Duration,
    /// Takes what workerd and the Worker print.
    pub output: OutputSink,
}

/// How a Worker is called by others.
#[derive(Debug, Clone)]
pub struct Callee {
    /// The named entrypoint; the default export when absent.
    pub entrypoint: Option<String>,
    /// What it sees as `ctx.props`.
    pub props: Option<Value>,
    /// Takes what it fetches.
    pub outbound: Option<Outbound>,
    /// Its JavaScript heap, in MB.
    pub heap_mb: u32,
}

/// A Worker that answers another's global `fetch()`. Of its bindings only its vars are there.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// The project.
    pub project: Project,
}

/// A running Worker. Dropping it kills workerd and deletes its private folder.
pub struct Runner {
    process: Process,
    listen: SocketAddr,
    /// Where a callee is fetched from, and where its methods are called.
    callee: (PathBuf, PathBuf),
    _native: Listener,
    _wire: Option<Listener>,
    _folder: TempDir,
}

impl Runner {
    /// Starts workerd and returns when it listens.
    ///
    /// Cancel safe: dropping the future ends whatever was started.
    ///
    /// # Errors
    /// The project is not runnable, workerd refuses it, or it is not ready in time.
    pub async fn start(options: RunnerOptions) -> Result<Self, RunnerError> {
        let RunnerOptions {
            project,
            mut services,
            forms,
            fetches,
            listen,
            callee,
            toolchain,
            temp_dir,
            ready_within,
            output,
        } = options;
        let wrong = |problem: String| RunnerError::Project {
            file: project.file.clone(),
            problem,
        };
        let (main, date) = runnable(&project)?;
        let mut bindings: Vec<(&BindingEntry, WorkerForm)> = Vec::new();
        for binding in &project.bindings {
            if services.contains_key(&binding.name) {
                let form = forms(binding.kind).ok_or_else(|| {
                    wrong(format!(
                        "binding `{}`: the kind {} has no form in workerd",
                        binding.name, binding.kind
                    ))
                })?;
                bindings.push((binding, form));
            }
        }
        let shim = bindings.iter().any(|(_, form)| {
            matches!(
                form,
                WorkerForm::Network
                    | WorkerForm::Rpc
                    | WorkerForm::WrappedRpc { .. }
                    | WorkerForm::Dispatcher
            )
        });
        let experimental = shim || callee.is_some();
        let capnweb = match &toolchain.capnweb {
            Some(path) if experimental => Some(
                tokio::fs::read_to_string(path)
                    .await
                    .map_err(|source| RunnerError::system(format!("read {}", path.display()), source))?,
            ),
            None if experimental => return Err(crate::ToolchainError::NoCapnweb.into()),
            _ => None,
        };
        let modules = modules::read(main)?;
        let outbound = callee.as_ref().and_then(|callee| callee.outbound.as_ref());
        let outbound = outbound
            .map(|outbound| {
                let (main, date) = runnable(&outbound.project)?;
                Ok::<_, RunnerError>((&outbound.project, modules::read(main)?, date))
            })
            .transpose()?;

        let failed = |what: &'static str| move |source| RunnerError::system(what, source);
        let folder = tempfile::Builder::new()
            .prefix("bowline-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(&temp_dir)
            .map_err(|source| {
                RunnerError::system(format!("make a folder in {}", temp_dir.display()), source)
            })?;
        let (native, wire) = (folder.path().join("native.sock"), folder.path().join("wire.sock"));
        if native.as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(RunnerError::system(
                format!("make a socket at {}", native.display()),
                std::io::Error::other(format!("its path is longer than {LONGEST_SOCKET_PATH} bytes")),
            ));
        }
        let has_fetches = fetches.is_some();
        services.extend(fetches.map(|fetches| (FETCHES.to_owned(), fetches)));
        let services = Arc::new(services);
        let native_listener = Listener::bind(&native, Dialect::Native, services.clone())
            .map_err(failed("listen for the Worker's bindings"))?;
        let wire_listener = shim
            .then(|| Listener::bind(&wire, Dialect::Wire, services))
            .transpose()
            .map_err(failed("listen for the Worker's bindings"))?;
        let callee_sockets = (folder.path().join("fetch.sock"), folder.path().join("rpc.sock"));
        let address = listen.to_string();
        let text = Config {
            user: Script {
                project: &project,
                modules: &modules,
                compatibility_date: date,
            },
            bindings: &bindings,
            door: match &callee {
                None => Door::Address(&address),
                Some(callee) => Door::Callee {
                    callee,
                    fetch: &callee_sockets.0,
                    rpc: &callee_sockets.1,
                    outbound: outbound.as_ref().map(|(project, modules, date)| Script {
                        project,
                        modules,
                        compatibility_date: date,
                    }),
                },
            },
            native: &native,
            wire: &wire,
            fetches: has_fetches,
            shim,
            capnweb: capnweb.as_deref(),
        }
        .to_text();
        let file = folder.path().join("config.capnp");
        // It holds the project's vars.
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(failed("write workerd's configuration"))?;
        let process = Process::start(&toolchain.workerd, &file, experimental, ready_within, output).await?;
        tracing::debug!(port = process.port(), "workerd is ready");
        Ok(Self {
            listen: SocketAddr::new(listen.ip(), process.port()),
            callee: callee_sockets,
            process,
            _native: native_listener,
            _wire: wire_listener,
            _folder: folder,
        })
    }

    /// Where the Worker answers: `http://127.0.0.1:PORT/`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.listen)
    }

    /// Where a callee is fetched from (requests in absolute form), and where its methods are called (a Cap'n Web session over
    /// each WebSocket).
    pub(crate) fn callee_sockets(&self) -> (&Path, &Path) {
        (&self.callee.0, &self.callee.1)
    }

    /// How workerd ended, when it has.
    pub(crate) fn ended(&self) -> Option<RunnerError> {
        let Ended { status, stderr } = self.process.ended()?;
        Some(RunnerError::Exited { status, stderr })
    }

    /// As [`stop`](Self::stop), for one who does not own it.
    pub(crate) async fn end(&self) {
        self.process.stop().await;
    }

    /// workerd's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until workerd ends by itself. Cancel safe.
    pub async fn wait(&self) -> RunnerError {
        let Ended { status, stderr } = self.process.wait().await;
        RunnerError::Exited { status, stderr }
    }

    /// Asks workerd to finish, kills it when it does not within 3 s, and returns when it ended.
    pub async fn stop(self) {
        self.process.stop().await;
    }
}

/// The main module and compatibility date of a project, which it cannot be run without.
fn runnable(project: &Project) -> Result<(&Path, &str), RunnerError> {
    let wrong = |problem: &str| RunnerError::Project {
        file: project.file.clone(),
        problem: problem.to_owned(),
    };
    let main = project
        .main
        .as_deref()
        .ok_or_else(|| wrong("`main` is missing: it names the Worker's main module"))?;
    let date = project.compatibility_date.as_deref().ok_or_else(|| {
        wrong(
            "`compatibility_date` is missing: write the day on which the Worker was made, as \"2026-11-17\"",
        )
    })?;
    Ok((main, date))
}
