//! From a wrangler configuration to a router.

use std::path::Path;
use std::sync::Arc;

use bowline_access_store::prepare_folder;
use bowline_binding::{Resources, WorkerHost};
use bowline_config::{BindingEntry, BindingKey, ConfigError, Project};
use bowline_remote::{REGISTRY, Router};

use crate::env_vars::{self, Env};
use crate::error::{CliError, Kind};
use crate::{output, settings, workers};

/// Reads the project at `path` (a file or a folder); warnings go to stderr.
pub(crate) fn load(path: &Path) -> Result<Project, CliError> {
    read(path).map_err(|error| CliError::new(Kind::Config, error))
}

/// The same, where a folder may have no configuration.
pub(crate) fn load_if_any(folder: &Path) -> Result<Option<Project>, CliError> {
    match read(folder) {
        Ok(project) => Ok(Some(project)),
        Err(ConfigError::NotFound(_)) => Ok(None),
        Err(error) => Err(CliError::new(Kind::Config, error)),
    }
}

fn read(path: &Path) -> Result<Project, ConfigError> {
    let keys: Vec<BindingKey> = REGISTRY
        .iter()
        .map(|kind| BindingKey {
            kind: kind.kind,
            wrangler_key: kind.wrangler_key,
            name_key: kind.name_key,
        })
        .collect();
    let project = Project::load(path, &keys)?;
    for warning in &project.warnings {
        output::notice(&format!("warning: {warning}"));
    }
    Ok(project)
}

/// Builds the bindings that `wanted` picks, on stores under `state`. What they have to say goes to stderr.
pub(crate) fn router(
    project: &Project,
    wanted: impl Fn(&BindingEntry) -> bool,
    state: &Path,
    env: Env<'static>,
) -> Result<Router, CliError> {
    let workers = workers::host(&project.folder, state, env);
    router_with(project, wanted, state, env, workers)
}

/// The same, with a host for Workers that is there already.
pub(crate) fn router_with(
    project: &Project,
    wanted: impl Fn(&BindingEntry) -> bool,
    state: &Path,
    env: Env<'static>,
    workers: Arc<dyn WorkerHost>,
) -> Result<Router, CliError> {
    let resources = resources(&project.folder, state, env, workers)?;
    let mut router = Router::default();
    for entry in project.bindings.iter().filter(|entry| wanted(entry)) {
        let Some(descriptor) = REGISTRY.kind(entry.kind) else {
            continue;
        };
        let binding = (descriptor.build)(&entry.entry, &resources).map_err(|error| {
            CliError::new(
                Kind::Config,
                anyhow::Error::new(error).context(format!("set up binding {}", entry.name)),
            )
        })?;
        for note in binding.notes() {
            output::notice(&format!("  {}: {note}", entry.name));
        }
        router.add(&entry.name, binding);
    }
    Ok(router)
}

/// What bindings of a project in `folder` may use, with stores under `state`, which is made if need be.
pub(crate) fn resources(
    folder: &Path,
    state: &Path,
    env: Env<'static>,
    workers: Arc<dyn WorkerHost>,
) -> Result<Resources, CliError> {
    prepare_folder(state).map_err(|error| CliError::new(Kind::Internal, error))?;
    let state = state
        .canonicalize()
        .map_err(|error| CliError::new(Kind::Internal, error))?;
    Ok(Resources {
        project: folder.to_owned(),
        cache: env_vars::cache_folder(env),
        authorities: settings::extra_authorities(env),
        variables: Arc::new(env),
        workers: Some(workers),
        ..Resources::new(state)
    })
}
