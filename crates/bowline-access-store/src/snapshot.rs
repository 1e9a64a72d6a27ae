//! Everything a decision needs, in memory.

use std::collections::HashMap;
use std::sync::Arc;

use bowline_access::{
    AmbiguousPath, Application, Destination, Groups, RequestPath, RuleSet, ServiceToken, UnixSeconds,
    most_specific,
};

use crate::api_token::{self, ApiToken};
use crate::applications::{LIST_APPLICATIONS, LIST_GROUPS, LIST_LINKS, LIST_POLICIES, assemble, read_group};
use crate::keys::{self, SigningKeyRecord};
use crate::organization::{self, Organization};
use crate::store::unreadable;
use crate::{AccessStore, StoreError, revocations, tokens};

/// The state of Access at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The organisation's settings.
    pub organization: Organization,
    /// Groups by id.
    pub groups: Groups,
    /// Signing keys, newest first.
    pub keys: Vec<SigningKeyRecord>,
    /// Tokens of the REST API.
    pub api_tokens: Vec<ApiToken>,
    tokens: HashMap<Arc<str>, ServiceToken>,
    applications: Vec<Arc<Application>>,
    destinations: Vec<(Destination, usize)>,
    revocations: HashMap<String, UnixSeconds>,
}

impl Snapshot {
    /// The service token with this client id.
    pub fn token(&self, client_id: &str) -> Option<&ServiceToken> {
        self.tokens.get(client_id)
    }

    /// All service tokens, in no order.
    pub fn tokens(&self) -> impl Iterator<Item = &ServiceToken> {
        self.tokens.values()
    }

    /// The application with this audience tag.
    pub fn application(&self, aud: &str) -> Option<&Arc<Application>> {
        self.applications
            .iter()
            .find(|application| *application.aud == *aud)
    }

    /// The applications, oldest first.
    pub fn applications(&self) -> &[Arc<Application>] {
        &self.applications
    }

    /// The application that guards a host and path, and its destination that covers them.
    pub fn guarding(
        &self,
        host: &str,
        path: &RequestPath,
    ) -> Result<Option<(&Destination, &Arc<Application>)>, AmbiguousPath> {
        let destinations = self
            .destinations
            .iter()
            .map(|(destination, owner)| (destination, *owner));
        let found = most_specific(destinations, host, path)?;
        Ok(found.map(|(destination, owner)| (destination, &self.applications[owner])))
    }

    /// Whether any of some subjects was revoked after `issued_at`. They are only asked for when anything was revoked at all.
    pub fn revoked_any<const N: usize>(
        &self,
        issued_at: UnixSeconds,
        subjects: impl FnOnce() -> [String; N],
    ) -> bool {
        !self.revocations.is_empty() && subjects().iter().any(|subject| self.revoked(subject, issued_at))
    }

    /// Whether a session of `subject` that was issued at `issued_at` was revoked.
    pub fn revoked(&self, subject: &str, issued_at: UnixSeconds) -> bool {
        self.revocations
            .get(subject)
            .is_some_and(|revoked_at| issued_at <= *revoked_at)
    }
}

impl AccessStore {
    /// Reads the whole state. A record that cannot be understood is an error: leaving it out could let somebody in.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let [
            tokens,
            applications,
            policies,
            links,
            groups,
            keys,
            revocations,
            api_tokens,
            settings,
        ] = self
            .read(&[
                tokens::LIST,
                LIST_APPLICATIONS,
                LIST_POLICIES,
                LIST_LINKS,
                LIST_GROUPS,
                keys::LIST,
                revocations::LIST,
                api_token::LIST,
                organization::LIST,
            ])
            .await?;
        let record = |what: String| {
            |source| StoreError::Record {
                what,
                source: Box::new(source),
            }
        };
        let mut snapshot = Snapshot {
            organization: organization::read(settings)?,
            keys: keys::read(keys)?,
            api_tokens: api_token::read(api_tokens)?,
            revocations: revocations::read(revocations)?.into_iter().collect(),
            tokens: tokens::read_all(tokens)?
                .into_iter()
                .map(|token| (Arc::clone(&token.client_id), token))
                .collect(),
            ..Snapshot::default()
        };
        for row in groups {
            let group = read_group(row).map_err(unreadable("a group"))?;
            let rules = RuleSet::parse(&group.document).map_err(record(format!("group {}", group.id)))?;
            snapshot.groups.insert(group.id, rules);
        }
        for application in assemble(applications, policies, links)? {
            let parsed = application
                .parse()
                .map_err(record(format!("application {}", application.id)))?;
            let owner = snapshot.applications.len();
            let destinations = parsed.destinations.iter().cloned();
            snapshot.destinations.extend(destinations.map(|at| (at, owner)));
            snapshot.applications.push(Arc::new(parsed));
        }
        Ok(snapshot)
    }
}
