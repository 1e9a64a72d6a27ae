//! The Workers of a dispatch namespace, as `env.NAME.get(name)` gives them to a Worker.
//!
//! Source of the wire: captures of miniflare 5's client.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::service::Service;
use crate::{Binding, Error, ErrorKind};

/// What a Worker may use in one call.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Limits {
    /// Milliseconds of computing.
    #[serde(rename = "cpuMs", skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u32>,
    /// Requests of its own.
    #[serde(rename = "subRequests", skip_serializing_if = "Option::is_none")]
    pub sub_requests: Option<u32>,
}

/// What `get()` may be told besides the Worker's name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GetOptions {
    /// Arguments for the Worker. A Bowline refuses any: how a Worker sees them is not documented.
    pub args: Map<String, Value>,
    /// What it may use.
    pub limits: Option<Limits>,
    /// Values for the outbound Worker, by the names in the namespace's configuration.
    pub outbound: Map<String, Value>,
}

/// A dispatch namespace by the name of its binding. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DispatchNamespace(Binding);

impl DispatchNamespace {
    /// The namespace behind a binding.
    pub fn new(binding: Binding) -> Self {
        Self(binding)
    }

    /// The Worker of a name. Sends nothing: whether there is one shows when it is used, as `Worker not found.`
    pub fn get(&self, name: &str) -> Result<Service, Error> {
        self.get_with(name, &GetOptions::default())
    }

    /// The Worker of a name, called as `options` say.
    pub fn get_with(&self, name: &str, options: &GetOptions) -> Result<Service, Error> {
        #[derive(Serialize)]
        struct Get<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Map::is_empty")]
            args: &'a Map<String, Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            options: Option<Options<'a>>,
        }
        #[derive(Serialize)]
        struct Options<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            limits: Option<Limits>,
            #[serde(skip_serializing_if = "Map::is_empty")]
            outbound: &'a Map<String, Value>,
        }
        let any = options.limits.is_some() || !options.outbound.is_empty();
        let get = Get {
            name,
            args: &options.args,
            options: any.then_some(Options {
                limits: options.limits,
                outbound: &options.outbound,
            }),
        };
        let get = serde_json::to_string(&get)
            .map_err(|error| self.0.fails("get", ErrorKind::Invalid(error.to_string())))?;
        Ok(Service::new(self.0.with_options(get)))
    }
}
