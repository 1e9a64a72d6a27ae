//! A request that may have to be sent once more.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};

use crate::proxy::{Body, replay};

/// Bytes of a body that are remembered. Chunks are counted references, so that nothing is copied.
const REMEMBERED: usize = 64 * 1024;

/// The head of a request, and its body as far as that can be had again.
pub(crate) struct Repeat {
    head: Request<()>,
    body: Remembered,
}

enum Remembered {
    Empty,
    Chunks(Arc<Mutex<Memory>>),
    No,
}

#[derive(Default)]
struct Memory {
    chunks: Vec<Bytes>,
    length: usize,
    too_long: bool,
    whole: bool,
}

impl Repeat {
    /// Prepares for sending `request` again, as credentials may turn out to have ended and calls of most bindings have
    /// small bodies. One whose length is told is read first, for as long as `deadline`: a refusal may come before a peer
    /// has asked for all of it. Others may be half of a conversation; they are kept as they go by.
    pub(crate) async fn of(request: Request<Body>, deadline: Duration) -> (Request<Body>, Self) {
        let mut head = Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.version_mut() = request.version();
        *head.headers_mut() = request.headers().clone();
        // How hyper spells the names on the wire.
        *head.extensions_mut() = request.extensions().clone();
        let hint = http_body::Body::size_hint(request.body());
        if http_body::Body::is_end_stream(request.body()) || hint.exact() == Some(0) {
            let body = Remembered::Empty;
            return (request, Self { head, body });
        }
        if hint.lower() > REMEMBERED as u64 {
            let body = Remembered::No;
            return (request, Self { head, body });
        }
        let memory = Arc::new(Mutex::new(Memory::default()));
        let kept = Arc::clone(&memory);
        let mut request = request.map(|body| Remembering { body, memory }.boxed_unsync());
        let repeat = Self {
            head,
            body: Remembered::Chunks(kept),
        };
        if hint.exact().is_some() {
            let mut read = Vec::new();
            let reading = async {
                while let Some(frame) = request.body_mut().frame().await {
                    read.push(frame);
                }
            };
            // What is late goes on streaming.
            let _ = tokio::time::timeout(deadline, reading).await;
            request = match repeat.request() {
                Some(whole) => whole,
                None => request.map(|rest| replay(read, rest)),
            };
        }
        (request, repeat)
    }

    /// The request, if all of it is still there.
    pub(crate) fn request(&self) -> Option<Request<Body>> {
        let body = match &self.body {
            Remembered::No => return None,
            Remembered::Empty => Empty::new().map_err(|never| match never {}).boxed_unsync(),
            Remembered::Chunks(memory) => {
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                if memory.too_long || !memory.whole {
                    return None;
                }
                let mut all = BytesMut::with_capacity(memory.length);
                for chunk in &memory.chunks {
                    all.extend_from_slice(chunk);
                }
                Full::from(all.freeze())
                    .map_err(|never| match never {})
                    .boxed_unsync()
            }
        };
        Some(self.head.clone().map(|()| body))
    }
}

/// A body that is remembered while it is sent.
struct Remembering {
    body: Body,
    memory: Arc<Mutex<Memory>>,
}

impl http_body::Body for Remembering {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(frame) = &polled {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            match frame {
                None => memory.whole = true,
                Some(Ok(frame)) => match frame.data_ref() {
                    Some(data) => memory.remember(data),
                    // Trailers would be missing the second time.
                    None => memory.too_long = true,
                },
                Some(Err(_)) => memory.too_long = true,
            }
            // Whoever knows the length does not ask for the end.
            memory.whole |= http_body::Body::is_end_stream(&self.body);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Memory {
    fn remember(&mut self, data: &Bytes) {
        self.length += data.len();
        if self.length > REMEMBERED {
            self.too_long = true;
            self.chunks = Vec::new();
        } else if !self.too_long {
            self.chunks.push(data.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::StreamBody;

    use super::*;

    fn request(chunks: Vec<Bytes>) -> Request<Body> {
        let frames = chunks.into_iter().map(|chunk| Ok(Frame::data(chunk)));
        Request::post("http://a/")
            .body(StreamBody::new(stream::iter(frames)).boxed_unsync())
            .unwrap()
    }

    const SOON: Duration = Duration::from_secs(5);

    async fn sent_again(chunks: Vec<Bytes>, read: bool) -> Option<Bytes> {
        let (first, repeat) = Repeat::of(request(chunks), SOON).await;
        if read {
            first.into_body().collect().await.unwrap();
        }
        let again = repeat.request()?;
        Some(again.into_body().collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn what_went_by_whole_and_small() {
        let chunks = || vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
        assert_eq!(sent_again(chunks(), true).await.as_deref(), Some(&b"abc"[..]));
        assert_eq!(sent_again(chunks(), false).await, None, "only begun");
        let long = vec![Bytes::from(vec![0; REMEMBERED]), Bytes::from_static(b"x")];
        assert_eq!(sent_again(long, true).await, None);
        let empty = Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
        let (_, repeat) = Repeat::of(empty, SOON).await;
        assert!(repeat.request().is_some());
    }

    #[tokio::test]
    async fn a_told_length_is_read_first() {
        let body = Full::from("abc").map_err(|never| match never {}).boxed_unsync();
        let (first, repeat) = Repeat::of(Request::new(body), SOON).await;
        let again = repeat.request().unwrap();
        for request in [first, again] {
            assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "abc");
        }
    }
}
