//! Bodies: boxed, streamed, and collected only up to a stated bound.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, Limited, combinators::UnsyncBoxBody};

/// Any error a body can end with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A streamed request or response body.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Why [`collect`] gave no bytes.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The body is larger than the caller's bound.
    #[error("body exceeds {limit} bytes")]
    TooLarge {
        /// The bound, in bytes.
        limit: usize,
    },
    /// The peer or the connection failed while the body was read.
    #[error("body ended early")]
    Read(#[source] BoxError),
}

/// A body with nothing in it.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body of known bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// [`collect`] for a boxed body, boxed itself: the compiler cannot see through the generic one inside the methods of an
/// `async_trait`.
pub fn collect_boxed(body: Body, limit: usize) -> crate::BoxFuture<'static, Result<Bytes, BodyError>> {
    Box::pin(collect(body, limit))
}

/// Reads `body` to its end, refusing more than `limit` bytes. Cancel safe: the body is dropped with the future.
pub async fn collect<B>(body: B, limit: usize) -> Result<Bytes, BodyError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(BodyError::TooLarge { limit }),
        Err(error) => Err(BodyError::Read(error)),
    }
}
