//! A binding's methods.

use bowline_wire::header::{MF_BINDING_QUERY, MF_DISPATCH_NAMESPACE_OPTIONS_QUERY};
use capnweb::{Promise, SessionOptions, Stub, Value};
use http::{Request, Uri};
use serde::de::DeserializeOwned;

use crate::upgrade::{Outcome, upgrade};
use crate::{Binding, Error, ErrorKind};

/// One session with a binding. It lives as long as this value, its stub, or a call.
#[derive(Debug, Clone)]
pub struct Rpc {
    binding: Binding,
    main: Stub,
}

impl Rpc {
    pub(crate) async fn open(binding: &Binding) -> Result<Self, Error> {
        const OPERATION: &str = "rpc";
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair(MF_BINDING_QUERY, binding.name());
        if let Some(options) = binding.options() {
            query.append_pair(MF_DISPATCH_NAMESPACE_OPTIONS_QUERY, options);
        }
        let mut request = Request::new(bowline_binding::empty());
        *request.uri_mut() = format!("/?{}", query.finish()).parse::<Uri>().map_err(|_| {
            let text = "what names the binding is too long for a URL";
            binding.fails(OPERATION, ErrorKind::Invalid(text.to_owned()))
        })?;
        let upgraded = match upgrade(binding, OPERATION, request).await? {
            Outcome::Switched(upgraded, _) => upgraded,
            Outcome::Answered(response) => {
                let text = format!("no WebSocket, but {}", response.status());
                return Err(binding.fails(OPERATION, ErrorKind::Answer(text)));
            }
        };
        let main = capnweb::connect_upgraded(upgraded, SessionOptions::default()).await;
        Ok(Self {
            binding: binding.clone(),
            main,
        })
    }

    /// The binding itself, for pipelining, streams and callbacks. Awaiting its promises has no deadline.
    pub fn stub(&self) -> &Stub {
        &self.main
    }

    /// Calls a method and waits for its result. Errors name it.
    pub async fn call(
        &self,
        method: &'static str,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Value, Error> {
        self.result(method, self.main.call(method, args)).await
    }

    /// Waits for the result of a call on something else in the session. `operation` names it in errors.
    pub async fn result(&self, operation: &'static str, promise: Promise) -> Result<Value, Error> {
        let after = self.binding.client().deadlines().call;
        match tokio::time::timeout(after, promise).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if error.is_disconnected() => {
                Err(self.binding.fails(operation, ErrorKind::Disconnected(error)))
            }
            Ok(Err(error)) => Err(self.binding.fails(operation, ErrorKind::Rejected(error))),
            Err(_) => {
                let what = "the call";
                Err(self.binding.fails(operation, ErrorKind::TimedOut { what, after }))
            }
        }
    }

    /// As [`Rpc::result`], read as a type.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        promise: Promise,
    ) -> Result<T, Error> {
        let value = self.result(operation, promise).await?;
        capnweb::from_value(value)
            .map_err(|error| self.binding.fails(operation, ErrorKind::Answer(error.message())))
    }
}
