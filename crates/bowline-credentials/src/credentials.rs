//! The credentials of one host, ready to be sent.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bowline_access::UnixSeconds;
use bowline_secret::Secret;
use http::HeaderMap;
use http::header::InvalidHeaderValue;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::prepared::Prepared;
use crate::{ApplicationToken, Host, Origin, Refusal, Sent, ServiceToken};

/// How long one renewal may take before requests go on with what there is.
const RENEWAL: Duration = Duration::from_secs(30);
/// After a failed renewal none is tried for this long.
const PAUSE: Duration = Duration::from_secs(30);

/// What there is to send.
#[derive(Debug, Clone, Default)]
pub enum CredentialState {
    /// Nothing: traffic goes on unchanged.
    #[default]
    Nothing,
    /// Half a pair, which is nothing to send but much to say.
    Half {
        /// The name of the value that is there.
        set: String,
        /// Where it is.
        origin: Origin,
        /// The name of the value that is missing.
        missing: String,
    },
    /// A service token, sent with every request and every upgrade.
    Token(ServiceToken),
    /// An application token, likewise.
    Login(ApplicationToken, Origin),
}

impl CredentialState {
    /// From two values as read from somewhere; `names` are what the somewhere calls them. White space around a value is
    /// no part of it, and an empty value is none.
    pub fn from_pair(
        id: Option<(String, Origin)>,
        secret: Option<(String, Origin)>,
        names: (&str, &str),
    ) -> Self {
        let clean = |value: Option<(String, Origin)>| {
            value
                .map(|(value, origin)| (value.trim().to_owned(), origin))
                .filter(|(value, _)| !value.is_empty())
        };
        let half = |set: &str, origin, missing: &str| Self::Half {
            set: set.to_owned(),
            origin,
            missing: missing.to_owned(),
        };
        match (clean(id), clean(secret)) {
            (None, None) => Self::Nothing,
            (Some((_, origin)), None) => half(names.0, origin, names.1),
            (None, Some((_, origin))) => half(names.1, origin, names.0),
            (Some((id, one)), Some((secret, two))) => {
                let origins = if one == two { vec![one] } else { vec![one, two] };
                Self::Token(ServiceToken::new(id, Secret::new(secret), origins))
            }
        }
    }

    /// The kind.
    pub fn sent(&self) -> Sent {
        match self {
            Self::Nothing | Self::Half { .. } => Sent::Nothing,
            Self::Token(_) => Sent::ServiceToken,
            Self::Login(..) => Sent::ApplicationToken,
        }
    }
}

/// A future that can be kept in a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The time, as an argument: tests move it by hand.
pub type Clock = Arc<dyn Fn() -> UnixSeconds + Send + Sync>;

/// A login could not be renewed. The text says why and what to do.
#[derive(Debug, thiserror::Error)]
#[error("renew the login")]
pub struct RenewError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// Fetches a newer application token without asking anybody.
pub trait Renew: Send + Sync {
    /// A token that is newer than `old`. Called by one task at a time; dropped when it takes too long.
    fn renew<'a>(&'a self, old: &'a ApplicationToken) -> BoxFuture<'a, Result<ApplicationToken, RenewError>>;
}

/// The credentials of one host. Cheap to clone.
///
/// ```text
/// let sending = credentials.ready().await;          // in cookie mode: renewed ahead of its end
/// sending.add_to(request.headers_mut());            // … send, judge the answer …
/// credentials.admitted();                           // it passed
/// credentials.after_refusal(&sending, r).await      // Some: send once more with this
/// ```
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    host: Option<Host>,
    state: CredentialState,
    held: Held,
    admitted: AtomicBool,
    upgraded: AtomicBool,
}

enum Held {
    Nothing,
    /// The secrets of a service token, the newer first.
    Secrets {
        secrets: Vec<Arc<Prepared>>,
        current: AtomicUsize,
        /// The other secret was tried since the last time one passed: trying it on every call would double each refusal.
        spent: AtomicBool,
    },
    Login(Login),
}

struct Login {
    current: RwLock<Arc<Current>>,
    renew: Option<Arc<dyn Renew>>,
    clock: Clock,
    /// Held by the one that renews. When the last attempt failed, it says when.
    flight: Mutex<Option<Instant>>,
}

struct Current {
    token: ApplicationToken,
    prepared: Arc<Prepared>,
}

/// What one request carries.
#[derive(Debug, Clone)]
pub struct Sending {
    sent: Sent,
    prepared: Option<Arc<Prepared>>,
}

impl Sending {
    /// Adds the headers, in place of any of the same name.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        if let Some(prepared) = &self.prepared {
            prepared.add_to(headers);
        }
    }

    /// The kind.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    fn is_same(&self, other: &Arc<Prepared>) -> bool {
        self.prepared
            .as_ref()
            .is_some_and(|mine| Arc::ptr_eq(mine, other))
    }
}

impl Default for Credentials {
    /// Nothing to send, to anybody.
    fn default() -> Self {
        Self(Arc::new(Inner {
            host: None,
            state: CredentialState::Nothing,
            held: Held::Nothing,
            admitted: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
        }))
    }
}

impl Credentials {
    /// Credentials for `host` alone. An error when a part cannot stand in a header.
    pub fn new(host: Host, state: CredentialState) -> Result<Self, InvalidHeaderValue> {
        Self::renewing(host, state, None, Arc::new(now))
    }

    /// The same, with a way to renew a login and the clock that tells when.
    pub fn renewing(
        host: Host,
        state: CredentialState,
        renew: Option<Arc<dyn Renew>>,
        clock: Clock,
    ) -> Result<Self, InvalidHeaderValue> {
        let held = match &state {
            CredentialState::Nothing | CredentialState::Half { .. } => Held::Nothing,
            CredentialState::Token(token) => Held::Secrets {
                secrets: token.prepare()?.into_iter().map(Arc::new).collect(),
                current: AtomicUsize::new(0),
                spent: AtomicBool::new(false),
            },
            CredentialState::Login(token, _) => Held::Login(Login {
                current: RwLock::new(Arc::new(Current::new(token.clone())?)),
                renew,
                clock,
                flight: Mutex::new(None),
            }),
        };
        Ok(Self(Arc::new(Inner {
            host: Some(host),
            state,
            held,
            admitted: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
        })))
    }

    /// What there is, for messages.
    pub fn state(&self) -> &CredentialState {
        &self.0.state
    }

    /// Whether they may go to `host`. Credentials that carry nothing may go anywhere.
    pub fn may_go_to(&self, host: &Host) -> bool {
        matches!(self.0.held, Held::Nothing) || self.0.host.as_ref() == Some(host)
    }

    /// What to send now.
    ///
    /// Ready at once, except when a login has ended and can be renewed: then it waits for that, at most half a minute.
    /// Dropping the future at any point loses nothing.
    pub async fn ready(&self) -> Sending {
        match &self.0.held {
            Held::Nothing => Sending {
                sent: Sent::Nothing,
                prepared: None,
            },
            Held::Secrets { secrets, current, .. } => {
                let prepared = secrets.get(current.load(Ordering::Relaxed)).cloned();
                Sending {
                    sent: Sent::ServiceToken,
                    prepared,
                }
            }
            Held::Login(login) => {
                let (current, now) = (login.current(), (login.clock)());
                if now < current.token.renew_from() || login.renew.is_none() {
                    return current.sending();
                }
                if now < current.token.expires_at() {
                    self.renew_beside(&current);
                    return current.sending();
                }
                login.renewed(&current).await.sending()
            }
        }
    }

    /// Notes that what is current has passed Access.
    pub fn admitted(&self) {
        // Read before written: the line of the cache stays shared among all who only read.
        if !self.0.admitted.load(Ordering::Relaxed) {
            self.0.admitted.store(true, Ordering::Relaxed);
        }
        if let Held::Secrets { spent, .. } = &self.0.held
            && spent.load(Ordering::Relaxed)
        {
            spent.store(false, Ordering::Relaxed);
        }
    }

    /// Notes that an upgrade has passed Access with what is current.
    pub fn upgraded(&self) {
        if !self.0.upgraded.load(Ordering::Relaxed) {
            self.0.upgraded.store(true, Ordering::Relaxed);
        }
        self.admitted();
    }

    /// Whether requests have passed so far and upgrades have not: one that is refused then may be refused for being one.
    pub fn passes_requests_only(&self) -> bool {
        self.0.admitted.load(Ordering::Relaxed) && !self.0.upgraded.load(Ordering::Relaxed)
    }

    /// Whether a refusal may have a second attempt: two secrets, or a login that can be renewed.
    pub fn may_retry(&self) -> bool {
        match &self.0.held {
            Held::Nothing => false,
            Held::Secrets { secrets, .. } => secrets.len() > 1,
            Held::Login(login) => login.renew.is_some(),
        }
    }

    /// What to send instead of `refused`, once, or `None` when there is nothing else.
    ///
    /// With two secrets this is the other one; with a login, one that was renewed. Later requests use it from the start.
    pub async fn after_refusal(&self, refused: &Sending, refusal: Refusal) -> Option<Sending> {
        if !refusal.is_about_credentials() {
            return None;
        }
        match &self.0.held {
            Held::Nothing => None,
            Held::Secrets {
                secrets,
                current,
                spent,
            } => {
                let tried = secrets.iter().position(|secret| refused.is_same(secret))?;
                let other = secrets.get(1 - tried.min(1)).filter(|_| secrets.len() == 2)?;
                let other_sending = Sending {
                    sent: Sent::ServiceToken,
                    prepared: Some(Arc::clone(other)),
                };
                if current.load(Ordering::Relaxed) != tried {
                    // Another call found out at the same time.
                    return Some(other_sending);
                }
                if spent.swap(true, Ordering::Relaxed) {
                    // Neither passes. The newer one is the one that will.
                    current.store(0, Ordering::Relaxed);
                    return None;
                }
                current.store(1 - tried, Ordering::Relaxed);
                Some(other_sending)
            }
            Held::Login(login) => {
                login.renew.as_ref()?;
                let current = login.current();
                if !refused.is_same(&current.prepared) {
                    return Some(current.sending());
                }
                let renewed = login.renewed(&current).await;
                (!Arc::ptr_eq(&renewed, &current)).then(|| renewed.sending())
            }
        }
    }

    /// Renews without making anybody wait: the token still works.
    fn renew_beside(&self, current: &Arc<Current>) {
        let (this, current) = (self.clone(), Arc::clone(current));
        let Held::Login(login) = &self.0.held else { return };
        // Somebody renews already, or has just failed to.
        let idle = login.flight.try_lock().is_ok_and(|failed| !recent(*failed));
        if idle {
            tokio::spawn(async move {
                if let Held::Login(login) = &this.0.held {
                    login.renewed(&current).await;
                }
            });
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({:?})", self.0.state)
    }
}

impl Current {
    fn new(token: ApplicationToken) -> Result<Self, InvalidHeaderValue> {
        let prepared = Arc::new(token.prepare()?);
        Ok(Self { token, prepared })
    }

    fn sending(&self) -> Sending {
        Sending {
            sent: Sent::ApplicationToken,
            prepared: Some(Arc::clone(&self.prepared)),
        }
    }
}

impl Login {
    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The token after `old`, fetched by the first who asks while the others wait; `old` itself when there is none.
    async fn renewed(&self, old: &Arc<Current>) -> Arc<Current> {
        let Some(renew) = &self.renew else {
            return Arc::clone(old);
        };
        let mut failed = self.flight.lock().await;
        let current = self.current();
        if !Arc::ptr_eq(&current, old) || recent(*failed) {
            return current;
        }
        let fetched = match tokio::time::timeout(RENEWAL, renew.renew(&old.token)).await {
            Ok(Ok(token)) if !token.is_same(&old.token) => {
                Current::new(token).map_err(|error| error.to_string())
            }
            Ok(Ok(_)) => Err("there is no newer one".to_owned()),
            Ok(Err(error)) => Err(error.0.to_string()),
            Err(_) => Err(format!("nothing came within {} s", RENEWAL.as_secs())),
        };
        match fetched {
            Ok(next) => {
                *failed = None;
                let next = Arc::new(next);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
                tracing::info!("renewed the login");
                next
            }
            Err(error) => {
                *failed = Some(Instant::now());
                tracing::warn!(error, "could not renew the login");
                current
            }
        }
    }
}

fn recent(failed: Option<Instant>) -> bool {
    failed.is_some_and(|at| at.elapsed() < PAUSE)
}

/// The time of this machine.
pub(crate) fn now() -> UnixSeconds {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
