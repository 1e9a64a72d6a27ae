//! Upgraded and authenticated connections to the remote, ready before they are asked for.
//!
//! A Worker opens a WebSocket for every call on a binding. Opening one takes a round trip each for TCP, for TLS and for the
//! upgrade; taken from here, a call costs the one round trip that it is. A WebSocket's frames do not depend on its handshake
//! (RFC 6455 ties the key to the `101` alone), so a connection that was upgraded with one key serves a client that sent another.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::SEC_WEBSOCKET_KEY;
use http::{HeaderMap, Request, Uri};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

/// A connection waits this long for its call. Edges close an idle WebSocket after 100 s.
pub(crate) const IDLE: Duration = Duration::from_secs(50);
/// Connections for one kind of upgrade.
const MOST: usize = 8;
/// Kinds of upgrade; the one that was used longest ago makes room.
const KINDS: usize = 32;

/// One kind of upgrade: what a client asks for, but for its key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kind {
    path: String,
    query: Option<String>,
    headers: HeaderMap,
}

/// The connections of one proxy.
#[derive(Default)]
pub(crate) struct Warm(Mutex<VecDeque<Kept>>);

struct Kept {
    kind: Kind,
    spares: VecDeque<Spare>,
    opening: usize,
    /// As many as are used while one is opened, as far as that is known.
    wanted: usize,
}

struct Spare {
    stream: TokioIo<Upgraded>,
    since: Instant,
    generation: u64,
}

impl Kind {
    pub(crate) fn of<B>(path: &str, request: &Request<B>) -> Self {
        let mut headers = request.headers().clone();
        headers.remove(SEC_WEBSOCKET_KEY);
        Self {
            path: path.to_owned(),
            query: request.uri().query().map(str::to_owned),
            headers,
        }
    }

    /// The path, and the same upgrade with a key of its own.
    pub(crate) fn request<B: Default>(&self, key: http::HeaderValue) -> (String, Request<B>) {
        let mut request = Request::new(B::default());
        let query = self
            .query
            .as_deref()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        // It came as a URI of this form.
        *request.uri_mut() = format!("/{query}").parse().unwrap_or(Uri::from_static("/"));
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(SEC_WEBSOCKET_KEY, key);
        (self.path.clone(), request)
    }
}

impl Warm {
    /// A connection for this kind of upgrade, if one is ready. `generation` is that of the preview session: connections of an
    /// earlier one end at bindings of an earlier upload.
    pub(crate) fn take(&self, kind: &Kind, generation: u64) -> Option<TokioIo<Upgraded>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.iter_mut().find(|kept| kept.kind == *kind)?;
        while let Some(mut spare) = kept.spares.pop_front() {
            if spare.generation == generation && spare.since.elapsed() < IDLE && spare.is_open() {
                return Some(spare.stream);
            }
        }
        // More were asked for than there were.
        kept.wanted = (kept.wanted * 2).clamp(1, MOST);
        None
    }

    /// How many connections to open for a kind that has just been used; each ends in [`Warm::put`] or [`Warm::failed`].
    pub(crate) fn lacking(&self, kind: &Kind) -> usize {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().position(|kept| kept.kind == *kind);
        let mut kept = found.and_then(|at| all.remove(at)).unwrap_or_else(|| Kept {
            kind: kind.clone(),
            spares: VecDeque::new(),
            opening: 0,
            wanted: 1,
        });
        let missing = kept.wanted.saturating_sub(kept.spares.len() + kept.opening);
        kept.opening += missing;
        all.push_front(kept);
        all.truncate(KINDS);
        missing
    }

    /// Keeps a connection that was opened for `kind`.
    pub(crate) fn put(&self, kind: &Kind, stream: TokioIo<Upgraded>, generation: u64) {
        self.change(kind, |kept| {
            kept.opening = kept.opening.saturating_sub(1);
            kept.spares.push_back(Spare {
                stream,
                since: Instant::now(),
                generation,
            });
        });
    }

    /// A connection could not be opened: none is tried before the next call.
    pub(crate) fn failed(&self, kind: &Kind) {
        self.change(kind, |kept| {
            kept.opening = kept.opening.saturating_sub(1);
            kept.wanted = kept.wanted.min(1);
        });
    }

    /// Closes what waited too long. What nobody takes is not opened again.
    pub(crate) fn sweep(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for kept in all.iter_mut() {
            let before = kept.spares.len();
            kept.spares.retain(|spare| spare.since.elapsed() < IDLE);
            kept.wanted = kept.wanted.saturating_sub(before - kept.spares.len());
        }
        all.retain(|kept| kept.wanted + kept.opening + kept.spares.len() > 0);
    }

    /// Closes everything.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn change(&self, kind: &Kind, change: impl FnOnce(&mut Kept)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = all.iter_mut().find(|kept| kept.kind == *kind) {
            change(kept);
        }
    }
}

impl Spare {
    /// Whether the other side neither closed it nor said anything, which before a call it has no reason to.
    fn is_open(&mut self) -> bool {
        let (mut byte, mut cx) = ([0; 1], Context::from_waker(Waker::noop()));
        let mut buffer = ReadBuf::new(&mut byte);
        matches!(
            Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer),
            Poll::Pending
        )
    }
}
