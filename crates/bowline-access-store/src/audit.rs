//! The audit log: who asked for what and what was decided, or who changed what. Never a secret.

use serde_json::{Value, json};

use crate::database::{Purpose, Statement};
use crate::store::unreadable;
use crate::{AccessStore, StoreError};

/// Entries that are kept; older ones go.
const KEPT: i64 = 100_000;

/// One entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// What happened: `request`, `revoked_connection`, or an administrative act such as `token.create`.
    pub event: String,
    /// `allow`, `deny` or `done`.
    pub decision: String,
    /// Who: a client id, an e-mail address, an API token's name.
    pub identity: Option<String>,
    /// The policy that decided.
    pub policy: Option<String>,
    /// The application's name.
    pub application: Option<String>,
    /// Why, as one word.
    pub reason: Option<String>,
    /// Where from.
    pub address: Option<String>,
    /// To which host.
    pub host: Option<String>,
    /// Method and path without the query, which may hold anything.
    pub request: Option<String>,
}

impl AuditEntry {
    /// As an object for tools.
    pub fn to_json(&self) -> Value {
        json!({
            "at_ms": self.at_ms, "event": self.event, "decision": self.decision, "identity": self.identity,
            "policy": self.policy, "application": self.application, "reason": self.reason, "address": self.address,
            "host": self.host, "request": self.request,
        })
    }
}

impl AccessStore {
    /// Adds entries.
    pub async fn audit(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError> {
        let mut statements: Vec<Statement> = entries
            .into_iter()
            .map(|entry| {
                Statement::new(
                    "INSERT INTO audit (at, event, decision, identity, policy, application, reason, address, host, request) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                    vec![
                        entry.at_ms.into(),
                        entry.event.into(),
                        entry.decision.into(),
                        entry.identity.into(),
                        entry.policy.into(),
                        entry.application.into(),
                        entry.reason.into(),
                        entry.address.into(),
                        entry.host.into(),
                        entry.request.into(),
                    ],
                )
            })
            .collect();
        statements.push(Statement::new(
            "DELETE FROM audit WHERE sequence <= (SELECT max(sequence) FROM audit) - $1",
            vec![KEPT.into()],
        ));
        self.database.transact(Purpose::Aside, statements).await?;
        Ok(())
    }

    /// The newest entries, newest first.
    pub async fn audit_log(&self, limit: i64) -> Result<Vec<AuditEntry>, StoreError> {
        let rows = self
            .query(Statement::new(
                "SELECT at, event, decision, identity, policy, application, reason, address, host, request \
                 FROM audit ORDER BY sequence DESC LIMIT $1",
                vec![limit.into()],
            ))
            .await?;
        rows.into_iter()
            .map(|mut row| {
                Ok(AuditEntry {
                    at_ms: row.integer()?,
                    event: row.text()?,
                    decision: row.text()?,
                    identity: row.maybe_text()?,
                    policy: row.maybe_text()?,
                    application: row.maybe_text()?,
                    reason: row.maybe_text()?,
                    address: row.maybe_text()?,
                    host: row.maybe_text()?,
                    request: row.maybe_text()?,
                })
            })
            .map(|entry| entry.map_err(unreadable("an audit entry")))
            .collect()
    }
}
