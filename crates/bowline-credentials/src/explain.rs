//! A refusal in words: what happened, and what to do next.
//!
//! No text has the words "Cloudflare Access" side by side: miniflare replaces a 403 with those words by a text of its
//! own, which knows less.

use http::StatusCode;

use crate::{CredentialState, Judgement, Origin, Refusal};

/// Why, as a clause that ends a sentence; and the next step, as sentences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What happened, without a full stop.
    pub reason: String,
    /// What to do.
    pub next: String,
}

/// Explains `judgement` about an answer of `host` to a request that carried `state`.
pub fn explain(
    judgement: &Judgement,
    status: StatusCode,
    host: &str,
    state: &CredentialState,
) -> Explanation {
    let (reason, mut next): (String, String) = match judgement.refusal {
        Refusal::LoginRequired => login_required(status, host, state),
        Refusal::TokenRejected | Refusal::TokenNotAuthorised => match state {
            CredentialState::Login(_, origin) => (
                "the login was sent and not accepted".into(),
                format!(
                    "No policy of this application admits it: it may admit service tokens only, or other accounts. It is {origin}."
                ),
            ),
            _ => (
                "the service token was sent and not accepted".into(),
                format!("{} {}", why_not_accepted(judgement, status), where_from(state)),
            ),
        },
        Refusal::WebSocketRefused => (
            "requests pass with the same credentials, WebSockets do not".into(),
            "Applications that protect a Worker itself refuse WebSockets. Protect its hostname instead.".into(),
        ),
        Refusal::Firewall => (
            "a firewall or bot check in front of it".into(),
            "This is not Access and a service token does not help. Exempt this traffic in the zone's security settings."
                .into(),
        ),
        Refusal::TunnelDown => (
            "the tunnel behind it is down".into(),
            "Start cloudflared at the far side.".into(),
        ),
    };
    let evidence = &judgement.evidence;
    for (what, value) in [("application", &evidence.application), ("ray", &evidence.ray)] {
        if let Some(value) = value {
            next.push_str(&format!(" ({what} {value})"));
        }
    }
    Explanation { reason, next }
}

fn login_required(status: StatusCode, host: &str, state: &CredentialState) -> (String, String) {
    // Only where there is a policy for people does Access send anybody to a login.
    let or_login = if status.is_redirection() {
        format!(" Or sign in with `bowline access login {host}`.")
    } else {
        String::new()
    };
    match state {
        CredentialState::Half { set, origin, missing } => (
            format!("no service token was sent, because {missing} is not set"),
            format!(
                "There is {origin}, and no {missing}; a service token needs both, {set} and {missing}. Set {missing} and start again.{or_login}"
            ),
        ),
        CredentialState::Login(_, origin) => (
            "the login is over".into(),
            format!(
                "It has ended or was revoked: sign in again with `bowline access login {host}`. What was sent is {origin}."
            ),
        ),
        CredentialState::Nothing | CredentialState::Token(_) => (
            "no service token was sent".into(),
            format!(
                "Set CLOUDFLARE_ACCESS_CLIENT_ID and CLOUDFLARE_ACCESS_CLIENT_SECRET to a service token of that host and start again.{or_login}"
            ),
        ),
    }
}

fn why_not_accepted(judgement: &Judgement, status: StatusCode) -> &'static str {
    match (judgement.refusal, judgement.evidence.service_token_status) {
        (Refusal::TokenNotAuthorised, Some(true)) => {
            "Access recognised it, but no Service Auth policy of this application admits it: add one."
        }
        (Refusal::TokenRejected, Some(false)) => {
            "Access says that it recognised no service token: the id or the secret is wrong, or the token is expired or disabled."
        }
        (Refusal::TokenRejected, _) if status == StatusCode::UNAUTHORIZED => {
            "Access does not recognise it: the id or the secret is wrong, or the token is expired or disabled."
        }
        // An organisation without strict authentication treats a wrong secret as no token at all.
        _ => {
            "It may be wrong, expired, disabled, or in no Service Auth policy of that host; the answer does not tell which."
        }
    }
}

fn where_from(state: &CredentialState) -> String {
    let origins: &[Origin] = match state {
        CredentialState::Token(token) => token.origins(),
        _ => &[],
    };
    let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
    format!(
        "Check {}, and the token at the host (`bowline access token list` on a Bowline remote).",
        origins.join(" and ")
    )
}

#[cfg(test)]
mod tests {
    use bowline_secret::Secret;

    use super::*;
    use crate::{Evidence, ServiceToken};

    /// Every text stands alone, names a next step, and keeps the two words apart.
    #[test]
    fn every_refusal_has_a_next_step() {
        let variable = Origin::Environment {
            name: "THE_ID".into(),
        };
        let states = [
            CredentialState::Nothing,
            CredentialState::Half {
                set: "THE_ID".into(),
                origin: variable.clone(),
                missing: "THE_SECRET".into(),
            },
            CredentialState::Token(ServiceToken::new("id", Secret::new("s3cret"), vec![variable])),
        ];
        for refusal in Refusal::ALL {
            for service_token_status in [None, Some(false), Some(true)] {
                for status in [302, 401, 403, 530].map(|status| StatusCode::from_u16(status).unwrap()) {
                    let evidence = Evidence {
                        service_token_status,
                        ray: Some("8f00-TXL".into()),
                        ..Evidence::default()
                    };
                    let judgement = Judgement { refusal, evidence };
                    for state in &states {
                        let Explanation { reason, next } = explain(&judgement, status, "a.example", state);
                        assert!(!reason.contains('\n') && !reason.ends_with('.'), "{reason}");
                        assert!(next.ends_with("(ray 8f00-TXL)") && next.len() > 30, "{next}");
                        assert!(!format!("{reason} {next}").contains("Cloudflare Access"));
                        assert!(!format!("{reason} {next}").contains("s3cret"));
                    }
                }
            }
        }
        let half = explain(
            &Judgement {
                refusal: Refusal::LoginRequired,
                evidence: Evidence::default(),
            },
            StatusCode::FORBIDDEN,
            "a.example",
            &states[1],
        );
        assert_eq!(
            half.next,
            "There is THE_ID in the environment, and no THE_SECRET; a service token needs both, THE_ID and THE_SECRET. Set THE_SECRET and start again."
        );
    }
}
