//! Secrets that cannot be printed.
//!
//! A [`Secret`] shows stars to `Debug` and `Display` and gives its text only to [`Secret::expose`], a word to search
//! for in review: it belongs where a header is written or a token is shown for the only time, nowhere else. The memory
//! is wiped on drop.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// A secret text.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a text out of circulation. Surrounding white space, which files and shells add, is no part of it.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(SecretString::from(text.as_ref().trim()))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(****)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn never_shown() {
        let secret = Secret::new(" hunter2\n");
        assert_eq!(
            format!("{secret} {secret:?} {:?}", Some(secret.clone())),
            "**** Secret(****) Some(Secret(****))"
        );
        assert_eq!(secret.expose(), "hunter2");
    }
}
