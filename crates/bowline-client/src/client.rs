//! One remote, and how it is reached.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bowline_credentials::{CredentialState, Credentials, Host, Origin, ServiceToken};
use bowline_proxy::{Proxy, ProxyError, ProxyOptions};
use bowline_secret::Secret;
use http::Uri;

use crate::Binding;
use crate::ai::Ai;
use crate::artifacts::Artifacts;
use crate::d1::D1;
use crate::dispatch::DispatchNamespace;
use crate::images::Images;
use crate::service::Service;
use crate::vectorize::Vectorize;

/// How long each wait may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Name resolution, TCP and TLS together.
    pub connect: Duration,
    /// From sending an upgrade to its end.
    pub upgrade: Duration,
    /// From sending a request, its body included, to the head of its answer.
    pub answer: Duration,
    /// Between two pieces of an answer's body.
    pub idle: Duration,
    /// From an rpc call to its result.
    pub call: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            upgrade: Duration::from_secs(30),
            answer: Duration::from_secs(300),
            idle: Duration::from_secs(60),
            call: Duration::from_secs(300),
        }
    }
}

/// A client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The remote is no URL. It is not shown: a connection string is a capability.
    #[error("the remote is not a URL")]
    Url(#[source] http::uri::InvalidUri),
    /// The credentials have characters that no header can carry.
    #[error("a credential has characters that no header can carry")]
    Credential(#[from] http::header::InvalidHeaderValue),
    /// Something else about it cannot be used.
    #[error("set up the line to the remote")]
    Proxy(#[from] ProxyError),
}

/// A [`Client`] to be.
#[derive(Debug, Clone)]
pub struct Builder {
    /// Not shown: a connection string is a capability.
    remote: Secret,
    credentials: CredentialState,
    authorities: Vec<PathBuf>,
    deadlines: Deadlines,
    largest_answer: usize,
}

impl Builder {
    /// Sends a service token with every request and every upgrade.
    #[must_use]
    pub fn service_token(self, client_id: impl Into<String>, client_secret: Secret) -> Self {
        self.credentials(CredentialState::Token(ServiceToken::new(
            client_id,
            client_secret,
            vec![Origin::Given("what this program was given")],
        )))
    }

    /// Sends what was found somewhere; half a pair is nothing to send, but an error will say so.
    #[must_use]
    pub fn credentials(self, credentials: CredentialState) -> Self {
        Self { credentials, ..self }
    }

    /// Trusts the certificate authorities in a PEM file, besides the system's.
    #[must_use]
    pub fn trust(mut self, authorities: impl Into<PathBuf>) -> Self {
        self.authorities.push(authorities.into());
        self
    }

    /// Replaces the deadlines.
    #[must_use]
    pub fn deadlines(self, deadlines: Deadlines) -> Self {
        Self { deadlines, ..self }
    }

    /// The largest answer a typed client reads, in bytes (64 MiB unless told). Streamed answers have no bound.
    #[must_use]
    pub fn largest_answer(self, bytes: usize) -> Self {
        Self {
            largest_answer: bytes,
            ..self
        }
    }

    /// The client. Opens no connection yet.
    pub fn build(self) -> Result<Client, BuildError> {
        let remote: Uri = self.remote.expose().parse().map_err(BuildError::Url)?;
        // A remote without a host of its own is refused by the proxy.
        let credentials = match Host::of(&remote) {
            Some(host) => Credentials::new(host, self.credentials)?,
            None => Credentials::default(),
        };
        let proxy = Proxy::new(ProxyOptions {
            remote,
            credentials,
            extra_authorities: self.authorities,
            deadlines: bowline_proxy::Deadlines {
                connect: self.deadlines.connect,
                upgrade: self.deadlines.upgrade,
                first_byte: self.deadlines.answer,
                ..bowline_proxy::Deadlines::default()
            },
            on_refusal: None,
            preview: None,
            warm: false,
        })?;
        Ok(Client(Arc::new(Inner {
            proxy,
            deadlines: self.deadlines,
            largest_answer: self.largest_answer,
        })))
    }
}

/// A remote. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    proxy: Proxy,
    deadlines: Deadlines,
    largest_answer: usize,
}

impl Client {
    /// A client of `remote`: the URL of a remote, or a connection string as `bowline connect` prints it.
    pub fn builder(remote: impl AsRef<str>) -> Builder {
        Builder {
            remote: Secret::new(remote),
            credentials: CredentialState::Nothing,
            authorities: Vec::new(),
            deadlines: Deadlines::default(),
            largest_answer: 64 << 20,
        }
    }

    /// The binding of a name, of whatever kind it is.
    pub fn binding(&self, name: impl Into<Arc<str>>) -> Binding {
        Binding::new(self.clone(), name.into())
    }

    /// Workers AI by the name of its binding.
    pub fn ai(&self, name: impl Into<Arc<str>>) -> Ai {
        Ai::new(self.binding(name))
    }

    /// An Artifacts namespace by the name of its binding.
    pub fn artifacts(&self, name: impl Into<Arc<str>>) -> Artifacts {
        Artifacts::new(self.binding(name))
    }

    /// A D1 database by the name of its binding.
    pub fn d1(&self, name: impl Into<Arc<str>>) -> D1 {
        D1::new(self.binding(name))
    }

    /// A dispatch namespace by the name of its binding.
    pub fn dispatch_namespace(&self, name: impl Into<Arc<str>>) -> DispatchNamespace {
        DispatchNamespace::new(self.binding(name))
    }

    /// Images by the name of its binding.
    pub fn images(&self, name: impl Into<Arc<str>>) -> Images {
        Images::new(self.binding(name))
    }

    /// The Worker of a service binding by the binding's name.
    pub fn service(&self, name: impl Into<Arc<str>>) -> Service {
        Service::new(self.binding(name))
    }

    /// A Vectorize index by the name of its binding.
    pub fn vectorize(&self, name: impl Into<Arc<str>>) -> Vectorize {
        Vectorize::new(self.binding(name))
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.0.proxy
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        self.0.deadlines
    }

    pub(crate) fn largest_answer(&self) -> usize {
        self.0.largest_answer
    }
}
