//! From what a request presents to whether it may pass.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::policy::Truth;
use crate::{Action, Application, Authenticated, Groups, Identity, Policy};

/// A client certificate that verified at the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's common name.
    pub common_name: String,
}

/// All that is known of who makes a request. Every part has been verified by whoever filled it in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller<'a> {
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// The machine, by its service token.
    pub service_token: Option<Authenticated<'a>>,
    /// The person, by a session.
    pub identity: Option<&'a Identity>,
    /// The client certificate.
    pub certificate: Option<&'a Certificate>,
    /// The application whose token was forwarded (`linked_app_token`).
    pub linked_application: Option<&'a str>,
}

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// Nobody was asked: Access is off, or a bypass policy, or a preflight.
    Anonymous,
    /// The Worker that this very process runs.
    OwnProcess,
    /// A machine, by the client id of its service token.
    Service {
        /// Client id.
        client_id: Arc<str>,
    },
    /// A machine without a service token, by a Service Auth policy: certificate or address.
    Machine {
        /// The certificate's common name, where there is one.
        common_name: Option<String>,
    },
    /// A person.
    Person(Identity),
}

/// Proof that Access let a request in. Only evaluation and [`Permit::for_own_process`] make one; it cannot be cloned, and
/// the router takes it by value.
#[derive(Debug)]
pub struct Permit {
    who: Admitted,
    policy: Arc<str>,
    session: Option<Duration>,
}

impl Permit {
    /// A permit for bindings placed `local`: the caller is the Worker this very process runs, over a private socket.
    pub fn for_own_process() -> Self {
        Self::anonymous(Admitted::OwnProcess, "own process")
    }

    /// A permit of a gate that is switched off. Only for a loopback listener.
    pub fn for_open_gate() -> Self {
        Self::anonymous(Admitted::Anonymous, "access off")
    }

    /// A permit for a CORS preflight of an application that lets them through: they cannot carry credentials.
    pub fn for_preflight(application: &Application) -> Option<Self> {
        application
            .options_preflight_bypass
            .then(|| Self::anonymous(Admitted::Anonymous, "preflight"))
    }

    fn anonymous(who: Admitted, policy: &str) -> Self {
        Self {
            who,
            policy: policy.into(),
            session: None,
        }
    }

    /// Who was let in.
    pub fn who(&self) -> &Admitted {
        &self.who
    }

    /// Who was let in, as one word for logs: a client id, an e-mail address, `anonymous`… Never a secret.
    pub fn identity(&self) -> &str {
        match &self.who {
            Admitted::Anonymous => "anonymous",
            Admitted::OwnProcess => "local",
            Admitted::Service { client_id } => client_id,
            Admitted::Machine { common_name } => common_name.as_deref().unwrap_or("machine"),
            Admitted::Person(identity) => &identity.email,
        }
    }

    /// The policy that admitted, for the log.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// How long a session from this admission lasts; `None` when there is none, as with bypass.
    pub fn session(&self) -> Option<Duration> {
        self.session
    }
}

/// The outcome for one request.
#[derive(Debug)]
pub enum Decision {
    /// It may pass.
    Allow(Permit),
    /// It may not.
    Deny(Denial),
}

/// A refusal, for choosing the answer and for the operator's log: the client is told only that it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: DenyReason,
    /// The policy that refused, or that could not be judged.
    pub policy: Option<Arc<str>>,
    /// A login could change the answer.
    pub login: bool,
}

impl From<DenyReason> for Denial {
    fn from(reason: DenyReason) -> Self {
        Self {
            reason,
            policy: None,
            login: false,
        }
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenyReason {
    /// No credentials.
    NoCredentials,
    /// One header of the pair is missing.
    HalfPair,
    /// Headers repeated, in both forms at once, or not text.
    Malformed,
    /// No token has this client id.
    UnknownToken,
    /// The secret does not match.
    WrongSecret,
    /// The token was disabled.
    Disabled,
    /// The token's time is over.
    Expired,
    /// An application token that does not verify, is for another application, or has ended.
    BadSession,
    /// The session or its subject was revoked.
    Revoked,
    /// Who it is, is known, and no policy admits them.
    NotAuthorised,
    /// A deny policy applies.
    Denied,
    /// A policy has rules of a kind this gate cannot judge, and nothing else admits.
    Unsupported,
    /// A preflight that nobody answers.
    Preflight,
    /// Nothing protects this host and path, and what is unprotected is refused.
    NoApplication,
    /// Gate and origin could disagree about the path.
    AmbiguousPath,
    /// Too many failures.
    Throttled,
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
            Self::BadSession => "bad_session",
            Self::Revoked => "revoked",
            Self::NotAuthorised => "not_authorised",
            Self::Denied => "denied",
            Self::Unsupported => "unsupported_rule",
            Self::Preflight => "preflight",
            Self::NoApplication => "no_application",
            Self::AmbiguousPath => "ambiguous_path",
            Self::Throttled => "throttled",
        }
    }

    /// Whether credentials were there and did not authenticate.
    pub fn is_failed_authentication(self) -> bool {
        matches!(
            self,
            Self::HalfPair
                | Self::Malformed
                | Self::UnknownToken
                | Self::WrongSecret
                | Self::Disabled
                | Self::Expired
                | Self::Throttled
        )
    }
}

/// What the evaluation is about, besides the caller.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Access groups that policies may name.
    pub groups: &'a Groups,
    /// Only Service Auth and bypass policies may admit: the organisation is strict and the request carries the
    /// credentials of a service token.
    pub machines_only: bool,
}

/// Judges a caller by an application's policies.
///
/// Order (documented): `bypass` and `non_identity` first, in listed order; then `deny` and `allow` in listed order. The
/// first that applies decides; none is a refusal. A policy that cannot be judged admits nobody, and refuses if refusing
/// is its action.
pub fn evaluate(application: &Application, caller: &Caller<'_>, terms: Terms<'_>) -> Decision {
    let mut unsupported = None;
    let mut login = false;
    for actions in [
        [Action::Bypass, Action::NonIdentity],
        [Action::Deny, Action::Allow],
    ] {
        for policy in application
            .policies
            .iter()
            .filter(|policy| actions.contains(&policy.action))
        {
            if policy.action == Action::Allow {
                if terms.machines_only {
                    continue;
                }
                login |= caller.identity.is_none();
            }
            match (policy.applies(caller, terms.groups), policy.action) {
                (Truth::Yes, Action::Deny) => return refuse(DenyReason::Denied, Some(policy), login),
                (Truth::Unknown, Action::Deny) => {
                    return refuse(DenyReason::Unsupported, Some(policy), login);
                }
                (Truth::Yes, _) => return Decision::Allow(admit(application, policy, caller)),
                (Truth::Unknown, _) => {
                    unsupported.get_or_insert(policy);
                }
                (Truth::No, _) => {}
            }
        }
    }
    if let Some(policy) = unsupported {
        return refuse(DenyReason::Unsupported, Some(policy), login);
    }
    let known = caller.service_token.is_some() || caller.identity.is_some() || caller.certificate.is_some();
    let reason = if known {
        DenyReason::NotAuthorised
    } else {
        DenyReason::NoCredentials
    };
    refuse(reason, None, login)
}

fn refuse(reason: DenyReason, policy: Option<&Arc<Policy>>, login: bool) -> Decision {
    Decision::Deny(Denial {
        reason,
        policy: policy.map(|policy| Arc::clone(&policy.name)),
        login,
    })
}

fn admit(application: &Application, policy: &Policy, caller: &Caller<'_>) -> Permit {
    let who = match (policy.action, caller.service_token, caller.identity) {
        (Action::Bypass, _, _) => Admitted::Anonymous,
        (Action::NonIdentity, Some(token), _) => Admitted::Service {
            client_id: Arc::clone(&token.record().client_id),
        },
        (Action::Allow, _, Some(identity)) => Admitted::Person(identity.clone()),
        _ => Admitted::Machine {
            common_name: caller
                .certificate
                .map(|certificate| certificate.common_name.clone()),
        },
    };
    Permit {
        session: (policy.action != Action::Bypass)
            .then(|| policy.session_duration.unwrap_or(application.session_duration)),
        who,
        policy: Arc::clone(&policy.name),
    }
}

#[cfg(test)]
mod tests;
