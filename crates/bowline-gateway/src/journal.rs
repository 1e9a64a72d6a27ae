//! What is written down beside the requests: the audit log and when tokens were last used. Nobody waits for it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bowline_access::UnixSeconds;
use bowline_access_store::{AccessStore, AuditEntry};
use tokio::sync::mpsc;

/// Entries that may wait to be written. More are counted and dropped: an attack must not fill memory.
const WAITING: usize = 4096;
/// How often they are written.
const EVERY: Duration = Duration::from_millis(250);
/// Admissions of the same caller to the same application count as one for this long, in seconds.
const SAME: i64 = 60;
/// Callers that are remembered for that.
const CALLERS: usize = 20_000;

/// Who, to which application, from where.
type Caller = (Arc<str>, Arc<str>, Option<IpAddr>);

/// The journal. Ends, once everything is written, when it is dropped.
#[derive(Debug)]
pub(crate) struct Journal {
    entries: mpsc::Sender<AuditEntry>,
    dropped: Arc<AtomicU64>,
    recent: Mutex<HashMap<Caller, UnixSeconds>>,
    seen: Arc<Mutex<HashMap<String, UnixSeconds>>>,
}

impl Journal {
    /// Starts writing to `store`.
    pub(crate) fn start(store: AccessStore) -> Self {
        let (entries, waiting) = mpsc::channel(WAITING);
        let (dropped, seen) = (Arc::default(), Arc::default());
        tokio::spawn(write(store, waiting, Arc::clone(&dropped), Arc::clone(&seen)));
        Self {
            entries,
            dropped,
            recent: Mutex::default(),
            seen,
        }
    }

    /// Writes an entry down.
    pub(crate) fn note(&self, entry: AuditEntry) {
        if self.entries.try_send(entry).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether this caller has not been admitted to this application within the last minute; notes that it is now.
    pub(crate) fn is_new(
        &self,
        who: &Arc<str>,
        aud: &Arc<str>,
        address: Option<IpAddr>,
        now: UnixSeconds,
    ) -> bool {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::clone(who), Arc::clone(aud), address);
        if recent.get(&key).is_some_and(|at| now - at < SAME) {
            return false;
        }
        if recent.len() >= CALLERS {
            recent.retain(|_, at| now - *at < SAME);
            if recent.len() >= CALLERS {
                recent.clear();
            }
        }
        recent.insert(key, now);
        true
    }

    /// Notes that a token was used.
    pub(crate) fn seen(&self, client_id: &str, now: UnixSeconds) {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(client_id.to_owned(), now);
    }
}

async fn write(
    store: AccessStore,
    mut waiting: mpsc::Receiver<AuditEntry>,
    dropped: Arc<AtomicU64>,
    seen: Arc<Mutex<HashMap<String, UnixSeconds>>>,
) {
    let mut open = true;
    while open {
        let mut batch = Vec::new();
        let collect = async {
            while let Some(entry) = waiting.recv().await {
                batch.push(entry);
                if batch.len() >= WAITING {
                    return true;
                }
            }
            false
        };
        open = tokio::time::timeout(EVERY, collect).await.unwrap_or(true);
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            batch.push(AuditEntry {
                at_ms: jiff::Timestamp::now().as_millisecond(),
                event: "entries_dropped".into(),
                decision: "done".into(),
                reason: Some(lost.to_string()),
                ..AuditEntry::default()
            });
        }
        let used: Vec<_> = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner))
            .into_iter()
            .collect();
        if !batch.is_empty()
            && let Err(error) = store.audit(batch).await
        {
            tracing::error!(error.kind = "audit", error = %error, "the audit log could not be written");
        }
        if !used.is_empty()
            && let Err(error) = store.tokens_seen(used).await
        {
            tracing::warn!(error = %error, "the last use of tokens could not be written");
        }
    }
}
