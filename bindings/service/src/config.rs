//! Which target a service binding has.

use std::sync::Arc;

use bowline_binding::{ConfigError, Resources, WorkerHost, WorkerSpec};
use serde_json::Value;

use crate::upstream::Upstream;

/// Who answers.
#[derive(Debug)]
pub(crate) enum Target {
    /// A Worker, both flows.
    Worker(Arc<dyn WorkerHost>, WorkerSpec),
    /// Upstreams, one a flow.
    Upstream {
        /// Answers fetch.
        http: Option<Upstream>,
        /// Answers rpc.
        capnweb: Option<Upstream>,
    },
}

/// A service binding.
#[derive(Debug)]
pub(crate) struct Config {
    /// The `service` of the wrangler entry, for messages.
    pub(crate) service: String,
    pub(crate) target: Target,
}

impl Config {
    pub(crate) fn parse(entry: &Value, resources: &Resources) -> Result<Self, ConfigError> {
        let service = text(entry, "service")?.unwrap_or_default().to_owned();
        let (worker, http, capnweb) = (
            text(entry, "worker")?,
            text(entry, "url")?,
            text(entry, "capnweb")?,
        );
        let entrypoint = text(entry, "entrypoint")?;
        let props = match entry.get("props") {
            None | Some(Value::Null) => None,
            Some(props @ Value::Object(_)) => Some(props.clone()),
            Some(_) => return Err(ConfigError::new("props", "must be an object")),
        };
        let target = match (worker, http, capnweb) {
            (None, None, None) => {
                return Err(ConfigError::new(
                    "worker",
                    format!(
                        "service \"{service}\" has no target; name one in bowline.jsonc: `worker` (the folder of a Worker), \
                         `url` (an HTTP upstream, for fetch) or `capnweb` (a Cap'n Web upstream, for rpc)"
                    ),
                ));
            }
            (Some(worker), None, None) => {
                let workers = resources
                    .workers
                    .clone()
                    .ok_or_else(|| ConfigError::new("worker", "cannot be used: nothing here runs Workers"))?;
                let project = resources.project.join(worker);
                if !project.exists() {
                    let problem = format!("{} does not exist", project.display());
                    return Err(ConfigError::new("worker", problem));
                }
                Target::Worker(
                    workers,
                    WorkerSpec {
                        project,
                        entrypoint: entrypoint.map(str::to_owned),
                        props,
                        outbound: None,
                    },
                )
            }
            (None, http, capnweb) => {
                // An upstream does not know of them, so leaving them out would be pretending.
                for (key, given) in [("entrypoint", entrypoint.is_some()), ("props", props.is_some())] {
                    if given {
                        return Err(ConfigError::new(key, "needs a `worker`; an upstream has none"));
                    }
                }
                let upstream = |key, url: Option<&str>, schemes: [&'static str; 2]| {
                    url.map(|url| Upstream::parse(key, url, schemes)).transpose()
                };
                Target::Upstream {
                    http: upstream("url", http, ["http", "http"])?,
                    capnweb: upstream("capnweb", capnweb, ["ws", "http"])?,
                }
            }
            (Some(_), _, _) => {
                return Err(ConfigError::new(
                    "worker",
                    "answers both flows; leave out `url` and `capnweb`",
                ));
            }
        };
        Ok(Self { service, target })
    }
}

fn text<'a>(entry: &'a Value, key: &str) -> Result<Option<&'a str>, ConfigError> {
    match entry.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(ConfigError::new(key, "must be a text")),
    }
}
