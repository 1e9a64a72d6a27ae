//! What `get(name, args, options)` was given, as it travels with each call.

use bowline_binding::{BindingError, ErrorKind};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Arguments of `get()`. Its shape is a capture's: miniflare 5.20261117.0 with workerd 2026-11-17.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Get {
    pub(crate) name: String,
    #[serde(default)]
    args: Option<Value>,
    #[serde(default)]
    pub(crate) options: Option<Options>,
}

/// The third argument. Members that are not known are refused: leaving one out would be pretending.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    #[serde(default)]
    limits: Option<Limits>,
    #[serde(default)]
    pub(crate) outbound: Option<Map<String, Value>>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    #[serde(default, rename = "cpuMs")]
    cpu_ms: Option<f64>,
    #[serde(default, rename = "subRequests")]
    sub_requests: Option<f64>,
}

impl Get {
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, BindingError> {
        let wrong = |text: String| BindingError::new(ErrorKind::Invalid, "dispatch", text);
        let text = text.ok_or_else(|| wrong("no Worker was named: get(name) was not called".to_owned()))?;
        let get: Self = serde_json::from_str(text).map_err(|error| {
            wrong(format!(
                "get(name, args, options) was given something else: {error}"
            ))
        })?;
        match &get.args {
            None | Some(Value::Null) => {}
            Some(Value::Object(args)) if args.is_empty() => {}
            Some(_) => {
                let text = "get(): `args` are not handed to the Worker here; leave them out";
                return Err(BindingError::new(ErrorKind::Unsupported, "dispatch", text));
            }
        }
        let limits = get.options.as_ref().and_then(|options| options.limits.as_ref());
        for (name, limit) in limits
            .map(|limits| [("cpuMs", limits.cpu_ms), ("subRequests", limits.sub_requests)])
            .into_iter()
            .flatten()
        {
            if limit.is_some_and(|limit| limit.is_nan() || limit < 0.0) {
                return Err(wrong(format!("get(): `limits.{name}` must not be negative")));
            }
        }
        Ok(get)
    }
}
