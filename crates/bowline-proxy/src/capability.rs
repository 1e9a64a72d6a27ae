//! The random path that makes the connection string a capability.

use subtle::ConstantTimeEq;

/// 128 random bits as 32 lowercase hex digits: the first path segment of every request that may pass.
///
/// Any web page can send requests to loopback, WebSocket upgrades among them; without this it could ride on the
/// developer's credentials. `Debug` does not show it.
#[derive(Clone)]
pub struct Capability(String);

impl Capability {
    /// A fresh one from the operating system's randomness.
    pub fn random() -> Result<Self, rand::rngs::SysError> {
        use rand::TryRng;
        let mut bytes = [0u8; 16];
        rand::rngs::SysRng.try_fill_bytes(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The text, for the one line that hands it to a tool.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The rest of `path` (starting with `/`) when its first segment is this capability. Takes the same time for every
    /// wrong segment of the right length.
    pub(crate) fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix('/')?;
        let (segment, rest) = rest.split_at_checked(self.0.len())?;
        if !bool::from(segment.as_bytes().ct_eq(self.0.as_bytes())) {
            return None;
        }
        if rest.is_empty() {
            Some("/")
        } else {
            rest.starts_with('/').then_some(rest)
        }
    }
}

impl std::fmt::Debug for Capability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Capability(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::Capability;

    #[test]
    fn only_the_exact_segment() {
        let capability = Capability::random().unwrap();
        let text = capability.as_str().to_owned();
        assert_eq!(text.len(), 32);
        assert_eq!(capability.strip(&format!("/{text}")), Some("/"));
        assert_eq!(capability.strip(&format!("/{text}/")), Some("/"));
        assert_eq!(capability.strip(&format!("/{text}/a/b")), Some("/a/b"));
        for bad in [
            "",
            "/",
            "/é",
            &format!("/{text}x"),
            &format!("/{}", &text[1..]),
            &format!("//{text}"),
            &text,
        ] {
            assert_eq!(capability.strip(bad), None, "{bad}");
        }
        assert!(!format!("{capability:?}").contains(&text[..4]));
    }
}
