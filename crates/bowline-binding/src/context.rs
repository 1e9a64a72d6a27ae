//! What a binding is told about the call it serves.

use std::sync::Arc;

/// Facts about one call. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The name the Worker knows the binding by (`env.NAME`).
    pub binding: Arc<str>,
    /// Who was let in: a service token's client id, or `local` for the place in this process. Never a secret.
    pub identity: Arc<str>,
    /// Options of this call, opaque to everyone but the binding: which Worker of a dispatch namespace, as JSON.
    pub options: Option<Arc<str>>,
}

impl CallContext {
    /// A context for `binding`, called by `identity`.
    pub fn new(binding: impl Into<Arc<str>>, identity: impl Into<Arc<str>>) -> Self {
        Self {
            binding: binding.into(),
            identity: identity.into(),
            options: None,
        }
    }

    /// The same context with options.
    #[must_use]
    pub fn with_options(mut self, options: Option<impl Into<Arc<str>>>) -> Self {
        self.options = options.map(Into::into);
        self
    }
}

/// The address user code passed to `connect()`: `host:port`, unparsed beyond the split at the last colon.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectAddress {
    host: String,
    port: u16,
}

impl ConnectAddress {
    /// Parses `host:port` (or `[v6]:port`). `None` when there is no host or no port in 1–65535.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
        let host = match bracketed {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
            None if host.is_empty() || host.contains([':', '/', '@', ' ']) => return None,
            None => host.to_ascii_lowercase(),
        };
        Some(Self { host, port })
    }

    /// The host, lower case, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl std::fmt::Display for ConnectAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ConnectAddress;

    #[test]
    fn addresses() {
        for (text, shown) in [
            ("db.internal:5432", "db.internal:5432"),
            ("[::1]:1", "[::1]:1"),
            ("A:65535", "a:65535"),
        ] {
            assert_eq!(ConnectAddress::parse(text).unwrap().to_string(), shown);
        }
        for bad in [
            "",
            "host",
            ":1",
            "host:0",
            "host:65536",
            "host:x",
            "::1:80",
            "a b:1",
            "u@h:1",
            "h/p:1",
            "[x]:1",
        ] {
            assert_eq!(ConnectAddress::parse(bad), None, "{bad}");
        }
    }
}
