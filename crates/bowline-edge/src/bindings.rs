//! From the bindings of an upload to Bowline's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bowline_binding::{Binding, Registry, Resources};
use bowline_config::BindingEntry;
use bowline_remote::{DispatchUploads, Router};
use serde_json::{Map, Value, json};

use crate::Upload;
use crate::dispatch::MODULES;

/// What answers for uploaded bindings.
///
/// An upload says which resource a binding stands for (`index_name`, `id`, `service`); where that resource lives here is
/// told by the project's configuration and its `bowline.jsonc`, by the binding's name. Two uploads that mean the same
/// share what was built for the first.
pub struct Bindings {
    registry: Registry,
    resources: Resources,
    entries: Vec<BindingEntry>,
    built: Mutex<HashMap<String, Weak<dyn Binding>>>,
}

impl std::fmt::Debug for Bindings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bindings")
            .field("resources", &self.resources)
            .finish_non_exhaustive()
    }
}

impl Bindings {
    /// Bindings of the kinds in `registry`, on `resources`; `entries` are those of the project's configuration.
    pub fn new(registry: Registry, resources: Resources, entries: Vec<BindingEntry>) -> Self {
        Self {
            registry,
            resources,
            entries,
            built: Mutex::default(),
        }
    }

    /// The Workers uploaded into dispatch namespaces, where the binding finds them.
    pub(crate) fn uploads(&self) -> DispatchUploads {
        DispatchUploads::new(&self.resources.state)
    }

    fn unknown(&self, name: &str, kind: &str, instead: &str) -> String {
        let known: Vec<_> = self.registry.iter().map(|descriptor| descriptor.kind).collect();
        format!(
            "binding {name}: the stand-in has nothing of the type `{kind}`; it has {}. {instead}",
            known.join(", ")
        )
    }

    /// A router for the entries of an upload's `bindings`.
    ///
    /// # Errors
    /// The binding that cannot be had, and why, for whoever uploaded.
    pub(crate) fn router(&self, uploaded: &[Value]) -> Result<Router, String> {
        let mut router = Router::default();
        for binding in uploaded {
            let (name, kind) = (text(binding, "name"), text(binding, "type"));
            router.add(name, self.binding(name, kind, binding)?);
        }
        Ok(router)
    }

    fn binding(&self, name: &str, kind: &str, uploaded: &Value) -> Result<Arc<dyn Binding>, String> {
        let descriptor = self.registry.kind(kind).ok_or_else(|| {
            self.unknown(
                name,
                kind,
                "Leave `remote` out, or run the tool against the real service",
            )
        })?;
        let configured = self
            .entries
            .iter()
            .find(|entry| entry.name == name && entry.kind == kind)
            .and_then(|entry| entry.entry.as_object());
        let mut entry: Map<String, Value> = configured.cloned().unwrap_or_default();
        let members = uploaded.as_object().into_iter().flatten();
        entry.extend(
            members
                .filter(|(key, _)| !["name", "type", "raw"].contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        entry.insert(descriptor.name_key.to_owned(), name.into());
        let entry = Value::Object(entry);

        let key = format!("{kind} {entry}");
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(binding) = built.get(&key).and_then(Weak::upgrade) {
            return Ok(binding);
        }
        let binding = (descriptor.build)(&entry, &self.resources)
            .map_err(|error| format!("binding {name}: {error}"))?;
        built.retain(|_, binding| binding.strong_count() > 0);
        built.insert(key, Arc::downgrade(&binding));
        Ok(binding)
    }
}

/// The wrangler configuration that an upload was made from, as far as it says what is run.
pub(crate) fn configuration(upload: &Upload, bindings: &Bindings) -> Result<Value, String> {
    let mut lists: Map<String, Value> = Map::new();
    let mut vars = Map::new();
    for binding in &upload.bindings {
        let (name, kind) = (text(binding, "name"), text(binding, "type"));
        match kind {
            "plain_text" => {
                vars.insert(name.to_owned(), text(binding, "text").into());
            }
            "json" => {
                vars.insert(name.to_owned(), binding["json"].clone());
            }
            kind => {
                let descriptor = bindings.registry.kind(kind).ok_or_else(|| {
                    bindings.unknown(name, kind, "Variables (`vars`) are kept as well; secrets are not")
                })?;
                let mut entry = binding.as_object().cloned().unwrap_or_default();
                entry.retain(|key, _| !["name", "type"].contains(&key.as_str()));
                entry.insert(descriptor.name_key.to_owned(), name.into());
                let list = lists
                    .entry(descriptor.wrangler_key)
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(Value::Object(entry));
                }
            }
        }
    }
    let mut members = json!({
        "name": upload.script, "main": format!("{MODULES}/{}", upload.main_module), "vars": vars,
        "compatibility_date": upload.compatibility_date, "compatibility_flags": upload.compatibility_flags,
    });
    if let Value::Object(members) = &mut members {
        members.extend(lists);
    }
    Ok(members)
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry[key].as_str().unwrap_or_default()
}
