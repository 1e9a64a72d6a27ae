//! From the bindings of an upload to Bowline's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bowline_binding::{Binding, Registry, Resources};
use bowline_config::BindingEntry;
use bowline_remote::Router;
use serde_json::{Map, Value};

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
        let Some(descriptor) = self.registry.kind(kind) else {
            let known: Vec<_> = self.registry.iter().map(|descriptor| descriptor.kind).collect();
            return Err(format!(
                "binding {name}: the stand-in has nothing of the type `{kind}`; it has {}. Leave `remote` out, or run the tool \
                 against the real service",
                known.join(", ")
            ));
        };
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

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry[key].as_str().unwrap_or_default()
}
