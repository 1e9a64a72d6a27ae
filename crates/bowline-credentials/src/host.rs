//! The host that credentials belong to.

use std::fmt;

use http::Uri;
use http::uri::Authority;

/// A host and its port. Two are equal when a request to one is a request to the other: case does not matter, and a port
/// that is the scheme's own is no port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    secure: bool,
    name: String,
    port: Option<u16>,
}

impl Host {
    /// The host of an `http` or `https` URL. `None` for any other URL, and for one with user information, which is a
    /// secret in the wrong place.
    pub fn of(url: &Uri) -> Option<Self> {
        Self::at(url.scheme_str()?, url.authority()?)
    }

    /// The host of an authority under a scheme.
    pub fn at(scheme: &str, authority: &Authority) -> Option<Self> {
        let secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let own = if secure { 443 } else { 80 };
        Some(Self {
            secure,
            name: authority.host().to_ascii_lowercase(),
            port: authority.port_u16().filter(|port| *port != own),
        })
    }

    /// The name, lower case, without a port. An IPv6 address keeps its brackets.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether what is sent there can be read on the way: `http` to another machine.
    pub fn is_in_the_clear(&self) -> bool {
        !self.secure && !self.is_loopback()
    }

    /// Whether it is this very machine.
    pub fn is_loopback(&self) -> bool {
        let address = self.name.trim_start_matches('[').trim_end_matches(']');
        self.name == "localhost"
            || self.name.ends_with(".localhost")
            || address
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// `scheme://host[:port]`.
    pub fn origin(&self) -> String {
        format!("{}://{self}", if self.secure { "https" } else { "http" })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => f.write_str(&self.name),
            Some(port) => write!(f, "{}:{port}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_and_other() {
        let host = |url: &str| Host::of(&url.parse().unwrap());
        assert_eq!(host("https://A.example/x"), host("https://a.example:443/y"));
        assert_ne!(host("https://a.example/"), host("http://a.example/"));
        assert_ne!(host("https://a.example/"), host("https://a.example:8443/"));
        assert_eq!(host("http://[::1]:8080/").unwrap().to_string(), "[::1]:8080");
        for none in ["ftp://a.example/", "/path", "https://user@a.example/"] {
            assert_eq!(host(none), None, "{none}");
        }
        for (url, clear) in [
            ("http://a.example/", true),
            ("https://a.example/", false),
            ("http://127.0.0.1:1/", false),
            ("http://[::1]/", false),
            ("http://localhost/", false),
            ("http://127.0.0.1.example/", true),
        ] {
            assert_eq!(host(url).unwrap().is_in_the_clear(), clear, "{url}");
        }
    }
}
