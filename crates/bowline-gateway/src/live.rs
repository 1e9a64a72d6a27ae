//! Upgraded connections, and whether what let them in still holds.

use std::sync::{Arc, Mutex, PoisonError};

use bowline_access::{SecretHash, UnixSeconds};
use bowline_access_store::Snapshot;

use crate::connection::Connection;

/// What a connection was admitted by, to be judged again.
#[derive(Debug, Clone)]
pub(crate) struct Grounds {
    /// Audience tag of the application.
    pub(crate) aud: Arc<str>,
    /// The service token and the hash of the secret it was opened with.
    pub(crate) token: Option<(Arc<str>, Option<SecretHash>)>,
    /// Subjects whose revocation ends it, with the time its session was issued; `None` where every request brings its own
    /// credentials.
    pub(crate) session: Option<(Vec<String>, UnixSeconds)>,
    /// When a session ends. A service token brings its own end.
    pub(crate) until: Option<UnixSeconds>,
}

impl Grounds {
    /// Whether they still hold. The application's policies are not asked again: they are about opening, as with Access.
    fn hold(&self, snapshot: &Snapshot, now: UnixSeconds) -> bool {
        let token = self.token.as_ref().is_none_or(|(client_id, secret)| {
            snapshot
                .token(client_id)
                .is_some_and(|token| token.still_accepts(*secret, now))
        });
        let session = self.session.as_ref().is_none_or(|(subjects, issued_at)| {
            !subjects
                .iter()
                .any(|subject| snapshot.revoked(subject, *issued_at))
        });
        token
            && session
            && self.until.is_none_or(|until| now < until)
            && snapshot.application(&self.aud).is_some()
    }
}

/// The live connections of a gateway.
#[derive(Debug, Default)]
pub(crate) struct Live(Mutex<Vec<(Connection, Grounds)>>);

impl Live {
    /// Notes a connection that is being upgraded. As many as there can be connections.
    pub(crate) fn add(&self, connection: Connection, grounds: Grounds) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((connection, grounds));
    }

    /// Cuts what no longer holds and forgets what is over; the grounds of those that were cut.
    pub(crate) fn judge_again(&self, snapshot: &Snapshot, now: UnixSeconds) -> Vec<Grounds> {
        let mut cut = Vec::new();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(connection, grounds)| {
                if connection.is_over() {
                    return false;
                }
                let holds = grounds.hold(snapshot, now);
                if !holds {
                    connection.cut();
                    cut.push(grounds.clone());
                }
                holds
            });
        cut
    }
}
