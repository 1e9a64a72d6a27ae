//! The gate itself: one request from its head to whoever stands behind, or to a refusal.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bowline_access::{
    Admitted, Caller, Decision, Denial, DenyReason, Issue, JWT_ASSERTION, Permit, RequestPath, RequestShape,
    Terms, USER_EMAIL, UnixSeconds, claims, evaluate, is_preflight, refusal, strip_access,
};
use bowline_access_store::{AccessStore, AuditEntry, Snapshot, StoreError, Watched};
use bowline_binding::Body;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::challenge::{self, Place};
use crate::connection::Connection;
use crate::identify::{Identified, Known, subjects};
use crate::journal::Journal;
use crate::keys::{Issued, KeyError, Keys};
use crate::live::{Grounds, Live};
use crate::login::{Boxes, Login, Step};
use crate::throttle::Throttle;
use crate::{endpoints, maintenance, respond};

/// Whether the gate is shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everybody passes. Only for a loopback listener.
    Open,
    /// Applications and their policies decide.
    Guard,
}

/// How a gateway is set up.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    /// Whether it judges at all.
    pub mode: Mode,
    /// The team domain as a URL without a slash at its end, used unless the organisation's settings name one.
    pub team_domain: String,
    /// The clock.
    pub clock: fn() -> UnixSeconds,
    /// How people log in. Without it they can only be told that there is no login.
    pub login: Option<Login>,
}

/// A gateway could not be started.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Its state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The runtime is ending.
    #[error("start a gateway while the program ends")]
    Ending,
}

/// What stands behind a gate.
pub trait Guarded: Send + Sync + 'static {
    /// Whether it wants the application token, and its clients the session cookie.
    const SESSIONS: bool;

    /// Answers a request that was let in. Access's own credentials are gone from it.
    fn call(&self, permit: Permit, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send;
}

/// A gate. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: GatewayOptions,
    pub(crate) watched: Watched,
    pub(crate) keys: Keys,
    pub(crate) throttle: Throttle,
    pub(crate) live: Live,
    /// Logins of programs that wait to be fetched.
    pub(crate) boxes: Boxes,
    pub(crate) journal: Journal,
    /// Redirects to the login that were signed in the current second.
    pub(crate) signed: AtomicU64,
    _maintenance: DropGuard,
}

impl Gateway {
    /// A gate over `store`. Makes the first signing key if there is none.
    pub async fn new(store: AccessStore, options: GatewayOptions) -> Result<Self, GatewayError> {
        if options.mode == Mode::Guard && store.signing_keys().await?.is_empty() {
            maintenance::rotate(&store, (options.clock)()).await?;
        }
        let stop = CancellationToken::new();
        let gateway = Self(Arc::new(Inner {
            options,
            journal: Journal::start(store.clone()),
            watched: Watched::new(store).await?,
            keys: Keys::default(),
            throttle: Throttle::default(),
            live: Live::default(),
            boxes: Boxes::default(),
            signed: AtomicU64::new(0),
            _maintenance: stop.clone().drop_guard(),
        }));
        tokio::spawn(maintenance::run(Arc::downgrade(&gateway.0), stop));
        Ok(gateway)
    }

    /// Whether everybody passes.
    pub fn is_open(&self) -> bool {
        self.0.options.mode == Mode::Open
    }

    /// The store behind it.
    pub fn store(&self) -> &AccessStore {
        self.0.watched.store()
    }

    /// Answers one request: Access first, whatever the request is.
    pub async fn call<G: Guarded>(
        &self,
        guarded: &G,
        connection: &Connection,
        mut request: Request<Body>,
    ) -> Response<Body> {
        if self.is_open() {
            strip_access(request.headers_mut(), None);
            return guarded.call(Permit::for_open_gate(), request).await;
        }
        let snapshot = match self.0.watched.current().await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::error!(error.kind = "access_state", error = %respond::chain(&error), "Access cannot judge requests");
                return respond::text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Access cannot judge requests now; see the gateway's log",
                );
            }
        };
        let Some(host) = challenge::host(&request) else {
            return respond::text(
                StatusCode::BAD_REQUEST,
                "the request names no host, or more than one",
            );
        };
        if let Some(login) = &self.0.options.login
            && Step::of(request.uri().path()).is_some()
        {
            return self.0.log_in(login, &snapshot, connection, &host, request).await;
        }
        let head = endpoints::Head::of(&request);
        if let Some(response) = endpoints::answer(&self.0, &snapshot, head).await {
            return response;
        }
        let asks_metadata = request
            .headers()
            .get("cf-access-metadata-request")
            .is_some_and(|value| value == "true");
        let place = match self.place(&snapshot, host, &request) {
            Ok(place) => place,
            Err(reason) => {
                return self
                    .unplaced(&snapshot, guarded, connection, reason, request)
                    .await;
            }
        };
        let metadata = asks_metadata
            .then(|| self.0.metadata(&snapshot, &place))
            .flatten();
        let mut response = self.guard(&snapshot, &place, guarded, connection, request).await;
        if let Some(metadata) = metadata {
            response.headers_mut().insert("cf-access-metadata", metadata);
        }
        response
    }

    /// Which application a request is for.
    fn place(&self, snapshot: &Snapshot, host: String, request: &Request<Body>) -> Result<Place, DenyReason> {
        let ambiguous = |_| DenyReason::AmbiguousPath;
        RequestPath::parse(request.uri().path()).map_err(ambiguous)?;
        let path = RequestPath::parse(endpoints::subject(request.uri().path())).map_err(ambiguous)?;
        let found = snapshot.guarding(&host, &path).map_err(ambiguous)?;
        let (destination, application) = found.ok_or(DenyReason::NoApplication)?;
        Ok(Place {
            host,
            issuer: self.0.issuer(snapshot),
            domain: destination.as_str().to_owned(),
            application: Arc::clone(application),
        })
    }

    /// A request that no application is responsible for.
    async fn unplaced<G: Guarded>(
        &self,
        snapshot: &Snapshot,
        guarded: &G,
        connection: &Connection,
        reason: DenyReason,
        mut request: Request<Body>,
    ) -> Response<Body> {
        if reason == DenyReason::NoApplication && endpoints::is_document(request.uri().path()) {
            return respond::text(StatusCode::NOT_FOUND, "nothing protects this path");
        }
        if reason == DenyReason::NoApplication && !snapshot.organization.deny_unmatched {
            // The sender's credentials were meant for Access, so they go no further, unlike Cloudflare's.
            strip_access(request.headers_mut(), None);
            return guarded.call(Permit::for_open_gate(), request).await;
        }
        self.0
            .note(&request, connection, None, None, "deny", Some(reason), None);
        match reason {
            DenyReason::AmbiguousPath => {
                respond::text(StatusCode::BAD_REQUEST, bowline_access::AmbiguousPath.to_string())
            }
            _ => respond::blocked(StatusCode::FORBIDDEN, request.headers(), None),
        }
    }

    async fn guard<G: Guarded>(
        &self,
        snapshot: &Arc<Snapshot>,
        place: &Place,
        guarded: &G,
        connection: &Connection,
        mut request: Request<Body>,
    ) -> Response<Body> {
        let inner = &self.0;
        let now = (inner.options.clock)();
        let application = &place.application;
        let known = Known {
            snapshot,
            keys: &inner.keys,
            throttle: &inner.throttle,
            issuer: &place.issuer,
            now,
        };
        if let Some(response) = endpoints::document(place, endpoints::Head::of(&request)) {
            return response;
        }
        if is_preflight(request.method(), request.headers()) {
            if let Some(permit) = Permit::for_preflight(application) {
                strip_access(request.headers_mut(), application.service_token_header.as_ref());
                return guarded.call(permit, request).await;
            }
            if let Some(cors) = &application.cors {
                return respond::preflight(cors, request.headers());
            }
            return self.refuse(
                snapshot,
                place,
                connection,
                &request,
                DenyReason::Preflight.into(),
                &Identified::default(),
            );
        }
        let identified = known.identify(application, request.headers(), connection);
        let strict = snapshot.organization.strict;
        if let Some(failure) = identified.failure
            && (failure == DenyReason::Throttled
                || strict && identified.presented && identified.token.is_none())
        {
            return self.refuse(snapshot, place, connection, &request, failure.into(), &identified);
        }
        let caller = Caller {
            address: connection.address,
            service_token: identified.token,
            identity: identified.identity.as_ref(),
            certificate: connection.certificate(now),
            linked_application: identified.linked.as_deref(),
        };
        let terms = Terms {
            groups: &snapshot.groups,
            machines_only: strict && identified.presented,
        };
        match evaluate(application, &caller, terms) {
            Decision::Deny(mut denial) => {
                if denial.reason == DenyReason::NoCredentials
                    && let Some(failure) = identified.failure
                {
                    denial.reason = failure;
                }
                self.refuse(snapshot, place, connection, &request, denial, &identified)
            }
            Decision::Allow(permit) => {
                let admission = inner.admission(snapshot, place, connection, &permit, &identified, now);
                inner.note_admission(&request, connection, place, &permit, now);
                strip_access(request.headers_mut(), application.service_token_header.as_ref());
                let mut cookie = None;
                if G::SESSIONS
                    && let Some(token) = admission.as_ref().and_then(|admission| admission.token.as_ref())
                {
                    forward_session(request.headers_mut(), token, &permit);
                    if identified.presented && identified.session.is_none() && !strict {
                        cookie = challenge::session_cookie(application, token, permit.session(), now);
                    }
                }
                let mut response = guarded.call(permit, request).await;
                if response.status() == StatusCode::SWITCHING_PROTOCOLS
                    && let Some(admission) = admission
                {
                    inner.live.add(connection.clone(), admission.grounds);
                }
                if let Some(cookie) = cookie {
                    response.headers_mut().append(SET_COOKIE, cookie);
                }
                response
            }
        }
    }

    fn refuse(
        &self,
        snapshot: &Snapshot,
        place: &Place,
        connection: &Connection,
        request: &Request<Body>,
        denial: Denial,
        identified: &Identified<'_>,
    ) -> Response<Body> {
        let inner = &self.0;
        tracing::debug!(
            access.decision = "deny",
            access.policy = denial.policy.as_deref().unwrap_or_default(),
            reason = denial.reason.code(),
            "refused"
        );
        let who = identified
            .token
            .map(|token| Arc::clone(&token.record().client_id))
            .or_else(|| {
                identified
                    .identity
                    .as_ref()
                    .map(|identity| identity.email.as_str().into())
            })
            .or_else(|| inner.known_client(snapshot, place, request));
        // Documented: malformed headers and unknown ids are not logged; throttled attempts would only repeat.
        if !matches!(
            denial.reason,
            DenyReason::Throttled | DenyReason::UnknownToken | DenyReason::Malformed | DenyReason::HalfPair
        ) {
            inner.note(
                request,
                connection,
                who,
                Some(place),
                "deny",
                Some(denial.reason),
                denial.policy.as_deref(),
            );
        }
        if let Some(wait) = identified.wait {
            return respond::throttled(wait, request.headers(), place);
        }
        let shape = RequestShape::read(request.method(), request.headers(), identified.presented);
        let chosen = refusal(&place.application, &denial, shape, snapshot.organization.strict);
        inner.challenge(snapshot, place, request, chosen)
    }
}

/// What an admission brings with it.
struct Admission {
    /// The application token for the origin.
    token: Option<HeaderValue>,
    grounds: Grounds,
}

impl Inner {
    /// The team domain that signs.
    pub(crate) fn issuer(&self, snapshot: &Snapshot) -> Arc<str> {
        match &snapshot.organization.auth_domain {
            Some(domain) if domain.contains("://") => domain.trim_end_matches('/').into(),
            Some(domain) => format!("https://{domain}").into(),
            None => self.options.team_domain.as_str().into(),
        }
    }

    fn admission(
        &self,
        snapshot: &Snapshot,
        place: &Place,
        connection: &Connection,
        permit: &Permit,
        identified: &Identified<'_>,
        now: UnixSeconds,
    ) -> Option<Admission> {
        let session = permit.session()?;
        let application = &place.application;
        let issued = Issued {
            kid: snapshot
                .keys
                .first()
                .map(|key| key.kid.clone())
                .unwrap_or_default(),
            issuer: Arc::clone(&place.issuer),
            aud: Arc::clone(&application.aud),
            who: permit.identity().to_owned(),
            session: session.as_secs(),
        };
        let issue = Issue {
            issuer: &place.issuer,
            now,
            machine_audience: snapshot.organization.machine_audience,
        };
        // A session goes on as it is: a new token would outlive it.
        let token = identified.own_session(permit).or_else(|| {
            self
            .keys
            .issue(snapshot, issued, now, || claims(application, permit, issue))
            .unwrap_or_else(|error| {
                tracing::error!(error.kind = "signing_key", error = %respond::chain(&error), "no application token could be signed");
                None
            })
        });
        let by_certificate = matches!(permit.who(), Admitted::Machine { common_name: Some(_) });
        let until = match &identified.session {
            Some(session) => Some(session.expires_at),
            None => connection.certificate_until().filter(|_| by_certificate),
        };
        let session = identified
            .session
            .as_ref()
            .map(|session| (subjects(&session.subject, &application.aud), session.issued_at))
            // A connection that was opened by a secret ends with its application's revocation, too.
            .or_else(|| Some((vec![format!("app:{}", application.aud)], now)));
        Some(Admission {
            token,
            grounds: Grounds {
                aud: Arc::clone(&application.aud),
                token: identified
                    .token
                    .map(|token| (Arc::clone(&token.record().client_id), token.presented())),
                session,
                until,
            },
        })
    }

    /// Notes an admission, once a minute for the same caller; bypass is not logged (documented).
    fn note_admission(
        &self,
        request: &Request<Body>,
        connection: &Connection,
        place: &Place,
        permit: &Permit,
        now: UnixSeconds,
    ) {
        if matches!(permit.who(), Admitted::Anonymous | Admitted::OwnProcess) {
            return;
        }
        let who: Arc<str> = match permit.who() {
            Admitted::Service { client_id } => Arc::clone(client_id),
            _ => permit.identity().into(),
        };
        if !self
            .journal
            .is_new(&who, &place.application.aud, connection.address, now)
        {
            return;
        }
        if let Admitted::Service { client_id } = permit.who() {
            self.journal.seen(client_id, now);
            self.throttle.succeeded(connection.address, client_id, now);
        }
        self.note(
            request,
            connection,
            Some(who),
            Some(place),
            "allow",
            None,
            Some(permit.policy()),
        );
    }

    /// The client id that a request names, if there is such a token: a failure is the log's business then.
    fn known_client(&self, snapshot: &Snapshot, place: &Place, request: &Request<Body>) -> Option<Arc<str>> {
        let presented = bowline_access::Presented::read(
            request.headers(),
            place.application.service_token_header.as_ref(),
        );
        let token = snapshot.token(presented.client_id()?)?;
        Some(Arc::clone(&token.client_id))
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of one entry")]
    pub(crate) fn note(
        &self,
        request: &Request<Body>,
        connection: &Connection,
        who: Option<Arc<str>>,
        place: Option<&Place>,
        decision: &str,
        reason: Option<DenyReason>,
        policy: Option<&str>,
    ) {
        // Bounded: a peer chooses both.
        let cut = |text: &str| text.chars().take(512).collect::<String>();
        self.journal.note(AuditEntry {
            at_ms: jiff::Timestamp::now().as_millisecond(),
            event: "request".into(),
            decision: decision.into(),
            identity: who.map(|who| who.to_string()),
            policy: policy.map(str::to_owned),
            application: place.map(|place| place.application.name.clone()),
            reason: reason.map(|reason| reason.code().to_owned()),
            address: connection.address.map(|address| address.to_string()),
            host: challenge::host(request).map(|host| cut(&host)),
            request: Some(format!("{} {}", request.method(), cut(request.uri().path()))),
        });
    }
}

/// Gives the origin the session: in the header, and in the cookie that origins are told not to rely on.
fn forward_session(headers: &mut HeaderMap, token: &HeaderValue, permit: &Permit) {
    headers.insert(JWT_ASSERTION, token.clone());
    if let Admitted::Person(identity) = permit.who()
        && let Ok(email) = HeaderValue::try_from(&identity.email)
    {
        headers.insert(USER_EMAIL, email);
    }
    let mut cookie = headers
        .get(COOKIE)
        .map(|value| [value.as_bytes(), b"; "].concat())
        .unwrap_or_default();
    cookie.extend_from_slice(bowline_access::SESSION_COOKIE.as_bytes());
    cookie.push(b'=');
    cookie.extend_from_slice(token.as_bytes());
    // Parts of valid values, so it is one.
    if let Ok(cookie) = HeaderValue::from_bytes(&cookie) {
        headers.insert(COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests;
