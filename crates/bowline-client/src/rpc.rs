//! A binding's methods.

use bowline_wire::header::MF_BINDING_QUERY;
use capnweb::{SessionOptions, Stub, Value};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

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
        let key = generate_key();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair(MF_BINDING_QUERY, binding.name())
            .finish();
        let mut request = Request::new(bowline_binding::empty());
        *request.uri_mut() = format!("/?{query}").parse::<Uri>().map_err(|_| {
            let text = "the binding's name is too long for a URL";
            binding.fails(OPERATION, ErrorKind::Invalid(text.to_owned()))
        })?;
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        let value = HeaderValue::from_str(&key).expect("base64 is a header's value");
        headers.insert(SEC_WEBSOCKET_KEY, value);

        let client = binding.client();
        let response = client.proxy().exchange("/", request).await;
        let mut response = response.map_err(|failure| binding.fails(OPERATION, ErrorKind::Line(failure)))?;
        let accepted = response.status() == StatusCode::SWITCHING_PROTOCOLS
            && response
                .headers()
                .get(SEC_WEBSOCKET_ACCEPT)
                .is_some_and(|accept| accept.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes());
        if !accepted {
            let text = format!("no WebSocket, but {}", response.status());
            return Err(binding.fails(OPERATION, ErrorKind::Answer(text)));
        }
        let after = client.deadlines().upgrade;
        let upgraded = tokio::time::timeout(after, hyper::upgrade::on(&mut response)).await;
        let upgraded = match upgraded {
            Ok(Ok(upgraded)) => upgraded,
            Ok(Err(error)) => {
                let text = format!("the upgrade was not completed: {error}");
                return Err(binding.fails(OPERATION, ErrorKind::Answer(text)));
            }
            Err(_) => {
                let what = "the upgrade";
                return Err(binding.fails(OPERATION, ErrorKind::TimedOut { what, after }));
            }
        };
        let main = capnweb::connect_upgraded(TokioIo::new(upgraded), SessionOptions::default()).await;
        Ok(Self {
            binding: binding.clone(),
            main,
        })
    }

    /// The binding itself, for pipelining, streams and callbacks. Awaiting its promises has no deadline.
    pub fn stub(&self) -> &Stub {
        &self.main
    }

    /// Calls a method and waits for its result. `operation` names it in errors as well.
    pub async fn call(
        &self,
        method: &'static str,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Value, Error> {
        let after = self.binding.client().deadlines().call;
        let promise = self.main.call(method, args);
        match tokio::time::timeout(after, promise).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if error.is_disconnected() => {
                Err(self.binding.fails(method, ErrorKind::Disconnected(error)))
            }
            Ok(Err(error)) => Err(self.binding.fails(method, ErrorKind::Rejected(error))),
            Err(_) => {
                let what = "the call";
                Err(self.binding.fails(method, ErrorKind::TimedOut { what, after }))
            }
        }
    }
}
