//! One entry of the universal endpoint's list: which provider to ask for what.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::options::PREFIX;
use crate::{GatewayError, Options};

/// Fallbacks in one call.
const MOST_STEPS: usize = 32;

/// One step of a call. `Debug` leaves the headers out: they hold the caller's keys.
pub struct Step {
    pub(crate) provider: String,
    pub(crate) endpoint: String,
    /// For the provider.
    pub(crate) headers: HeaderMap,
    pub(crate) options: Options,
    pub(crate) query: Value,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step")
            .field("provider", &self.provider)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Step {
    /// A step without headers of its own.
    pub fn new(provider: &str, endpoint: &str, query: Value) -> Self {
        Self {
            provider: provider.to_owned(),
            endpoint: endpoint.to_owned(),
            headers: HeaderMap::new(),
            options: Options::default(),
            query,
        }
    }

    /// Reads the universal endpoint's list; one object counts as a list of one.
    pub fn list(body: &Value) -> Result<Vec<Self>, GatewayError> {
        let steps: Vec<&Value> = match body {
            Value::Array(steps) => steps.iter().collect(),
            Value::Object(_) => vec![body],
            _ => {
                return Err(GatewayError::Invalid(
                    "the body must be a list of requests".into(),
                ));
            }
        };
        if steps.is_empty() || steps.len() > MOST_STEPS {
            return Err(GatewayError::Invalid(format!(
                "the list must have 1 to {MOST_STEPS} requests"
            )));
        }
        let read = |(index, step)| {
            Self::read(step).map_err(|problem| GatewayError::Invalid(format!("request {index}: {problem}")))
        };
        steps.into_iter().enumerate().map(read).collect()
    }

    fn read(step: &Value) -> Result<Self, String> {
        let text = |key: &str| {
            step.get(key)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .ok_or_else(|| format!("`{key}` must be a text"))
        };
        let none = Map::new();
        let given = match step.get("headers") {
            None | Some(Value::Null) => &none,
            Some(Value::Object(headers)) => headers,
            Some(_) => return Err("`headers` must be an object".into()),
        };
        let (mut own, mut headers) = (HeaderMap::new(), HeaderMap::new());
        for (name, value) in given {
            // The client turns values into texts; a client of another kind may not.
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Null => continue,
                other => other.to_string(),
            };
            let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes())
                .map_err(|_| "a header has a name that cannot be sent".to_owned())?;
            // The value may be a key: it stays out of the text.
            let mut value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| format!("header `{name}` has a value that cannot be sent"))?;
            if name.as_str().starts_with(PREFIX) {
                own.append(name, value);
            } else if ![
                "host",
                "content-length",
                "transfer-encoding",
                "connection",
                "upgrade",
            ]
            .contains(&name.as_str())
            {
                value.set_sensitive(true);
                headers.append(name, value);
            }
        }
        Ok(Self {
            provider: text("provider")?,
            endpoint: text("endpoint")?,
            headers,
            options: Options::from_headers(&own).map_err(|error| error.to_string())?,
            query: step.get("query").cloned().unwrap_or(Value::Null),
        })
    }
}
