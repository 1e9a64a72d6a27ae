//! The state of Access: service tokens, applications, policies, groups, signing keys, revocations, settings, API tokens and
//! the audit log. One schema, in SQLite by default and in PostgreSQL for gateways that share it.
//!
//! ```text
//! AccessStore (what can be asked and changed) ─▶ Database ─▶ SQLite │ PostgreSQL
//!      └─▶ Watched ─▶ Arc<Snapshot>: everything a decision needs, in memory, read again when a change counter moved
//! ```
//!
//! A gateway asks [`Watched::current`] for every request: with SQLite a change is seen by the next request, with PostgreSQL
//! within a second. Secrets are stored as hashes only; private signing keys are in a table of their own, in a file that
//! only its owner can read.
//!
//! Not here: judging (`bowline-access`), signing (`bowline-gateway`).

mod api_token;
mod applications;
mod audit;
mod database;
mod error;
mod keys;
mod organization;
mod postgres;
mod revocations;
mod schema;
mod snapshot;
mod sqlite;
mod store;
mod tokens;
mod watched;

pub use api_token::ApiToken;
pub use applications::{ApplicationRecord, GroupRecord, PolicyRecord};
pub use audit::AuditEntry;
pub use database::{Database, Purpose, Row, Statement, Value};
pub use error::StoreError;
pub use keys::SigningKeyRecord;
pub use organization::{Inactivity, Organization};
pub use snapshot::Snapshot;
pub use store::{AccessStore, prepare_folder, random};
pub use tokens::TokenChange;
pub use watched::Watched;
