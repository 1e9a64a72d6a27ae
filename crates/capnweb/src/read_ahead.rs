//! Reading much at a time from a peer that sends much, and holding nothing for one that is idle.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the WebSocket reads at a time, and holds.
pub(crate) const SMALL_READ: usize = 4 * 1024;
/// What is taken from the connection at a time while more is there. A system call costs as much as copying several
/// kilobytes.
const LARGE_READ: usize = 64 * 1024;

thread_local! {
    /// Room for one large read, or nothing while a connection has it. Most of what is read is handed on before another
    /// connection's turn, so a thread hardly needs a second one, and each would be allocated and cleared for one read.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A connection whose small reads are served from large ones, as long as the peer keeps the line full.
pub(crate) struct ReadAhead<S> {
    io: S,
    /// Room for a large read; no memory at all while the line is quiet.
    ahead: Vec<u8>,
    /// How much of it was handed on, of how much that was read.
    given: usize,
    filled: usize,
    /// The last read filled what it was given, so there is likely to be more.
    is_full: bool,
}

impl<S> ReadAhead<S> {
    pub(crate) fn new(io: S) -> Self {
        Self {
            io,
            ahead: Vec::new(),
            given: 0,
            filled: 0,
            is_full: false,
        }
    }

    /// All of it was handed on.
    fn put_back(&mut self) {
        let ahead = std::mem::take(&mut self.ahead);
        if !ahead.is_empty() {
            // A thread that ends has no use for it.
            let _ = SPARE.try_with(|spare| spare.set(ahead));
        }
    }
}

impl<S: AsyncRead + Unpin> ReadAhead<S> {
    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            self.ahead = SPARE.take();
            self.ahead.resize(LARGE_READ, 0);
        }
        let mut room = ReadBuf::new(&mut self.ahead);
        let read = Pin::new(&mut self.io).poll_read(cx, &mut room);
        self.given = 0;
        self.filled = room.filled().len();
        self.is_full = self.filled == LARGE_READ;
        if self.filled == 0 {
            self.put_back();
        }
        read
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.given == this.filled {
            if !this.is_full {
                let wanted = out.remaining();
                let read = Pin::new(&mut this.io).poll_read(cx, out);
                this.is_full = read.is_ready() && out.remaining() == 0 && wanted > 0;
                return read;
            }
            ready!(this.poll_read_ahead(cx))?;
        }
        let rest = &this.ahead[this.given..this.filled];
        let length = rest.len().min(out.remaining());
        out.put_slice(&rest[..length]);
        this.given += length;
        if this.given == this.filled {
            this.put_back();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn all_of_it_in_order_whatever_the_sizes() {
        let (mut far, near) = tokio::io::duplex(100_000);
        let sent: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
        let expected = sent.clone();
        tokio::spawn(async move {
            for part in sent.chunks(33_333) {
                far.write_all(part).await.unwrap();
            }
        });
        let mut near = ReadAhead::new(near);
        let (mut got, mut part) = (Vec::new(), [0; SMALL_READ]);
        loop {
            match near.read(&mut part).await.unwrap() {
                0 => break,
                length => got.extend_from_slice(&part[..length]),
            }
        }
        assert!(got == expected);
        assert_eq!(near.ahead.capacity(), 0, "nothing is held at the end");
        assert_eq!(SPARE.take().len(), LARGE_READ, "the thread keeps one room");
    }
}
