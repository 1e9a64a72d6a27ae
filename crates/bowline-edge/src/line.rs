//! A line with a round trip, in front of a server on this machine: what a call costs far from the edge.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

/// Connections at a time; the next one waits in the listener's backlog.
const CONNECTIONS: usize = 4096;
/// Bytes of one read.
const CHUNK: usize = 16 * 1024;
/// Chunks under way in one direction: a window of a megabyte.
const UNDER_WAY: usize = 64;

/// Carries connections to `server`, holding every byte back for half of `round_trip` in each direction. The kernel answers
/// a connection on loopback at once, so the first bytes are held back for one round trip more, which a handshake takes on
/// a real line.
#[derive(Debug, Clone)]
pub struct Line {
    server: SocketAddr,
    round_trip: Duration,
    connections: Arc<AtomicU64>,
}

impl Line {
    /// A line that counts its connections in `connections`.
    pub fn new(server: SocketAddr, round_trip: Duration, connections: Arc<AtomicU64>) -> Self {
        Self {
            server,
            round_trip,
            connections,
        }
    }

    /// Carries what comes to `listener` until it fails. Dropping the future leaves open connections to their tasks.
    pub async fn carry(self, listener: TcpListener) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            let near = match listener.accept().await {
                Ok((near, _)) => near,
                Err(error) => {
                    tracing::error!(error = %error, "the line ended");
                    return;
                }
            };
            self.connections.fetch_add(1, Ordering::Relaxed);
            let line = self.clone();
            tokio::spawn(async move {
                line.connection(near).await;
                drop(slot);
            });
        }
    }

    async fn connection(&self, near: TcpStream) {
        let open = Instant::now() + self.round_trip;
        let Ok(far) = TcpStream::connect(self.server).await else {
            return;
        };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        let delay = self.round_trip / 2;
        tokio::join!(
            one_way(near_read, far_write, open, delay),
            one_way(far_read, near_write, open, delay)
        );
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    open: Instant,
    delay: Duration,
) {
    let (send, mut sent) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let take = async move {
        loop {
            let mut chunk = vec![0; CHUNK];
            let count = from.read(&mut chunk).await.unwrap_or(0);
            chunk.truncate(count);
            let due = Instant::now().max(open) + delay;
            if send.send((due, chunk)).await.is_err() || count == 0 {
                return;
            }
        }
    };
    let give = async move {
        while let Some((due, chunk)) = sent.recv().await {
            sleep_until(due).await;
            if chunk.is_empty() || to.write_all(&chunk).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(take, give);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::Line;

    #[tokio::test]
    async fn costs_a_round_trip_and_one_more_to_connect() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (to, from) = (server.local_addr().unwrap(), near.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let (round_trip, connections) = (Duration::from_millis(40), Arc::new(AtomicU64::new(0)));
        tokio::spawn(Line::new(to, round_trip, Arc::clone(&connections)).carry(near));
        let began = Instant::now();
        let mut stream = TcpStream::connect(from).await.unwrap();
        let mut byte = [0];
        for trips in [2, 3] {
            stream.write_all(b"x").await.unwrap();
            stream.read_exact(&mut byte).await.unwrap();
            assert!(began.elapsed() >= round_trip * trips, "{:?}", began.elapsed());
        }
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut byte).await.unwrap(), 0);
        assert_eq!(connections.load(Ordering::Relaxed), 1);
    }
}
