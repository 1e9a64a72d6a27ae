//! From what a request presents to whether it may pass.

use crate::{Presented, ServiceToken, UnixSeconds};

/// What stands in front of the bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Access is off: everybody passes. Only for a loopback listener.
    Open,
    /// Any valid service token passes, as a Service Auth policy with `any_valid_service_token` says.
    ServiceTokens,
}

/// Proof that Access let a request in. Only [`evaluate`] and [`Permit::for_own_process`] make one; it cannot be
/// cloned, and the router takes it by value.
#[derive(Debug)]
pub struct Permit {
    identity: String,
    policy: &'static str,
}

impl Permit {
    /// A permit for bindings placed `local`: the caller is the Worker this very process runs, over a private socket.
    pub fn for_own_process() -> Self {
        Self {
            identity: "local".into(),
            policy: "own process",
        }
    }

    /// Who was let in: a client id, `anonymous` or `local`. Never a secret.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The policy that admitted, for the log.
    pub fn policy(&self) -> &'static str {
        self.policy
    }
}

/// The outcome for one request.
#[derive(Debug)]
pub enum Decision {
    /// It may pass.
    Allow(Permit),
    /// It may not.
    Deny(DenyReason),
}

/// Why a request was refused. For the operator's log: the client is told only that it was refused, as Access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenyReason {
    /// No credentials.
    NoCredentials,
    /// One header of the pair is missing.
    HalfPair,
    /// Headers repeated or not text.
    Malformed,
    /// No token has this client id.
    UnknownToken,
    /// The secret does not match.
    WrongSecret,
    /// The token was disabled.
    Disabled,
    /// The token's time is over.
    Expired,
}

impl DenyReason {
    /// The reason as one word for logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoCredentials => "no_credentials",
            Self::HalfPair => "half_pair",
            Self::Malformed => "malformed",
            Self::UnknownToken => "unknown_token",
            Self::WrongSecret => "wrong_secret",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
        }
    }
}

/// Judges one request. `token` is the record found under the presented client id, if any.
///
/// The secret is compared before the token's state is looked at, so the answer to a wrong secret does not tell whether
/// a client id is disabled or expired.
pub fn evaluate(
    gate: Gate,
    presented: Presented<'_>,
    token: Option<&ServiceToken>,
    now: UnixSeconds,
) -> Decision {
    if gate == Gate::Open {
        return Decision::Allow(Permit {
            identity: "anonymous".into(),
            policy: "access off",
        });
    }
    let (client_id, secret) = match presented {
        Presented::Nothing => return Decision::Deny(DenyReason::NoCredentials),
        Presented::Half { .. } => return Decision::Deny(DenyReason::HalfPair),
        Presented::Malformed => return Decision::Deny(DenyReason::Malformed),
        Presented::Pair { client_id, secret } => (client_id, secret),
    };
    let Some(token) = token.filter(|token| token.client_id == client_id) else {
        return Decision::Deny(DenyReason::UnknownToken);
    };
    if !token.secret_hash.matches(secret) {
        return Decision::Deny(DenyReason::WrongSecret);
    }
    if !token.enabled {
        return Decision::Deny(DenyReason::Disabled);
    }
    if token.expires_at.is_some_and(|expires_at| now >= expires_at) {
        return Decision::Deny(DenyReason::Expired);
    }
    Decision::Allow(Permit {
        identity: token.client_id.clone(),
        policy: "any valid service token",
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::{CLIENT_ID, CLIENT_SECRET, ENTROPY, mint};

    fn headers(id: Option<&str>, secret: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [(CLIENT_ID, id), (CLIENT_SECRET, secret)] {
            if let Some(value) = value {
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
        }
        headers
    }

    fn outcome(headers: &HeaderMap, token: &ServiceToken, now: i64) -> Result<String, DenyReason> {
        let presented = Presented::read(headers);
        let found = presented
            .client_id()
            .filter(|id| *id == token.client_id)
            .map(|_| token);
        match evaluate(Gate::ServiceTokens, presented, found, now) {
            Decision::Allow(permit) => Ok(permit.identity().to_owned()),
            Decision::Deny(reason) => Err(reason),
        }
    }

    #[test]
    fn request_by_token_state() {
        let minted = mint("ci", &[7; ENTROPY], 1_000, Some(60));
        let (id, secret) = (
            minted.token.client_id.clone(),
            minted.client_secret.expose().to_owned(),
        );
        let good = headers(Some(&id), Some(&secret));
        let disabled = ServiceToken {
            enabled: false,
            ..minted.token.clone()
        };
        let forever = ServiceToken {
            expires_at: None,
            ..minted.token.clone()
        };
        let token = &minted.token;
        let mut twice = good.clone();
        twice.append(CLIENT_SECRET, HeaderValue::from_static("x"));
        let padded = headers(Some(&format!("  {id} ")), Some(&format!("{secret}  ")));

        assert_eq!(outcome(&good, token, 1_059), Ok(id.clone()));
        assert_eq!(outcome(&padded, token, 1_059), Ok(id.clone()));
        assert_eq!(outcome(&good, token, 1_060), Err(DenyReason::Expired));
        assert_eq!(outcome(&good, &forever, i64::MAX), Ok(id.clone()));
        assert_eq!(outcome(&good, &disabled, 1_000), Err(DenyReason::Disabled));
        assert_eq!(
            outcome(&headers(Some(&id), Some("wrong")), &disabled, 1_000),
            Err(DenyReason::WrongSecret)
        );
        assert_eq!(
            outcome(&headers(Some("nobody.access"), Some(&secret)), token, 0),
            Err(DenyReason::UnknownToken)
        );
        assert_eq!(
            outcome(&headers(None, None), token, 0),
            Err(DenyReason::NoCredentials)
        );
        assert_eq!(
            outcome(&headers(Some(&id), None), token, 0),
            Err(DenyReason::HalfPair)
        );
        assert_eq!(
            outcome(&headers(Some(&id), Some("  ")), token, 0),
            Err(DenyReason::HalfPair)
        );
        assert_eq!(
            outcome(&headers(None, Some(&secret)), token, 0),
            Err(DenyReason::HalfPair)
        );
        assert_eq!(outcome(&twice, token, 0), Err(DenyReason::Malformed));
        assert!(matches!(
            evaluate(Gate::Open, Presented::Nothing, None, 0),
            Decision::Allow(_)
        ));
    }

    #[test]
    fn shapes_and_silence() {
        let minted = mint("ci", &[0xab; ENTROPY], 0, None);
        assert_eq!(minted.token.client_id, format!("{}.access", "ab".repeat(16)));
        assert_eq!(minted.token.id, "abababab-abab-4bab-abab-abababababab");
        let secret = minted.client_secret.expose().to_owned();
        assert_eq!((secret.len(), &secret[..6]), (54, "cfast_"));
        let headers = headers(Some("id"), Some(&secret));
        let shown = format!("{minted:?} {:?}", Presented::read(&headers));
        assert!(!shown.contains(&secret[6..20]), "{shown}");
    }

    #[test]
    fn credentials_are_stripped() {
        let mut headers = headers(Some("id"), Some("secret"));
        headers.append("cf-workers-preview-token", HeaderValue::from_static("p"));
        headers.append("cookie", HeaderValue::from_static("CF_Authorization=x"));
        headers.append("mf-header-cookie", HeaderValue::from_static("theirs"));
        crate::strip_credentials(&mut headers);
        assert_eq!(
            headers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(),
            ["mf-header-cookie"]
        );
    }
}
