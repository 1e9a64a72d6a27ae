//! Bodies that break off.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A response body whose error is told one turn after it came.
///
/// hyper drops what it has buffered, the head of the response included, with the connection when a body fails. A body
/// that has nothing to give for one turn makes it write first, so whoever reads gets all that came before the break.
#[derive(Debug)]
pub struct LateError<B: Body<Data = Bytes> + Unpin> {
    body: B,
    error: Option<B::Error>,
}

impl<B: Body<Data = Bytes> + Unpin> LateError<B> {
    /// Wraps a body.
    pub fn new(body: B) -> Self {
        Self { body, error: None }
    }
}

// Nothing is pinned but `body`, which does not mind.
impl<B: Body<Data = Bytes> + Unpin> Unpin for LateError<B> {}

impl<B: Body<Data = Bytes> + Unpin> Body for LateError<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = polled {
            self.error = Some(error);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.error.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;

    use futures_util::stream;
    use http_body_util::StreamBody;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_came_before_the_break_is_written() {
        let (mut client, server) = tokio::io::duplex(1024);
        let service = service_fn(async |_: Request<hyper::body::Incoming>| {
            // All of it is there at once.
            let pieces = [
                Ok(Frame::data(Bytes::from_static(b"some"))),
                Err(io::Error::other("cut")),
            ];
            let body = StreamBody::new(stream::iter(pieces));
            Ok::<_, Infallible>(Response::new(LateError::new(body)))
        });
        let served =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let asked = async {
            client
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                .await
                .unwrap();
            let mut read = String::new();
            client.read_to_string(&mut read).await.unwrap();
            read
        };
        let (served, read) = tokio::join!(served, asked);
        assert!(served.is_err());
        assert!(read.starts_with("HTTP/1.1 200 OK\r\n"), "{read}");
        // Not ended: the chunk that ends a body is missing.
        assert!(read.ends_with("\r\n\r\n4\r\nsome\r\n"), "{read}");
    }
}
