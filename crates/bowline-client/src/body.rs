//! Bodies: streamed, and never waited for without end.

use std::io;
use std::time::Duration;

pub use bowline_binding::{Body, BoxError, collect, empty, full};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

/// A request body of pieces that come one by one.
pub fn stream<S, E>(pieces: S) -> Body
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<BoxError>,
{
    let frames = pieces.map(|piece| piece.map(Frame::data).map_err(Into::into));
    StreamBody::new(frames).boxed_unsync()
}

/// `body`, ended with an error when no piece of it comes for `idle`.
pub(crate) fn timed(body: Body, idle: Duration) -> Body {
    let frames = futures_util::stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match tokio::time::timeout(idle, body.frame()).await {
            Ok(Some(Ok(frame))) => Some((Ok(frame), Some(body))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => {
                let text = format!("nothing more came within {} s", idle.as_secs_f32());
                let error: BoxError = io::Error::new(io::ErrorKind::TimedOut, text).into();
                Some((Err(error), None))
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_is_an_error() {
        let pieces = futures_util::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"one"))])
            .chain(futures_util::stream::pending());
        let mut body = timed(stream(pieces), Duration::from_secs(5));
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(&first[..], b"one");
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "nothing more came within 5 s");
        assert!(body.frame().await.is_none());
    }
}
