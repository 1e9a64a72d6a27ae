//! The table of models, and the list user code can search.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use url::form_urlencoded;

use crate::backend::{Ask, Backend, Output, Shape, Task};
use crate::error::AiError;
use crate::inference::Inference;

/// The documented page size is not known; this many are enough for every table.
const PER_PAGE: usize = 100;

/// What stands behind a name.
#[derive(Clone)]
pub(crate) struct Mapped {
    pub(crate) backend: Arc<dyn Backend>,
    /// The backend's name in the configuration.
    pub(crate) backend_name: String,
    /// The model's name at the backend; its own when absent.
    pub(crate) model: Option<String>,
    pub(crate) task: Task,
    pub(crate) shape: Shape,
}

/// Every model there is.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) named: BTreeMap<String, Mapped>,
    /// All models without a name of their own here.
    pub(crate) others: Option<Mapped>,
}

impl Table {
    /// One line for each model.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |name: &str, mapped: &Mapped| {
            let model = mapped.model.as_deref().unwrap_or("the same name");
            let (task, what) = (mapped.task.name(), mapped.backend.describe());
            format!("{name} → {model} at {} ({what}) · {task}", mapped.backend_name)
        };
        let mut lines: Vec<String> = self
            .named
            .iter()
            .map(|(name, mapped)| line(name, mapped))
            .collect();
        lines.extend(self.others.iter().map(|mapped| line("every other model", mapped)));
        if lines.is_empty() {
            lines.push("no model is mapped; `models` of this binding in bowline.jsonc maps them".into());
        }
        lines
    }

    pub(crate) fn find(&self, model: &str) -> Result<&Mapped, AiError> {
        self.named
            .get(model)
            .or(self.others.as_ref())
            .ok_or_else(|| AiError::NoModel {
                model: model.to_owned(),
                mapped: self.known(),
            })
    }

    fn known(&self) -> String {
        if self.named.is_empty() {
            return "no model is mapped in bowline.jsonc".to_owned();
        }
        let names: Vec<&str> = self.named.keys().map(String::as_str).collect();
        format!("mapped are: {}", names.join(", "))
    }

    /// Asks the backend of a call's model.
    pub(crate) async fn run(&self, inference: &Inference) -> Result<Output, AiError> {
        let mapped = self.find(&inference.model)?;
        if inference
            .options
            .get("queueRequest")
            .is_some_and(|value| *value != false && *value != "false")
        {
            return Err(AiError::Input(
                "queueRequest is not offered here: every call is answered at once".into(),
            ));
        }
        mapped.backend.run(mapped.ask(inference)).await
    }

    /// The answer to `models()`.
    pub(crate) fn search(&self, query: &str) -> Value {
        let (mut wanted, mut task, mut page, mut per_page) = (String::new(), String::new(), 1, PER_PAGE);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "search" => wanted = value.to_lowercase(),
                "task" => task = value.to_lowercase(),
                "page" => page = value.parse().unwrap_or(1),
                "per_page" => per_page = value.parse().unwrap_or(PER_PAGE),
                // Nothing here is experimental, has an author other than its name says, or another source.
                _ => {}
            }
        }
        let found: Vec<Value> = self
            .named
            .iter()
            .filter(|(name, _)| name.to_lowercase().contains(&wanted))
            .filter(|(_, mapped)| task.is_empty() || mapped.task.name().to_lowercase() == task)
            .skip(page.max(1_usize).saturating_sub(1).saturating_mul(per_page))
            .take(per_page)
            .map(|(name, mapped)| {
                json!({
                    // The name is the only identity a model has here.
                    "id": name, "source": 1, "name": name,
                    "description": format!("{} at {}", mapped.model.as_deref().unwrap_or(name), mapped.backend.describe()),
                    "task": {"id": mapped.task.name(), "name": mapped.task.name(), "description": ""},
                    "tags": [], "properties": [],
                })
            })
            .collect();
        json!({"success": true, "result": found, "errors": [], "messages": []})
    }
}

impl Mapped {
    pub(crate) fn ask<'a>(&'a self, inference: &'a Inference) -> Ask<'a> {
        Ask {
            model: self.model.as_deref().unwrap_or(&inference.model),
            task: self.task,
            shape: self.shape,
            inputs: &inference.inputs,
            media: inference.media.as_ref(),
            stream: inference.wants_stream(),
        }
    }
}
