//! The token a login yields: a JWT that the client only reads, for Access verifies it.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bowline_access::UnixSeconds;
use bowline_secret::Secret;
use http::HeaderName;
use http::header::InvalidHeaderValue;
use serde::Deserialize;
use serde_json::Value;

use crate::prepared::{Prepared, sensitive};

/// The header it travels in. Access takes it in the `CF_Authorization` cookie as well; this one never has to be merged
/// with cookies of somebody else, and cloudflared uses it too, on upgrades as on requests.
const TOKEN: HeaderName = HeaderName::from_static("cf-access-token");
/// A token that is longer would not fit in a request's head.
const LONGEST: usize = 16 * 1024;

/// An application token (or, for exchanges, an org token): the text, and what its claims say about its time.
#[derive(Debug, Clone)]
pub struct ApplicationToken {
    jwt: Secret,
    issued_at: Option<UnixSeconds>,
    expires_at: UnixSeconds,
    audiences: Vec<String>,
}

/// A text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts with a JSON object in the middle.
    #[error("it is no JSON web token")]
    NotAToken,
    /// There is no time at which it ends.
    #[error("it has no `exp`")]
    NoEnd,
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<i64>,
    iat: Option<i64>,
    #[serde(default)]
    aud: Value,
}

impl ApplicationToken {
    /// Reads the claims. The signature is not looked at: the one who must not be deceived is Access.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let mut parts = text.split('.');
        let (Some(_), Some(payload), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::NotAToken);
        };
        if text.len() > LONGEST {
            return Err(TokenError::NotAToken);
        }
        let claims: Claims = BASE64_URL_SAFE_NO_PAD
            .decode(payload.trim_end_matches('='))
            .ok()
            .and_then(|payload| serde_json::from_slice(&payload).ok())
            .ok_or(TokenError::NotAToken)?;
        // Documented as a list, measured as a plain text.
        let audiences = match claims.aud {
            Value::String(one) => vec![one],
            Value::Array(many) => many
                .iter()
                .filter_map(|one| one.as_str().map(str::to_owned))
                .collect(),
            _ => Vec::new(),
        };
        Ok(Self {
            jwt: Secret::new(text),
            issued_at: claims.iat,
            expires_at: claims.exp.ok_or(TokenError::NoEnd)?,
            audiences,
        })
    }

    /// When it ends.
    pub fn expires_at(&self) -> UnixSeconds {
        self.expires_at
    }

    /// Whether it was made for the application with this tag.
    pub fn is_for(&self, audience: &str) -> bool {
        self.audiences.iter().any(|one| one == audience)
    }

    /// From when on a newer one should be fetched: a tenth of its life before its end, between half a minute and five.
    pub(crate) fn renew_from(&self) -> UnixSeconds {
        let life = self
            .issued_at
            .map_or(3600, |at| self.expires_at.saturating_sub(at));
        self.expires_at.saturating_sub((life / 10).clamp(30, 300))
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.jwt.expose() == other.jwt.expose()
    }

    /// The text, for a file only its owner reads and for the cookie of an exchange.
    pub(crate) fn jwt(&self) -> &Secret {
        &self.jwt
    }

    pub(crate) fn prepare(&self) -> Result<Prepared, InvalidHeaderValue> {
        Ok(Prepared::new(vec![(TOKEN, sensitive(self.jwt.expose())?)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Result<ApplicationToken, TokenError> {
        ApplicationToken::parse(&format!("e30.{}.c2ln\n", BASE64_URL_SAFE_NO_PAD.encode(claims)))
    }

    #[test]
    fn claims() {
        let one = token(r#"{"exp":5000,"iat":1000,"aud":"a"}"#).unwrap();
        assert_eq!((one.expires_at(), one.renew_from()), (5000, 4700));
        assert!(one.is_for("a") && !one.is_for("b"));
        let many = token(r#"{"exp":1100,"iat":1000,"aud":["a","b",7]}"#).unwrap();
        assert_eq!(many.renew_from(), 1070);
        assert!(many.is_for("b"));
        assert!(!format!("{many:?}").contains("c2ln"));
        assert_eq!(token("{}").unwrap_err(), TokenError::NoEnd);
        for none in ["", "a.b", "a.b.c.d", "e30.!!.c", "e30.W10.c"] {
            assert_eq!(
                ApplicationToken::parse(none).unwrap_err(),
                TokenError::NotAToken,
                "{none}"
            );
        }
        // Far ends neither overflow nor panic.
        token(&format!(r#"{{"exp":{},"iat":{}}}"#, i64::MIN, i64::MAX))
            .unwrap()
            .renew_from();
    }
}
