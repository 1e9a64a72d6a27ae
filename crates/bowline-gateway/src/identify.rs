//! Who makes a request: from headers and what is known to a caller.

use bowline_access::{
    ACCESS_TOKEN, Admitted, Application, Authenticated, DenyReason, Identity, Permit, Presented, Session,
    Subject, UnixSeconds, presented_sessions,
};
use bowline_access_store::Snapshot;
use http::{HeaderMap, HeaderValue};

use crate::connection::Connection;
use crate::keys::Keys;
use crate::throttle::Throttle;

/// What a request's credentials amount to.
#[derive(Debug, Default)]
pub(crate) struct Identified<'a> {
    /// The service token that authenticated it, by its secret or by a session.
    pub(crate) token: Option<Authenticated<'a>>,
    /// The person.
    pub(crate) identity: Option<Identity>,
    /// The application whose token was forwarded.
    pub(crate) linked: Option<String>,
    /// Why a service token did not authenticate, or a session did not count.
    pub(crate) failure: Option<DenyReason>,
    /// Anything of a service token was presented.
    pub(crate) presented: bool,
    /// The session that authenticated it, when a session did.
    pub(crate) session: Option<Session>,
    /// That session as the token it came in.
    token_of_session: Option<HeaderValue>,
    /// Seconds to wait, when attempts are throttled.
    pub(crate) wait: Option<i64>,
}

impl Identified<'_> {
    /// The application token of the session, if it is about whom the permit is for.
    pub(crate) fn own_session(&self, permit: &Permit) -> Option<HeaderValue> {
        let same = match (&self.session.as_ref()?.subject, permit.who()) {
            (Subject::Machine(session), Admitted::Service { client_id }) => **session == **client_id,
            (Subject::Person(session), Admitted::Person(identity)) => session == identity,
            _ => false,
        };
        self.token_of_session.clone().filter(|_| same)
    }
}

/// What identification looks at, besides the request.
pub(crate) struct Known<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) keys: &'a Keys,
    pub(crate) throttle: &'a Throttle,
    pub(crate) issuer: &'a str,
    pub(crate) now: UnixSeconds,
}

impl<'a> Known<'a> {
    /// Reads the credentials of a request to `application`.
    pub(crate) fn identify(
        &self,
        application: &Application,
        headers: &HeaderMap,
        connection: &Connection,
    ) -> Identified<'a> {
        let presented = Presented::read(headers, application.service_token_header.as_ref());
        let mut found = Identified {
            presented: presented.is_something(),
            ..Identified::default()
        };
        match &presented {
            Presented::Nothing => {}
            Presented::Half { .. } => found.failure = Some(DenyReason::HalfPair),
            Presented::Malformed => found.failure = Some(DenyReason::Malformed),
            Presented::Pair { client_id, secret } => {
                if let Some(wait) = self.throttle.refuses(connection.address, client_id, self.now) {
                    found.wait = Some(wait);
                    found.failure = Some(DenyReason::Throttled);
                    return found;
                }
                let authenticated = match self.snapshot.token(client_id) {
                    Some(token) => token.authenticate(secret, self.now),
                    None => Err(DenyReason::UnknownToken),
                };
                match authenticated {
                    Ok(token) => found.token = Some(token),
                    Err(reason) => {
                        self.throttle.failed(connection.address, client_id, self.now);
                        found.failure = Some(reason);
                    }
                }
            }
        }
        // Under strict authentication sessions do not count beside a service token.
        if !(found.presented && self.snapshot.organization.strict) && found.token.is_none() {
            self.sessions(application, headers, &mut found);
        }
        found
    }

    fn sessions(&self, application: &Application, headers: &HeaderMap, found: &mut Identified<'a>) {
        for token in presented_sessions(headers) {
            let Some(session) = self.keys.session(self.snapshot, token, self.issuer, self.now) else {
                found.failure.get_or_insert(DenyReason::BadSession);
                continue;
            };
            // Measured: a session counts only where people may log in.
            let ours =
                session.audiences.iter().any(|aud| **aud == *application.aud) && application.has_allow();
            if ours {
                if self.is_revoked(&session, &application.aud) {
                    found.failure = Some(DenyReason::Revoked);
                    continue;
                }
                match &session.subject {
                    Subject::Person(identity) => found.identity = Some(identity.clone()),
                    Subject::Machine(client_id) => match self.snapshot.token(client_id) {
                        Some(record) => match record.usable(self.now) {
                            Ok(token) => found.token = Some(token),
                            Err(reason) => {
                                found.failure = Some(reason);
                                continue;
                            }
                        },
                        // Admitted by certificate or address, which count by themselves.
                        None => continue,
                    },
                }
                found.session = Some(session);
                found.token_of_session = HeaderValue::from_str(token).ok().map(|mut token| {
                    token.set_sensitive(true);
                    token
                });
                return;
            }
            found.failure.get_or_insert(DenyReason::BadSession);
        }
        // An origin may forward the token it got to another application, in this header only (documented).
        let forwarded = headers.get(ACCESS_TOKEN).and_then(|value| value.to_str().ok());
        let session = forwarded.and_then(|token| {
            self.keys
                .session(self.snapshot, token.trim(), self.issuer, self.now)
        });
        if let Some(session) = session {
            let other = session
                .audiences
                .iter()
                .filter_map(|aud| self.snapshot.application(aud))
                .find(|other| !self.is_revoked(&session, &other.aud));
            found.linked = other.map(|other| other.id.clone());
        }
    }

    /// Whether a session, or whoever it is about, was revoked.
    pub(crate) fn is_revoked(&self, session: &Session, aud: &str) -> bool {
        subjects(&session.subject, aud)
            .iter()
            .any(|subject| self.snapshot.revoked(subject, session.issued_at))
    }
}

/// The subjects whose revocation ends a session.
pub(crate) fn subjects(subject: &Subject, aud: &str) -> Vec<String> {
    vec![
        format!("app:{aud}"),
        match subject {
            Subject::Machine(client_id) => format!("token:{client_id}"),
            Subject::Person(identity) => format!("user:{}", identity.subject),
        },
    ]
}
