//! What a binding kind says about itself, and the list of kinds.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{Binding, BoxError, WorkerForm, WorkerHost};

/// Reads one environment variable. Libraries do not look at the process's own.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a binding may use of the process it runs in.
#[derive(Clone)]
pub struct Resources {
    /// The state folder (absolute, exists). A binding keeps its files in a subfolder named after its kind.
    pub state: PathBuf,
    /// The folder of the configuration: relative paths in an entry start here.
    pub project: PathBuf,
    /// Where downloaded files, such as models, are kept. May not exist.
    pub cache: PathBuf,
    /// Files of certificate authorities (PEM) to trust besides the system's.
    pub authorities: Vec<PathBuf>,
    /// Where secrets come from that a configuration names and does not hold.
    pub variables: Variables,
    /// Runs Workers that a binding calls; absent where none can be run.
    pub workers: Option<Arc<dyn WorkerHost>>,
}

impl Resources {
    /// State in a folder, no variables, no extra authorities, no Workers; relative paths and the cache in that folder, too.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        let state = state.into();
        Self {
            project: state.clone(),
            cache: state.join("cache"),
            state,
            authorities: Vec::new(),
            variables: Arc::new(|_| None),
            workers: None,
        }
    }
}

impl std::fmt::Debug for Resources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resources")
            .field("state", &self.state)
            .field("project", &self.project)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// A binding's configuration could not be used. `field` is the key at fault, for the message only.
#[derive(Debug, thiserror::Error)]
#[error("`{field}`: {problem}")]
pub struct ConfigError {
    /// The key at fault, as written in the configuration.
    pub field: String,
    /// What is wrong and what would be right, in one sentence.
    pub problem: String,
    /// The failure below, when there is one.
    #[source]
    pub source: Option<BoxError>,
}

impl ConfigError {
    /// A problem with `field`.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
            source: None,
        }
    }
}

/// Builds a binding from its own wrangler entry.
pub type Build = fn(&serde_json::Value, &Resources) -> Result<Arc<dyn Binding>, ConfigError>;

/// One binding kind: how it is spelled in a wrangler configuration and how to build it.
#[derive(Debug)]
pub struct Descriptor {
    /// The kind as the upload API spells it: `d1`, `vectorize`, `send_email`, `vpc_network`.
    pub kind: &'static str,
    /// The wrangler key that lists bindings of this kind: `d1_databases`, …
    pub wrangler_key: &'static str,
    /// The member of a wrangler entry that names the binding: `binding` or `name`.
    pub name_key: &'static str,
    /// One line for `bowline bindings` and the reference page.
    pub summary: &'static str,
    /// What stands behind `env.NAME` in a Worker that Bowline runs.
    pub worker: WorkerForm,
    /// Builds a binding from its own wrangler entry (a JSON object; other kinds' options stay opaque to everyone else).
    pub build: Build,
}

/// The list of binding kinds. There is no enum of kinds to extend: a kind is a line in the registry.
#[derive(Debug, Clone, Copy)]
pub struct Registry(pub &'static [&'static Descriptor]);

impl Registry {
    /// The descriptor of `kind`.
    pub fn kind(&self, kind: &str) -> Option<&'static Descriptor> {
        self.0.iter().copied().find(|descriptor| descriptor.kind == kind)
    }

    /// All descriptors, in the order they are listed.
    pub fn iter(&self) -> impl Iterator<Item = &'static Descriptor> {
        self.0.iter().copied()
    }
}
