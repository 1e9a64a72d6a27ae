//! Which backends there are and which models stand for which names.

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_binding::{ConfigError, Credential, Resources, url};
use bowline_upstream::{Http, Waits};
use serde_json::Value;

use crate::backend::{Backend, Shape, Task};
use crate::cloudflare::Cloudflare;
use crate::models::{Mapped, Table};
use crate::openai::OpenAi;

/// Reads the members `backends` and `models` of a binding's entry.
pub(crate) fn table(entry: &Value, resources: &Resources) -> Result<Table, ConfigError> {
    let http = Arc::new(Http::new(resources.authorities.clone(), Waits::default()));
    let mut backends: BTreeMap<&str, Arc<dyn Backend>> = BTreeMap::new();
    for (name, settings) in members(entry, "backends")? {
        backends.insert(name, backend(name, settings, &http, resources)?);
    }
    let mut table = Table::default();
    for (name, settings) in members(entry, "models")? {
        let mapped = mapped(name, settings, &backends)?;
        // `*` is every model that is not named, under its own name.
        if name == "*" {
            table.others = Some(mapped);
        } else {
            table.named.insert(name.clone(), mapped);
        }
    }
    Ok(table)
}

fn backend(
    name: &str,
    settings: &Value,
    http: &Arc<Http>,
    resources: &Resources,
) -> Result<Arc<dyn Backend>, ConfigError> {
    let place = format!("backends.{name}");
    let credential = Credential::read(settings, &place, resources)?;
    match settings.get("type").and_then(Value::as_str) {
        Some("openai") => {
            let url = url(
                settings.get("url").unwrap_or(&Value::Null),
                &format!("{place}.url"),
            )?;
            Ok(Arc::new(OpenAi::new(Arc::clone(http), url, credential)))
        }
        Some("cloudflare") => {
            let url = match settings.get("url") {
                None => "https://api.cloudflare.com/client/v4".to_owned(),
                Some(value) => url(value, &format!("{place}.url"))?,
            };
            let account = settings
                .get("account_id")
                .and_then(Value::as_str)
                .filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
                .ok_or_else(|| {
                    ConfigError::new(format!("{place}.account_id"), "is required: the account's id")
                })?;
            let credential = credential.ok_or_else(|| {
                ConfigError::new(
                    format!("{place}.api_key_env"),
                    "is required: the environment variable with an API token, or `api_key_file`",
                )
            })?;
            Ok(Arc::new(Cloudflare::new(
                Arc::clone(http),
                &url,
                account,
                credential,
            )))
        }
        Some("embedded") => embedded(&place, resources),
        _ => Err(ConfigError::new(
            format!("{place}.type"),
            "must be \"openai\", \"cloudflare\" or \"embedded\"",
        )),
    }
}

#[cfg(feature = "embedded")]
fn embedded(_place: &str, resources: &Resources) -> Result<Arc<dyn Backend>, ConfigError> {
    let store = bowline_models::ModelStore::in_cache(&resources.cache);
    Ok(Arc::new(crate::embedded::Embedded::new(store)))
}

#[cfg(not(feature = "embedded"))]
fn embedded(place: &str, _resources: &Resources) -> Result<Arc<dyn Backend>, ConfigError> {
    let problem = "\"embedded\" needs a bowline that was built with the feature `embedded-models`";
    Err(ConfigError::new(format!("{place}.type"), problem))
}

fn mapped(
    name: &str,
    settings: &Value,
    backends: &BTreeMap<&str, Arc<dyn Backend>>,
) -> Result<Mapped, ConfigError> {
    let place = |key: &str| format!("models.{name}.{key}");
    let backend = settings
        .get("backend")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let found = backends.get(backend).ok_or_else(|| {
        let known: Vec<&str> = backends.keys().copied().collect();
        let problem = format!("must name one of `backends`: {}", known.join(", "));
        ConfigError::new(place("backend"), problem)
    })?;
    let task = match settings.get("task") {
        None if found.knows_tasks() => Task::Any,
        task => task.and_then(Value::as_str).and_then(Task::parse).ok_or_else(|| {
            let problem = "must be \"text-generation\", \"text-embeddings\", \"text-to-image\" or \"automatic-speech-recognition\"";
            ConfigError::new(place("task"), problem)
        })?,
    };
    let shape = match settings.get("shape").map(Value::as_str) {
        None | Some(Some("workers-ai")) => Shape::WorkersAi,
        Some(Some("openai")) => Shape::OpenAi,
        Some(_) => {
            return Err(ConfigError::new(
                place("shape"),
                "must be \"workers-ai\" or \"openai\"",
            ));
        }
    };
    let model = match settings.get("model") {
        None => None,
        Some(Value::String(model)) if !model.is_empty() => Some(model.clone()),
        Some(_) => {
            return Err(ConfigError::new(
                place("model"),
                "must be the model's name at its backend",
            ));
        }
    };
    if name == "*" && model.is_some() {
        return Err(ConfigError::new(
            place("model"),
            "does not belong to `*`, whose models keep their names",
        ));
    }
    found
        .check(model.as_deref().unwrap_or(name), task)
        .map_err(|problem| ConfigError::new(place("model"), problem))?;
    Ok(Mapped {
        backend: Arc::clone(found),
        backend_name: backend.to_owned(),
        model,
        task,
        shape,
    })
}

fn members<'a>(entry: &'a Value, key: &str) -> Result<Vec<(&'a String, &'a Value)>, ConfigError> {
    let members = match entry.get(key) {
        None => return Ok(Vec::new()),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(ConfigError::new(key, "must be an object of objects")),
    };
    match members.iter().find(|(_, value)| !value.is_object()) {
        Some((name, _)) => Err(ConfigError::new(format!("{key}.{name}"), "must be an object")),
        None => Ok(members.iter().collect()),
    }
}
