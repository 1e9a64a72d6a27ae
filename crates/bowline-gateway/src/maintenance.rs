//! What a gateway does beside requests: cutting connections whose grounds are gone, rotating keys, cleaning up tokens.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bowline_access::{Rule, UnixSeconds};
use bowline_access_store::{AccessStore, AuditEntry, Snapshot, StoreError, TokenChange};
use tokio_util::sync::CancellationToken;

use crate::gateway::{GatewayError, Inner};
use crate::{keys, respond};

/// How often live connections are judged again. Well below the second within which a revocation must arrive.
const JUDGE: Duration = Duration::from_millis(200);
/// How many of those go by between looks at keys and unused tokens.
const CHORES: u32 = 5 * 60 * 10;
const DAY: i64 = 24 * 3600;

/// Runs until the gateway is gone.
pub(crate) async fn run(gateway: Weak<Inner>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(JUDGE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count = 0u32;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let Some(inner) = gateway.upgrade() else { return };
        // While the state cannot be read nobody new gets in, and who is in stays: they were let in by what was known.
        let Ok(snapshot) = inner.watched.current().await else {
            continue;
        };
        let now = (inner.options.clock)();
        for grounds in inner.live.judge_again(&snapshot, now) {
            inner.journal.note(AuditEntry {
                at_ms: jiff::Timestamp::now().as_millisecond(),
                event: "revoked_connection".into(),
                decision: "deny".into(),
                identity: grounds.token.map(|(client_id, _)| client_id.to_string()),
                application: snapshot
                    .application(&grounds.aud)
                    .map(|application| application.name.clone()),
                ..AuditEntry::default()
            });
        }
        if count.is_multiple_of(CHORES)
            && let Err(error) = chores(&inner, &snapshot, now).await
        {
            tracing::error!(error = %respond::chain(&error), "the upkeep of Access failed; it is tried again in ten minutes");
        }
        count = count.wrapping_add(1);
    }
}

async fn chores(inner: &Arc<Inner>, snapshot: &Snapshot, now: UnixSeconds) -> Result<(), GatewayError> {
    let store = inner.watched.store();
    let due = snapshot
        .keys
        .first()
        .is_some_and(|newest| now >= newest.created_at + snapshot.organization.key_rotation_days * DAY);
    if due {
        rotate(store, now).await?;
    }
    clean_up(store, snapshot, now).await?;
    Ok(())
}

/// Makes a new key that signs from now on; the one before still verifies for a week. If another gateway was faster, its key
/// is as good.
pub async fn rotate(store: &AccessStore, now: UnixSeconds) -> Result<(), GatewayError> {
    let newest = store.signing_keys().await?.into_iter().next();
    // Keys are ordered by their time, so two rotations never fall into one second.
    let at = newest.as_ref().map_or(now, |key| now.max(key.created_at + 1));
    let key = tokio::task::spawn_blocking(move || keys::generate(at))
        .await
        .map_err(|_| GatewayError::Ending)??;
    store
        .add_signing_key(&key, newest.as_ref().map(|key| key.kid.as_str()))
        .await?;
    Ok(())
}

/// Disables or deletes tokens that are older than the period, were not used within it, and are not named in any policy.
async fn clean_up(store: &AccessStore, snapshot: &Snapshot, now: UnixSeconds) -> Result<(), StoreError> {
    let Some(inactivity) = snapshot.organization.inactivity else {
        return Ok(());
    };
    let since = now - inactivity.threshold_days * DAY;
    for token in store.tokens().await? {
        let named = snapshot
            .applications()
            .iter()
            .flat_map(|application| &application.policies)
            .flat_map(|policy| policy.rules.all())
            .any(|rule| matches!(rule, Rule::ServiceToken(id) if *id == token.id));
        let unused = token.created_at < since && token.last_seen_at.is_none_or(|at| at < since);
        if named || !unused {
            continue;
        }
        if inactivity.delete {
            store.delete_token(&token).await?;
        } else if token.enabled {
            let change = TokenChange {
                enabled: Some(false),
                ..TokenChange::default()
            };
            store.update_token(&token, change, now).await?;
        }
        store
            .audit(vec![AuditEntry {
                at_ms: jiff::Timestamp::now().as_millisecond(),
                event: if inactivity.delete {
                    "token.delete"
                } else {
                    "token.disable"
                }
                .into(),
                decision: "done".into(),
                identity: Some(token.client_id.to_string()),
                reason: Some("inactive".into()),
                ..AuditEntry::default()
            }])
            .await?;
    }
    Ok(())
}
