//! A line of a given round trip: a TCP relay that holds every byte back for half of it, in both directions.
//!
//! The kernel answers a connection on loopback by itself; the relay makes up for it by holding the first bytes of a
//! connection back for one round trip more, which is what the handshake takes on a real line.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Chunks under way in one direction.
const UNDER_WAY: usize = 4096;

/// Starts a relay to `upstream` on a free port; it lives as long as the process.
pub(crate) fn start(upstream: SocketAddr, round_trip: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            thread::spawn(move || carry(near, upstream, round_trip));
        }
    });
    Ok(address)
}

fn carry(near: TcpStream, upstream: SocketAddr, round_trip: Duration) -> io::Result<()> {
    let open = Instant::now() + round_trip;
    let far = TcpStream::connect(upstream)?;
    for (from, to) in [(&near, &far), (&far, &near)] {
        to.set_nodelay(true)?;
        let (sender, receiver) = sync_channel(UNDER_WAY);
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || take(from, &sender, open, round_trip / 2));
        thread::spawn(move || give(to, &receiver));
    }
    Ok(())
}

fn take(mut from: TcpStream, to: &SyncSender<(Instant, Vec<u8>)>, open: Instant, delay: Duration) {
    let mut chunk = [0; 16 * 1024];
    loop {
        let read = from.read(&mut chunk).unwrap_or(0);
        let due = Instant::now().max(open) + delay;
        if to.send((due, chunk[..read].to_vec())).is_err() || read == 0 {
            return;
        }
    }
}

fn give(mut to: TcpStream, from: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((due, chunk)) = from.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if chunk.is_empty() || to.write_all(&chunk).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
