//! A body on its way to the caller, looked at as it passes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bowline_binding::{Body, BoxError};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With its end.
    Whole,
    /// With an error of the provider's.
    Broken,
    /// The caller went away.
    Left,
}

/// What passed.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) ended: Ended,
    pub(crate) size: usize,
    /// The first bytes, up to the bound.
    pub(crate) start: Vec<u8>,
}

type Then = Box<dyn FnOnce(Passed) + Send>;

/// Passes a body on and tells what passed, before the caller sees the end of it.
pub(crate) struct Recorded {
    body: Body,
    limit: usize,
    size: usize,
    start: Vec<u8>,
    then: Option<Then>,
}

impl Recorded {
    /// Records up to `limit` bytes of `body`.
    pub(crate) fn new(body: Body, limit: usize, then: impl FnOnce(Passed) + Send + 'static) -> Self {
        Self {
            body,
            limit,
            size: 0,
            start: Vec::new(),
            then: Some(Box::new(then)),
        }
    }

    fn end(&mut self, ended: Ended) {
        if let Some(then) = self.then.take() {
            then(Passed {
                ended,
                size: self.size,
                start: std::mem::take(&mut self.start),
            });
        }
    }
}

impl http_body::Body for Recorded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = std::task::ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            None => this.end(Ended::Whole),
            Some(Err(_)) => this.end(Ended::Broken),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.size += data.len();
                    let room = this.limit - this.start.len();
                    this.start.extend_from_slice(&data[..data.len().min(room)]);
                }
                // hyper does not poll a body again that says it is over.
                if this.body.is_end_stream() {
                    this.end(Ended::Whole);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.then.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let ended = if self.body.is_end_stream() {
            Ended::Whole
        } else {
            Ended::Left
        };
        self.end(ended);
    }
}
