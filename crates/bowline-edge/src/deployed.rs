//! Workers that stay: deployed by name, and run as they are. They judge their requests themselves, by what Access signed, so
//! that answering for them would prove nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bowline_access::Permit;
use bowline_binding::{Body, BoxFuture, WireService};
use bowline_gateway::{Connection, Gateway, Guarded};
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;

use crate::access::TEAM_HOST;
use crate::answers;
use crate::upload::RunningUpload;

/// The most Workers; each is a process.
const MOST: usize = 16;

/// The Workers of an account, by name.
#[derive(Debug, Default)]
pub(crate) struct Deployed(Mutex<HashMap<String, Arc<Worker>>>);

/// One of them. Before it is published, nobody reaches it.
#[derive(Debug)]
pub(crate) struct Worker {
    running: RunningUpload,
    published: AtomicBool,
}

impl Deployed {
    /// Whether `script` can be deployed: it takes another's place, or there is room.
    pub(crate) fn has_room_for(&self, script: &str) -> bool {
        let workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        workers.contains_key(script) || workers.len() < MOST
    }

    /// Puts a Worker where one of its name may be, published as that was.
    pub(crate) fn put(&self, script: String, running: RunningUpload) {
        let mut workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let published = workers.get(&script).is_some_and(|old| old.is_published());
        let published = AtomicBool::new(published);
        workers.insert(script, Arc::new(Worker { running, published }));
    }

    /// Makes a Worker answer at its host, or not. `false`: there is none of this name.
    pub(crate) fn publish(&self, script: &str, enabled: bool) -> bool {
        let workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = workers.get(script);
        if let Some(worker) = worker {
            worker.published.store(enabled, Ordering::Relaxed);
        }
        worker.is_some()
    }

    /// The Worker that answers at the host of `script`.
    pub(crate) fn find(&self, script: &str) -> Option<Arc<Worker>> {
        let workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = workers.get(script).filter(|worker| worker.is_published());
        worker.map(Arc::clone)
    }
}

impl Worker {
    fn is_published(&self) -> bool {
        self.published.load(Ordering::Relaxed)
    }
}

impl Guarded for Worker {
    const SESSIONS: bool = true;

    async fn call(&self, permit: Permit, request: Request<Body>) -> Response<Body> {
        self.running.call(permit, request).await
    }
}

/// What a deployed Worker reaches by `fetch()`: the keys of its team domain, which is nowhere but here.
pub(crate) struct TeamDomain(pub(crate) Gateway);

impl WireService for TeamDomain {
    fn call(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>> {
        let url = bowline_wire::request::url(request.headers()).ok();
        let url = url.and_then(|url| url.parse::<Uri>().ok());
        let gateway = self.0.clone();
        Box::pin(async move {
            match url.filter(|url| url.scheme() == Some(&Scheme::HTTPS) && url.host() == Some(TEAM_HOST)) {
                None => answers::text(
                    StatusCode::BAD_GATEWAY,
                    "the Workers of this stand-in reach their team domain, and nothing else\n",
                ),
                Some(url) => {
                    let mut request = Request::new(bowline_binding::empty());
                    request
                        .headers_mut()
                        .insert(HOST, HeaderValue::from_static(TEAM_HOST));
                    *request.uri_mut() = url
                        .path_and_query()
                        .map_or_else(Uri::default, |path| Uri::from(path.clone()));
                    gateway.call(&Nobody, &Connection::new(None), request).await
                }
            }
        })
    }
}

/// Behind the team domain is no origin.
struct Nobody;

impl Guarded for Nobody {
    const SESSIONS: bool = false;

    async fn call(&self, _: Permit, _: Request<Body>) -> Response<Body> {
        answers::text(StatusCode::NOT_FOUND, "the team domain has only its keys\n")
    }
}
