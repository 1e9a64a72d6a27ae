//! Application tokens: the claims of the signed token that tells an origin who was let in.
//!
//! Signing and verifying signatures need a crypto library and are the gateway's. Source of the claims: Cloudflare's page
//! on application tokens.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::duration::whole_seconds;
use crate::{Admitted, Application, Identity, Permit, UnixSeconds};

/// How the `aud` of a machine's token is written. The documentation shows a list, measured tokens had a plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AudienceShape {
    /// `"aud": "…"`.
    #[default]
    Text,
    /// `"aud": ["…"]`.
    List,
}

/// What the gateway puts into tokens besides the admission itself.
#[derive(Debug, Clone, Copy)]
pub struct Issue<'a> {
    /// `iss`: the team domain as a URL without a slash at its end.
    pub issuer: &'a str,
    /// When.
    pub now: UnixSeconds,
    /// How machines' audiences are written.
    pub machine_audience: AudienceShape,
}

/// The claims for an admission; `None` when it makes no session (bypass, Access off).
///
/// A machine's token has `common_name` and an empty `sub` and neither `nbf`, `email` nor `identity_nonce`; a person's has
/// all of them.
pub fn claims(application: &Application, permit: &Permit, issue: Issue<'_>) -> Option<Value> {
    let session = whole_seconds(permit.session()?);
    let mut claims = Map::new();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    let aud: &str = &application.aud;
    set("type", json!("app"));
    set("iss", json!(issue.issuer));
    set("iat", json!(issue.now));
    set("exp", json!(issue.now.saturating_add(session)));
    match permit.who() {
        Admitted::Person(identity) => {
            set("aud", json!([aud]));
            set("nbf", json!(issue.now));
            set("email", json!(identity.email));
            set("sub", json!(identity.subject));
            set("identity_nonce", json!(identity.nonce));
        }
        Admitted::Service { client_id } => {
            set("aud", machine_audience(aud, issue.machine_audience));
            set("sub", json!(""));
            set("common_name", json!(&**client_id));
        }
        Admitted::Machine { common_name } => {
            set("aud", machine_audience(aud, issue.machine_audience));
            set("sub", json!(""));
            set("common_name", json!(common_name.as_deref().unwrap_or_default()));
        }
        Admitted::Anonymous | Admitted::OwnProcess => return None,
    }
    Some(claims.into())
}

fn machine_audience(aud: &str, shape: AudienceShape) -> Value {
    match shape {
        AudienceShape::Text => json!(aud),
        AudienceShape::List => json!([aud]),
    }
}

/// Who a verified application token is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A service token, by client id.
    Machine(String),
    /// A person.
    Person(Identity),
}

/// The claims of a token whose signature the gateway has verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Applications it is for.
    pub audiences: Vec<String>,
    /// Who it is about.
    pub subject: Subject,
    /// When it was issued.
    pub issued_at: UnixSeconds,
    /// When it ends.
    pub expires_at: UnixSeconds,
}

/// A token says something else than an application token must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token's claim `{0}` is not what an application token has")]
pub struct ClaimError(pub &'static str);

impl Session {
    /// Checks the claims of a verified token. No leeway: the issuer's clock is ours, or that of a gateway that shares our
    /// store.
    pub fn parse(claims: &Value, issuer: &str, now: UnixSeconds) -> Result<Self, ClaimError> {
        let text = |name: &'static str| claims[name].as_str().ok_or(ClaimError(name));
        let number = |name: &'static str| claims[name].as_i64().ok_or(ClaimError(name));
        if text("type")? != "app" {
            return Err(ClaimError("type"));
        }
        if text("iss")? != issuer {
            return Err(ClaimError("iss"));
        }
        let expires_at = number("exp")?;
        if now >= expires_at {
            return Err(ClaimError("exp"));
        }
        let issued_at = number("iat")?;
        // Gateways that share a store may differ by a little; a minute is the usual leeway.
        if issued_at > now.saturating_add(60) {
            return Err(ClaimError("iat"));
        }
        let audiences = match &claims["aud"] {
            Value::String(aud) => vec![aud.clone()],
            Value::Array(list) => list
                .iter()
                .map(|aud| aud.as_str().map(str::to_owned).ok_or(ClaimError("aud")))
                .collect::<Result<_, _>>()?,
            _ => return Err(ClaimError("aud")),
        };
        let subject = match (claims["email"].as_str(), claims["common_name"].as_str()) {
            (Some(email), _) => Subject::Person(Identity {
                email: email.to_owned(),
                subject: text("sub")?.to_owned(),
                nonce: text("identity_nonce")?.to_owned(),
            }),
            (None, Some(name)) if !name.is_empty() => Subject::Machine(name.to_owned()),
            _ => return Err(ClaimError("common_name")),
        };
        Ok(Self {
            audiences,
            subject,
            issued_at,
            expires_at,
        })
    }

    /// How much longer it lasts.
    pub fn left(&self, now: UnixSeconds) -> Duration {
        Duration::from_secs(self.expires_at.saturating_sub(now).max(0).unsigned_abs())
    }
}
