//! Uploads, run in workerd as they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bowline_binding::{BoxFuture, WireService, WorkerForm};
use bowline_config::{BindingEntry, Project};
use bowline_edge::{RunUpload, RunningUpload, Upload};
use bowline_gateway::Origin;
use bowline_remote::{REGISTRY, Router};
use bowline_workerd::{Output, Runner, RunnerOptions};
use tempfile::TempDir;

use crate::commands::dev;
use crate::env_vars::Env;
use crate::{line, output};

/// The kind of an entry with `"raw": true`: a plain fetcher, whatever the binding is otherwise.
const RAW: &str = "raw";
/// The same of a kind that has methods.
const RAW_RPC: &str = "raw with methods";

/// Runs uploads.
pub(super) struct Uploads {
    folder: PathBuf,
    env: Env<'static>,
}

impl Uploads {
    /// Uploads of the tools of a project in `folder`.
    pub(super) fn new(folder: PathBuf, env: Env<'static>) -> Self {
        Self { folder, env }
    }

    async fn start(
        &self,
        upload: Upload,
        router: Arc<Router>,
        fetches: Option<Arc<dyn WireService>>,
    ) -> anyhow::Result<RunningUpload> {
        let modules = super::folder().map_err(|error| anyhow::Error::msg(error.to_string()))?;
        let project = unpack(upload, modules.path())?;
        let toolchain = dev::toolchain(&self.folder, self.env)
            .await
            .map_err(|error| anyhow::Error::msg(error.to_string()))?;
        let runner = Runner::start(RunnerOptions {
            services: line::all_local(&project, router),
            project,
            forms: |kind| match kind {
                RAW => Some(WorkerForm::Fetcher),
                RAW_RPC => Some(WorkerForm::Rpc),
                kind => REGISTRY.kind(kind).map(|descriptor| descriptor.worker),
            },
            fetches,
            listen: (std::net::Ipv4Addr::LOCALHOST, 0).into(),
            callee: None,
            toolchain,
            temp_dir: std::env::temp_dir(),
            ready_within: dev::READY,
            output: Arc::new(|line| match line {
                Output::Out(line) | Output::Err(line) => output::notice(line),
            }),
        })
        .await?;
        Ok(RunningUpload {
            origin: Origin::new(runner.url().trim_end_matches('/'))?,
            held: Box::new(Held {
                _runner: runner,
                _modules: modules,
            }),
        })
    }
}

impl RunUpload for Uploads {
    fn run(
        &self,
        upload: Upload,
        router: Arc<Router>,
        fetches: Option<Arc<dyn WireService>>,
    ) -> BoxFuture<'_, Result<RunningUpload, String>> {
        Box::pin(async move {
            self.start(upload, router, fetches)
                .await
                .map_err(|error| format!("the uploaded Worker cannot be run: {error:#}"))
        })
    }
}

/// What a running upload needs.
struct Held {
    _runner: Runner,
    _modules: TempDir,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}

/// Writes an upload's modules into `folder`, as the project that it is.
fn unpack(upload: Upload, folder: &Path) -> anyhow::Result<Project> {
    upload.write(folder)?;
    let bindings = upload.bindings.into_iter().filter_map(|entry| {
        let name = entry["name"].as_str()?.to_owned();
        let known = entry["type"].as_str().and_then(|kind| REGISTRY.kind(kind));
        let kind = match (entry["raw"] == true, known.map(|known| known.worker)) {
            (true, Some(WorkerForm::Rpc | WorkerForm::WrappedRpc { .. })) => RAW_RPC,
            (true, _) => RAW,
            (false, _) => known?.kind,
        };
        Some(BindingEntry {
            name,
            kind,
            entry,
            remote: false,
        })
    });
    Ok(Project {
        bindings: bindings.collect(),
        folder: folder.to_owned(),
        file: folder.join("upload"),
        name: Some(upload.script),
        account_id: None,
        main: Some(folder.join(&upload.main_module)),
        compatibility_date: Some(upload.compatibility_date),
        compatibility_flags: upload.compatibility_flags,
        vars: serde_json::Map::new(),
        warnings: Vec::new(),
    })
}
