//! How a call says who it is.

use std::fmt;
use std::path::PathBuf;

use bowline_secret::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::Cause;
use crate::wrangler_login::{LoginError, WranglerLogin};

const X_AUTH_KEY: HeaderName = HeaderName::from_static("x-auth-key");
const X_AUTH_EMAIL: HeaderName = HeaderName::from_static("x-auth-email");

/// Credentials of the API. `Debug` shows where they are from and nothing of them.
#[derive(Clone)]
pub struct Credentials(Kind);

#[derive(Clone)]
enum Kind {
    Token(Secret),
    Key { email: String, key: Secret },
    Login(WranglerLogin),
}

/// Where credentials are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An API token.
    Token,
    /// A global API key, with an e-mail address.
    Key,
    /// The login that wrangler stored in this file.
    Login(PathBuf),
}

impl Credentials {
    /// An API token.
    pub fn token(token: Secret) -> Self {
        Self(Kind::Token(token))
    }

    /// A global API key.
    pub fn key(email: impl Into<String>, key: Secret) -> Self {
        Self(Kind::Key {
            email: email.into(),
            key,
        })
    }

    /// A login that wrangler stored.
    pub fn login(login: WranglerLogin) -> Self {
        Self(Kind::Login(login))
    }

    /// Where they are from.
    pub fn source(&self) -> Source {
        match &self.0 {
            Kind::Token(_) => Source::Token,
            Kind::Key { .. } => Source::Key,
            Kind::Login(login) => Source::Login(login.file().to_owned()),
        }
    }

    /// Adds them to a request. A login is renewed when it has ended, which takes at most ten seconds.
    pub(crate) async fn add_to(&self, headers: &mut HeaderMap) -> Result<(), Cause> {
        match &self.0 {
            Kind::Token(token) => {
                headers.insert(AUTHORIZATION, bearer(token)?);
            }
            Kind::Login(login) => {
                let token = login.bearer().await.map_err(Cause::Login)?;
                headers.insert(AUTHORIZATION, bearer(&token)?);
            }
            Kind::Key { email, key } => {
                headers.insert(X_AUTH_KEY, sensitive(key.expose())?);
                headers.insert(X_AUTH_EMAIL, sensitive(email)?);
            }
        }
        Ok(())
    }

    /// Takes out of an answer's words what we sent: an API in the middle may say back what it heard.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let secret = match &self.0 {
            Kind::Token(secret) | Kind::Key { key: secret, .. } => Some(secret.clone()),
            Kind::Login(login) => login.last_bearer(),
        };
        match secret {
            Some(secret) if !secret.expose().is_empty() => text.replace(secret.expose(), "****"),
            _ => text.to_owned(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?})", self.source())
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue, Cause> {
    sensitive(&format!("Bearer {}", token.expose()))
}

fn sensitive(text: &str) -> Result<HeaderValue, Cause> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Cause::Login(LoginError::Unsendable))?;
    value.set_sensitive(true);
    Ok(value)
}
