//! The surfaces: both flows go to the Worker that was named.

use std::sync::Arc;

use bowline_binding::{
    Binding, BindingError, BoxDuplex, BoxFuture, CallContext, FetchReply, FetchRequest, Surfaces,
};

use crate::config::Config;
use crate::options::Get;

/// A dispatch namespace.
pub(crate) struct Dispatch(Arc<Config>);

impl Dispatch {
    pub(crate) fn new(config: Config) -> Self {
        Self(Arc::new(config))
    }
}

#[async_trait::async_trait]
impl Binding for Dispatch {
    fn surfaces(&self) -> Surfaces {
        Surfaces {
            fetch: true,
            rpc: true,
            connect: false,
        }
    }

    async fn fetch(&self, cx: &CallContext, request: FetchRequest) -> Result<FetchReply, BindingError> {
        let worker = self.0.find(Get::parse(cx.options.as_deref())?)?;
        self.0.workers.fetch(&worker, request).await
    }

    fn session(&self, cx: &CallContext) -> Option<BoxFuture<'static, Result<BoxDuplex, BindingError>>> {
        let (config, options) = (Arc::clone(&self.0), cx.options.clone());
        Some(Box::pin(async move {
            let worker = config.find(Get::parse(options.as_deref())?)?;
            config.workers.session(&worker).await
        }))
    }
}
