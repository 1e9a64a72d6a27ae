//! Which requests an application stands in front of: hosts and paths with wildcards, the most specific first.
//!
//! Source: Cloudflare's page on application paths. `*` in a host stays inside one label; in a path it may span several
//! segments. A host without a path covers everything below it, a path covers everything below the path, and `/a/*` does
//! not cover `/a`. Ports, queries and fragments take no part.

use crate::ShapeError;

/// One protected destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// As it was configured.
    text: String,
    host: HostPattern,
    /// The path pattern, empty for everything.
    path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    /// Every host, written `*`: Bowline's own, for a gate that guards whatever it is reached by.
    Any,
    /// Without a wildcard. Most are, and a request is held against all of them.
    Exact(String),
    Labels(Vec<String>),
}

/// How narrow a destination is. Greater is more specific: hosts count before paths, letters before wildcards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    named_host: bool,
    exact_host: bool,
    host_letters: usize,
    path_letters: usize,
    exact_path: bool,
}

impl Destination {
    /// Reads `host`, `host/path` or a URL of one.
    pub fn parse(text: &str) -> Result<Self, ShapeError> {
        let bad = |problem: &str| Err(ShapeError::new("", format!("`{text}` {problem}")));
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        if host.is_empty() {
            return bad("has no host");
        }
        if !host.is_ascii() || host.bytes().any(|byte| byte <= b' ' || byte == b'@') {
            return bad("is no host name (write international names in their ASCII form)");
        }
        let host = if host == "*" {
            HostPattern::Any
        } else {
            let labels: Vec<String> = host.split('.').map(str::to_owned).collect();
            if labels.iter().any(String::is_empty) {
                return bad("has an empty label");
            }
            if labels.iter().any(|label| stars(label) > 1) {
                return bad("has more than one `*` in a label");
            }
            match stars(&host) {
                0 => HostPattern::Exact(host),
                _ => HostPattern::Labels(labels),
            }
        };
        if path.split('/').any(|segment| stars(segment) > 1) {
            return bad("has more than one `*` in a path segment");
        }
        let path = if path == "/" { "" } else { path };
        Ok(Self {
            text: text.to_owned(),
            host,
            path: path.to_owned(),
        })
    }

    /// As it was configured, wildcards kept.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its rank among destinations that cover the same request.
    pub fn specificity(&self) -> Specificity {
        let (named_host, exact_host, host_letters) = match &self.host {
            HostPattern::Any => (false, false, 0),
            HostPattern::Exact(host) => (true, true, host.len() - host.matches('.').count()),
            HostPattern::Labels(labels) => (
                true,
                false,
                labels.iter().map(|label| label.len() - stars(label)).sum(),
            ),
        };
        Specificity {
            named_host,
            exact_host,
            host_letters,
            path_letters: self.path.len() - stars(&self.path),
            exact_path: stars(&self.path) == 0,
        }
    }

    /// Whether it covers something on a host, which may have a port.
    pub(crate) fn stands_on(&self, host: &str) -> bool {
        self.covers_host(without_port(&host.to_ascii_lowercase()))
    }

    /// Whether it covers a request. `host` is lower case and without a port, `path` is a form of [`RequestPath`].
    fn covers(&self, host: &str, path: &str) -> bool {
        self.covers_host(host) && covers_path(&self.path, path)
    }

    fn covers_host(&self, host: &str) -> bool {
        match &self.host {
            HostPattern::Any => true,
            HostPattern::Exact(exact) => exact == host,
            HostPattern::Labels(labels) => {
                let mut given = host.split('.');
                labels.iter().all(|pattern| {
                    given
                        .next()
                        .is_some_and(|label| !label.is_empty() && glob(pattern, label))
                }) && given.next().is_none()
            }
        }
    }
}

fn stars(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'*').count()
}

/// A host without its port; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether `pattern` covers `path` or something above it.
fn covers_path(pattern: &str, path: &str) -> bool {
    if pattern.is_empty() || glob(pattern, path) {
        return true;
    }
    // Everything below a covered path is covered too.
    path.match_indices('/')
        .skip(1)
        .any(|(at, slash)| glob(pattern, &path[..at]) || glob(pattern, &path[..at + slash.len()]))
}

/// Wildcard matching where `*` stands for any text. Linear: at a mismatch only the last `*` is tried longer.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut retry) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    p = star + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// A request's path in the two ways a server behind the gate may read it.
///
/// Gate and origin must agree on what a path is, or `/public/..%2fadmin` is judged as one thing and served as another.
/// So dot segments are refused, and a path is matched both as it stands and with everything decoded; the two must lead to
/// the same application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath {
    literal: String,
    decoded: Option<String>,
}

/// A path that different servers read differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the path has dot segments or encoded separators, so it is not clear which application it belongs to"
)]
pub struct AmbiguousPath;

impl RequestPath {
    /// Reads a request's path, without its query.
    pub fn parse(path: &str) -> Result<Self, AmbiguousPath> {
        let plain = path.starts_with('/')
            && !path.contains("//")
            && !path.contains("/.")
            && !path.bytes().any(|byte| matches!(byte, b'%' | b'\\' | b';'));
        if plain {
            return Ok(Self {
                literal: path.to_owned(),
                decoded: None,
            });
        }
        let decoded = decode(path);
        let dots = |path: &str| path.split('/').any(|segment| matches!(segment, "." | ".."));
        // What is still encoded after one decoding may be decoded once more by an origin behind an origin.
        if dots(&decoded) || dots(&decode(&decoded)) || decoded.contains('\0') {
            return Err(AmbiguousPath);
        }
        let mut collapsed = String::with_capacity(decoded.len());
        for c in decoded.chars() {
            if !(c == '/' && collapsed.ends_with('/')) {
                collapsed.push(c);
            }
        }
        if !collapsed.starts_with('/') {
            collapsed.insert(0, '/');
        }
        Ok(Self {
            literal: path.to_owned(),
            decoded: Some(collapsed),
        })
    }
}

/// Percent-decoded, backslashes as slashes, path parameters (`;x`) cut.
fn decode(path: &str) -> String {
    let bytes = path.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    let text = String::from_utf8_lossy(&out).replace('\\', "/");
    text.split('/')
        .map(|segment| segment.split(';').next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("/")
}

/// Which of `destinations` (each with what it belongs to) covers a request, the most specific first; of equals the one
/// that stands first. `host` is a `Host` header's text.
pub fn most_specific<'a, T: Copy + PartialEq>(
    destinations: impl Iterator<Item = (&'a Destination, T)> + Clone,
    host: &str,
    path: &RequestPath,
) -> Result<Option<(&'a Destination, T)>, AmbiguousPath> {
    let host = without_port(host).trim_end_matches('.').to_ascii_lowercase();
    let find = |path: &str| {
        let mut best: Option<(&'a Destination, T)> = None;
        for (destination, owner) in destinations.clone() {
            if destination.covers(&host, path)
                && best.is_none_or(|(best, _)| destination.specificity() > best.specificity())
            {
                best = Some((destination, owner));
            }
        }
        best
    };
    let found = find(&path.literal);
    if let Some(decoded) = &path.decoded
        && find(decoded).map(|(_, owner)| owner) != found.map(|(_, owner)| owner)
    {
        return Err(AmbiguousPath);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, host: &str, path: &str) -> bool {
        Destination::parse(pattern).unwrap().covers(host, path)
    }

    #[test]
    fn hosts() {
        for (pattern, host, expected) in [
            ("example.com", "example.com", true),
            ("EXAMPLE.com:443", "example.com", true),
            ("example.com", "a.example.com", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("*test.example.com", "test.example.com", true),
            ("*test.example.com", "mytest.example.com", true),
            ("*test.example.com", "my.test.example.com", false),
            ("te*st.example.com", "test.example.com", true),
            ("*", "127.0.0.1", true),
            ("[::1]:8080", "[::1]", true),
        ] {
            assert_eq!(covers(pattern, host, "/"), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn paths() {
        for (pattern, path, expected) in [
            ("h", "/anything/at/all", true),
            ("h/", "/anything", true),
            ("h/a", "/a", true),
            ("h/a", "/a/b", true),
            ("h/a", "/ab", false),
            ("h/a/*", "/a", false),
            ("h/a/*", "/a/b", true),
            ("h/a/*", "/a/b/c", true),
            ("h/a/*/c", "/a/b/c", true),
            ("h/a/*/c", "/a/b/x/c", true),
            ("h/a/*/c", "/a/b/c/d", true),
            ("h/a/*/c", "/a/b", false),
            ("h/a*", "/ab", true),
            ("h/a/", "/a/b", true),
            ("h/a/", "/a", false),
        ] {
            assert_eq!(covers(pattern, "h", path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn the_most_specific_wins() {
        let patterns = [
            "*",
            "*.example.com",
            "a.example.com",
            "a.example.com/admin",
            "a.example.com/*/deep",
            "a*.example.com",
        ]
        .map(|text| Destination::parse(text).unwrap());
        for (host, path, expected) in [
            ("elsewhere", "/", "*"),
            ("b.example.com", "/admin", "*.example.com"),
            ("ab.example.com", "/", "a*.example.com"),
            ("a.example.com:8443", "/", "a.example.com"),
            ("a.example.com", "/admin/x", "a.example.com/admin"),
            ("A.Example.com.", "/x/deep", "a.example.com/*/deep"),
        ] {
            let path = RequestPath::parse(path).unwrap();
            let found = most_specific(
                patterns.iter().map(|pattern| (pattern, pattern.as_str())),
                host,
                &path,
            );
            assert_eq!(found.unwrap().unwrap().1, expected, "{host} {path:?}");
        }
    }

    #[test]
    fn nobody_walks_around_the_gate() {
        for path in [
            "/public/../admin",
            "/public/%2e%2e/admin",
            "/public/..%2fadmin",
            "/public/%252e%252e/admin",
            "/./x",
            "/a/..;x/b",
            "/public\\..\\admin",
        ] {
            assert_eq!(RequestPath::parse(path), Err(AmbiguousPath), "{path}");
        }
        let patterns = ["h", "h/admin"].map(|text| Destination::parse(text).unwrap());
        let find = |path: &str| {
            let path = RequestPath::parse(path)?;
            most_specific(patterns.iter().map(|p| (p, p.as_str())), "h", &path)
        };
        for path in ["//admin", "/%61dmin", "/admin;x=1", "/x%2f..x", "/\\admin"] {
            let clear = matches!(path, "/x%2f..x");
            assert_eq!(find(path).is_ok(), clear, "{path}");
        }
        assert_eq!(find("/%61").unwrap().unwrap().1, "h");
        assert_eq!(find("/.well-known/x").unwrap().unwrap().1, "h");
        assert_eq!(find("/admin/a%20b").unwrap().unwrap().1, "h/admin");
    }

    #[test]
    fn unusable_destinations() {
        for bad in ["", "/x", "a..b", "a**b", "h/**", "b\u{fc}cher.example", "a b"] {
            assert!(Destination::parse(bad).is_err(), "{bad}");
        }
    }
}
