//! Answers that come before the request has ended.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::poll_fn;
use http_body::{Body, Frame, SizeHint};

/// How much of an unwanted body is still taken.
const UNWANTED: usize = 256 * 1024 * 1024;
/// How long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request body that is read to its end (within a bound) even when nobody wants it any more.
///
/// A server that answers early and closes makes its kernel reset the connection under a client that still sends, and the
/// reset overtakes the answer: the client sees "broken pipe" where a refusal was written. nginx calls the remedy lingering
/// close.
#[derive(Debug)]
pub struct Lingering<B: Body<Data = Bytes> + Send + Unpin + 'static>(Option<B>);

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Lingering<B> {
    /// Wraps a body. One whose sender asked for leave with `Expect` is never to be wrapped: reading would grant it.
    pub fn new(body: B) -> Self {
        Self(Some(body))
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Body for Lingering<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Drop for Lingering<B> {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        // Without a runtime the process is ending.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(tokio::time::timeout(PATIENCE, async move {
            let mut taken = 0usize;
            while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                taken = taken.saturating_add(frame.data_ref().map_or(0, Buf::remaining));
                if taken > UNWANTED {
                    break;
                }
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::channel::Channel;

    use super::*;

    #[tokio::test]
    async fn what_nobody_wants_is_still_taken() {
        let (mut sender, body) = Channel::<Bytes>::new(1);
        let mut lingering = Box::pin(Lingering::new(Box::pin(body)));
        sender.send_data(Bytes::from_static(b"one")).await.unwrap();
        let first = poll_fn(|cx| lingering.as_mut().poll_frame(cx))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(first.into_data().unwrap(), "one");
        drop(lingering);
        // Each of these waits for the one before it to be taken.
        for _ in 0..100 {
            sender.send_data(Bytes::from_static(b"more")).await.unwrap();
        }
    }
}
