//! From a wrangler configuration to a router.

use std::path::Path;

use bowline_access_store::prepare_folder;
use bowline_binding::Resources;
use bowline_config::{BindingEntry, BindingKey, Project};
use bowline_remote::{REGISTRY, Router};

use crate::error::{CliError, Kind};
use crate::output;

/// Reads the project at `path` (a file or a folder); warnings go to stderr.
pub(crate) fn load(path: &Path) -> Result<Project, CliError> {
    let keys: Vec<BindingKey> = REGISTRY
        .iter()
        .map(|kind| BindingKey {
            kind: kind.kind,
            wrangler_key: kind.wrangler_key,
            name_key: kind.name_key,
        })
        .collect();
    let project = Project::load(path, &keys).map_err(|error| CliError::new(Kind::Config, error))?;
    for warning in &project.warnings {
        output::notice(&format!("warning: {warning}"));
    }
    Ok(project)
}

/// Builds the bindings that `wanted` picks, on stores under `state`.
pub(crate) fn router(
    project: &Project,
    wanted: impl Fn(&BindingEntry) -> bool,
    state: &Path,
) -> Result<Router, CliError> {
    prepare_folder(state).map_err(|error| CliError::new(Kind::Internal, error))?;
    let state = state
        .canonicalize()
        .map_err(|error| CliError::new(Kind::Internal, error))?;
    let resources = Resources { state };
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
        router.add(&entry.name, binding);
    }
    Ok(router)
}
