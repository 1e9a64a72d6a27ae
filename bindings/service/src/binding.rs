//! The surfaces: both flows go to the target as they are.

use std::sync::Arc;

use bowline_binding::{
    Binding, BindingError, BoxDuplex, BoxFuture, CallContext, ErrorKind, FetchReply, FetchRequest, Surfaces,
};

use crate::config::{Config, Target};

/// A service binding.
pub(crate) struct Service(Arc<Config>);

impl Service {
    pub(crate) fn new(config: Config) -> Self {
        Self(Arc::new(config))
    }
}

impl Config {
    /// There is no target for this flow.
    fn unsupported(&self, flow: &'static str, missing: &str) -> BindingError {
        let text = format!(
            "service \"{}\" does not answer {flow}: its target has no `{missing}` in bowline.jsonc",
            self.service
        );
        BindingError::new(ErrorKind::Unsupported, flow, text)
    }
}

#[async_trait::async_trait]
impl Binding for Service {
    fn surfaces(&self) -> Surfaces {
        let (fetch, rpc) = match &self.0.target {
            Target::Worker(..) => (true, true),
            Target::Upstream { http, capnweb } => (http.is_some(), capnweb.is_some()),
        };
        Surfaces {
            fetch,
            rpc,
            connect: false,
        }
    }

    async fn fetch(&self, _: &CallContext, request: FetchRequest) -> Result<FetchReply, BindingError> {
        match &self.0.target {
            Target::Worker(workers, spec) => workers.fetch(spec, request).await,
            Target::Upstream { http: Some(http), .. } => http.fetch(request).await,
            Target::Upstream { http: None, .. } => Err(self.0.unsupported("fetch", "url")),
        }
    }

    fn session(&self, _: &CallContext) -> Option<BoxFuture<'static, Result<BoxDuplex, BindingError>>> {
        let config = Arc::clone(&self.0);
        Some(Box::pin(async move {
            match &config.target {
                Target::Worker(workers, spec) => workers.session(spec).await,
                Target::Upstream {
                    capnweb: Some(capnweb),
                    ..
                } => capnweb.session().await,
                Target::Upstream { capnweb: None, .. } => Err(config.unsupported("rpc", "capnweb")),
            }
        }))
    }
}
