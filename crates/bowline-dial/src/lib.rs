//! Connections to a remote: name resolution, TCP and TLS within one deadline, as a connector for hyper's client.
//!
//! TLS trusts the system's roots and the authorities a user adds, and speaks HTTP/1.1 only, because upgrades need it.
//! Not here: requests, pools and credentials.

mod connector;
mod tls;

pub use connector::{Connector, Stream};
pub use tls::{TlsError, client_config};
