//! Workers that bindings call, run in this process's care.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bowline_binding::WorkerHost;
use bowline_remote::REGISTRY;
use bowline_workerd::{Host, HostOptions, Output, ToolchainOptions};

use crate::env_vars::{self, Env};
use crate::error::CliError;
use crate::{line, output, project};

/// From starting workerd to its listening.
const READY: Duration = Duration::from_secs(30);

/// A host whose Workers keep their own bindings' data under `state`. It starts nothing before the first call.
///
/// Workers may call each other in a circle: there is one host, so that each runs once.
pub(crate) fn host(folder: &Path, state: &Path, env: Env<'static>) -> Arc<dyn WorkerHost> {
    let (folder, state) = (folder.to_owned(), state.to_owned());
    Arc::new_cyclic(|host: &Weak<Host>| {
        let host = Weak::clone(host);
        Host::new(HostOptions {
            load: Box::new(move |path| {
                let told = |error: CliError| error.to_string();
                let project = project::load(path).map_err(told)?;
                let host = host.upgrade().ok_or("the host has ended")?;
                let router = project::router_with(&project, |_| true, &state, env, host).map_err(told)?;
                let services = line::all_local(&project, router);
                Ok((project, services))
            }),
            forms: |kind| REGISTRY.kind(kind).map(|descriptor| descriptor.worker),
            toolchain: ToolchainOptions {
                project: folder,
                workerd: env(env_vars::BOWLINE_WORKERD).map(PathBuf::from),
                cache_dir: env_vars::cache_folder(env),
                capnweb: true,
                npm: "npm".into(),
                progress: Arc::new(output::notice),
            },
            temp_dir: std::env::temp_dir(),
            ready_within: READY,
            most: HostOptions::MOST,
            heap_mb: HostOptions::HEAP_MB,
            stuck_after: HostOptions::STUCK_AFTER,
            output: Arc::new(|line| match line {
                Output::Out(line) | Output::Err(line) => output::notice(line),
            }),
        })
    })
}
