//! A line with a round trip, in front of a server on this machine: what a call costs far from the edge.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Connections at a time; the next one waits in the listener's backlog.
const CONNECTIONS: usize = 4096;
/// Bytes of one read.
const CHUNK: usize = 16 * 1024;
/// Chunks under way in one direction: a window of a megabyte.
const UNDER_WAY: usize = 64;
/// How long before its time a task is woken. A sleeping core takes a good part of it, and the task looks at the clock for the
/// rest: a line is as long as it says, however late threads wake.
const AWAKE: Duration = Duration::from_micros(300);

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
        let clock = match Clock::start() {
            Ok(clock) => clock,
            Err(error) => {
                tracing::error!(error = %error, "the line has no clock");
                return;
            }
        };
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            let near = match listener.accept().await {
                Ok((near, _)) => near,
                Err(error) => {
                    tracing::error!(error = %error, "the line ended");
                    return;
                }
            };
            self.connections.fetch_add(1, Ordering::Relaxed);
            let (line, clock) = (self.clone(), clock.clone());
            tokio::spawn(async move {
                line.connection(near, &clock).await;
                drop(slot);
            });
        }
    }

    async fn connection(&self, near: TcpStream, clock: &Clock) {
        let open = Instant::now() + self.round_trip;
        let Ok(far) = TcpStream::connect(self.server).await else {
            return;
        };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        let delay = self.round_trip / 2;
        tokio::join!(
            one_way(near_read, far_write, clock, open, delay),
            one_way(far_read, near_write, clock, open, delay)
        );
    }
}

/// A thread that tells when it is time. tokio's timers are a millisecond coarse and always late, which twice a round trip is
/// more than most of what is measured behind a line. It ends with the last copy.
#[derive(Clone)]
struct Clock(std::sync::mpsc::Sender<Alarm>);

/// Whom to tell, and when.
struct Alarm {
    due: Instant,
    tell: oneshot::Sender<()>,
}

impl Clock {
    fn start() -> std::io::Result<Self> {
        let (send, alarms) = std::sync::mpsc::channel();
        std::thread::Builder::new()
            .name("line".into())
            .spawn(move || tell_all(&alarms))?;
        Ok(Self(send))
    }

    /// Waits until `due`.
    async fn until(&self, due: Instant) {
        let (early, (tell, told)) = (due - AWAKE, oneshot::channel());
        if early > Instant::now() && self.0.send(Alarm { due: early, tell }).is_ok() {
            let _ = told.await;
        }
        while Instant::now() < due {
            std::hint::spin_loop();
        }
    }
}

/// Each direction of a connection waits for one alarm at a time, which bounds them.
fn tell_all(alarms: &std::sync::mpsc::Receiver<Alarm>) {
    use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
    // By time; those of the same time in the order in which they came.
    let mut waiting = BTreeMap::new();
    for count in 0u64.. {
        let next = match waiting.first_key_value() {
            None => alarms.recv().map_err(|_| Disconnected),
            Some(((due, _), _)) => {
                alarms.recv_timeout(Instant::saturating_duration_since(due, Instant::now()))
            }
        };
        match next {
            Ok(Alarm { due, tell }) => {
                waiting.insert((due, count), tell);
            }
            Err(Timeout) => {}
            Err(Disconnected) => return,
        }
        let now = Instant::now();
        while let Some(first) = waiting.first_entry().filter(|first| first.key().0 <= now) {
            let tell: oneshot::Sender<()> = first.remove();
            let _ = tell.send(());
        }
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    clock: &Clock,
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
            clock.until(due).await;
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
    async fn costs_hardly_more_than_it_says() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (to, from) = (server.local_addr().unwrap(), near.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        });
        let round_trip = Duration::from_millis(10);
        tokio::spawn(Line::new(to, round_trip, Arc::default()).carry(near));
        let mut stream = TcpStream::connect(from).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut best, mut byte) = (Duration::MAX, [0]);
        // The first takes a round trip more. A machine may be busy, hardly for all of the others.
        for turn in 0..30 {
            let began = Instant::now();
            stream.write_all(b"x").await.unwrap();
            stream.read_exact(&mut byte).await.unwrap();
            if turn > 0 {
                best = best.min(began.elapsed());
            }
        }
        assert!(best >= round_trip, "{best:?}");
        assert!(best < round_trip + Duration::from_millis(1), "{best:?}");
    }

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
