//! Streams that the peer sends.

use std::sync::Arc;

use capnweb_proto::PipeId;
use tokio::sync::{mpsc, oneshot};

use crate::Value;
use crate::driver::Command;

/// Why a stream broke off.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StreamError {
    /// The writer ended it with this value.
    #[error("the stream was aborted by its writer")]
    Aborted(Box<Value>),
    /// The session ended.
    #[error("the RPC session ended in the middle of a stream")]
    Disconnected,
    /// It holds more than the reader wants.
    #[error("the stream is longer than {limit} bytes")]
    TooLong {
        /// The reader's bound, in bytes.
        limit: usize,
    },
    /// A chunk is neither bytes nor text.
    #[error("the stream has a chunk that is neither bytes nor text")]
    NotBytes,
}

/// The readable end of a stream the peer sends. Reading is what lets the peer send more; dropping the last clone
/// cancels it.
#[derive(Clone)]
pub struct ReadableStream(Arc<Inner>);

struct Inner {
    pipe: PipeId,
    commands: mpsc::UnboundedSender<Command>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Cancel(self.pipe));
    }
}

/// One answer to a read.
pub(crate) type Next = Result<Option<Value>, StreamError>;

impl ReadableStream {
    pub(crate) fn new(pipe: PipeId, commands: mpsc::UnboundedSender<Command>) -> Self {
        Self(Arc::new(Inner { pipe, commands }))
    }

    pub(crate) fn pipe(&self) -> PipeId {
        self.0.pipe
    }

    /// The next chunk, `None` at the end. Not cancel safe: a chunk that arrives for a dropped future is lost.
    pub async fn next(&self) -> Result<Option<Value>, StreamError> {
        let (answer, next) = oneshot::channel();
        self.0
            .commands
            .send(Command::Read(self.0.pipe, answer))
            .map_err(|_| StreamError::Disconnected)?;
        next.await.unwrap_or(Err(StreamError::Disconnected))
    }

    /// All bytes (texts as UTF-8), refusing more than `limit`.
    pub async fn collect(&self, limit: usize) -> Result<Vec<u8>, StreamError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next().await? {
            let bytes = match &chunk {
                Value::Bytes(bytes, _) => bytes.as_slice(),
                Value::String(text) => text.as_bytes(),
                _ => return Err(StreamError::NotBytes),
            };
            if all.len() + bytes.len() > limit {
                return Err(StreamError::TooLong { limit });
            }
            all.extend_from_slice(bytes);
        }
        Ok(all)
    }
}

impl std::fmt::Debug for ReadableStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReadableStream")
    }
}
