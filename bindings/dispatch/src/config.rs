//! Where a namespace's Workers lie.

use std::path::PathBuf;
use std::sync::Arc;

use bowline_binding::{
    BindingError, ConfigError, ErrorKind, OutboundSpec, Resources, WorkerHost, WorkerSpec,
};
use serde_json::{Map, Value};

use crate::options::Get;
use crate::uploads::Uploads;

/// A namespace.
#[derive(Debug)]
pub(crate) struct Config {
    namespace: String,
    /// Where Workers lie that nobody uploaded.
    folder: Option<PathBuf>,
    uploads: Uploads,
    pub(crate) workers: Arc<dyn WorkerHost>,
    outbound: Option<Outbound>,
}

#[derive(Debug)]
struct Outbound {
    project: PathBuf,
    parameters: Vec<String>,
}

impl Config {
    pub(crate) fn parse(entry: &Value, resources: &Resources) -> Result<Self, ConfigError> {
        let namespace = text(entry, "namespace")?.unwrap_or_default().to_owned();
        let uploads = Uploads::new(&resources.state);
        let path = |key: &str, given: &str| {
            let path = resources.project.join(given);
            if path.exists() {
                Ok(path)
            } else {
                Err(ConfigError::new(
                    key,
                    format!("{} does not exist", path.display()),
                ))
            }
        };
        let folder = text(entry, "folder")?
            .map(|folder| path("folder", folder))
            .transpose()?;
        if folder.is_none() && !uploads.has(&namespace) {
            let problem = format!(
                "is missing: name the folder with the Workers of namespace \"{namespace}\" in bowline.jsonc, one folder each, \
                 or make the namespace and upload Workers to it inside `bowline edge`"
            );
            return Err(ConfigError::new("folder", problem));
        }
        let workers = resources
            .workers
            .clone()
            .ok_or_else(|| ConfigError::new("folder", "cannot be used: nothing here runs Workers"))?;
        let outbound = match (entry.get("outbound"), text(entry, "outbound_worker")?) {
            (None | Some(Value::Null), None) => None,
            (Some(Value::Object(outbound)), Some(worker)) => Some(Outbound {
                project: path("outbound_worker", worker)?,
                parameters: parameters(outbound)?,
            }),
            (Some(Value::Object(outbound)), None) => {
                let service = outbound
                    .get("worker")
                    .map_or_else(|| outbound.get("service"), |worker| worker.get("service"))
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let problem = format!(
                    "is missing: name the folder of the outbound Worker \"{service}\" in bowline.jsonc"
                );
                return Err(ConfigError::new("outbound_worker", problem));
            }
            (Some(_), _) => return Err(ConfigError::new("outbound", "must be an object")),
            (None, Some(_)) => {
                return Err(ConfigError::new(
                    "outbound_worker",
                    "is of no use: the wrangler entry has no `outbound`",
                ));
            }
        };
        Ok(Self {
            namespace,
            folder,
            uploads,
            workers,
            outbound,
        })
    }

    /// The Worker that a call is for.
    pub(crate) fn find(&self, get: Get) -> Result<WorkerSpec, BindingError> {
        // Cloudflare's text.
        let project = self
            .project(&get.name)
            .ok_or_else(|| BindingError::new(ErrorKind::Invalid, "dispatch", "Worker not found."))?;
        let given = get
            .options
            .and_then(|options| options.outbound)
            .unwrap_or_default();
        let outbound = match &self.outbound {
            None if given.is_empty() => None,
            None => {
                let text = "get(): `outbound` was given, and this namespace has no outbound Worker";
                return Err(BindingError::new(ErrorKind::Invalid, "dispatch", text));
            }
            Some(outbound) => Some(outbound.spec(given)?),
        };
        Ok(WorkerSpec {
            project,
            entrypoint: None,
            props: None,
            outbound,
        })
    }

    /// Where a Worker lies: an uploaded one hides one of the folder.
    fn project(&self, name: &str) -> Option<PathBuf> {
        let uploaded = self.uploads.find(&self.namespace, name);
        uploaded.or_else(|| {
            let folder = self.folder.as_ref().filter(|_| crate::is_name(name))?;
            Some(folder.join(name)).filter(|project| project.is_dir())
        })
    }
}

impl Outbound {
    fn spec(&self, params: Map<String, Value>) -> Result<OutboundSpec, BindingError> {
        if let Some(name) = params.keys().find(|name| !self.parameters.contains(name)) {
            let text = format!("get(): `outbound.{name}` is not among the outbound Worker's parameters");
            return Err(BindingError::new(ErrorKind::Invalid, "dispatch", text));
        }
        Ok(OutboundSpec {
            project: self.project.clone(),
            params,
        })
    }
}

/// The names of parameters: `parameters` of a wrangler entry, or `params` of an upload, a list of objects with a `name`.
fn parameters(outbound: &Map<String, Value>) -> Result<Vec<String>, ConfigError> {
    let shape = || ConfigError::new("outbound", "`parameters` must be a list of texts");
    if let Some(Value::Array(uploaded)) = outbound.get("params") {
        return uploaded
            .iter()
            .map(|parameter| parameter["name"].as_str().map(str::to_owned).ok_or_else(shape))
            .collect();
    }
    match outbound.get("parameters") {
        None => Ok(Vec::new()),
        Some(Value::Array(names)) => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned).ok_or_else(shape))
            .collect(),
        Some(_) => Err(shape()),
    }
}

fn text<'a>(entry: &'a Value, key: &str) -> Result<Option<&'a str>, ConfigError> {
    match entry.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(ConfigError::new(key, "must be a text")),
    }
}
