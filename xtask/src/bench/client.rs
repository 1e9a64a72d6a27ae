//! The load: plain blocking sockets, so that the client's own cost is small and the same for everyone.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where load goes: a proxy or the upstream itself.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Path with a `/` at its end.
    pub(crate) path: String,
    /// Whether the upstream must see credentials.
    pub(crate) proxied: bool,
}

impl Target {
    fn connect(&self) -> io::Result<(BufReader<TcpStream>, TcpStream)> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok((BufReader::with_capacity(64 * 1024, stream.try_clone()?), stream))
    }

    fn request(&self, path: &str, headers: &str) -> Vec<u8> {
        let mark = if self.proxied {
            "X-Through-Proxy: 1\r\n"
        } else {
            ""
        };
        format!(
            "GET {}{path} HTTP/1.1\r\nHost: {}\r\n{mark}{headers}\r\n",
            self.path, self.address
        )
        .into_bytes()
    }

    fn fetch_request(&self, path: &str) -> Vec<u8> {
        self.request(path, "MF-Binding: DB\r\nMF-URL: https://fake-host/query\r\nMF-Header-content-type: application/json\r\n")
    }

    /// Latencies of requests on one connection, one after the other.
    pub(crate) fn fetch_latencies(&self, count: usize) -> io::Result<Vec<Duration>> {
        let (mut reader, mut writer) = self.connect()?;
        let (request, mut head, mut body) = (self.fetch_request(""), Vec::new(), Vec::new());
        let mut latencies = Vec::with_capacity(count);
        // The first few open the upstream connection and warm caches.
        for turn in 0..count + 20 {
            let start = Instant::now();
            writer.write_all(&request)?;
            read_answer(&mut reader, &mut head, &mut body)?;
            if turn >= 20 {
                latencies.push(start.elapsed());
            }
        }
        Ok(latencies)
    }

    /// Requests per second over several connections.
    pub(crate) fn fetch_rate(&self, connections: usize, length: Duration) -> io::Result<f64> {
        let start = Instant::now();
        let workers: Vec<_> = (0..connections)
            .map(|_| {
                let target = self.clone();
                thread::spawn(move || -> io::Result<usize> {
                    let (mut reader, mut writer) = target.connect()?;
                    let (request, mut head, mut body) = (target.fetch_request(""), Vec::new(), Vec::new());
                    let mut done = 0;
                    while start.elapsed() < length {
                        writer.write_all(&request)?;
                        read_answer(&mut reader, &mut head, &mut body)?;
                        done += 1;
                    }
                    Ok(done)
                })
            })
            .collect();
        let mut done = 0;
        for worker in workers {
            done += worker
                .join()
                .map_err(|_| io::Error::other("a client panicked"))??;
        }
        Ok(done as f64 / start.elapsed().as_secs_f64())
    }

    /// MB per second of one large answer.
    pub(crate) fn download(&self) -> io::Result<f64> {
        let (mut reader, mut writer) = self.connect()?;
        let start = Instant::now();
        writer.write_all(&self.fetch_request("large"))?;
        let (mut head, mut left, mut buffer) = (Vec::new(), super::upstream::LARGE, vec![0; 256 * 1024]);
        read_head(&mut reader, &mut head)?;
        while left > 0 {
            let count = reader.read(&mut buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left = left.saturating_sub(count);
        }
        Ok(super::upstream::LARGE as f64 / 1e6 / start.elapsed().as_secs_f64())
    }

    fn socket(&self) -> io::Result<(BufReader<TcpStream>, TcpStream)> {
        let (mut reader, mut writer) = self.connect()?;
        let request = self.request(
            "?MF-Binding=MAIL",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        );
        writer.write_all(&request)?;
        let mut head = Vec::new();
        read_head(&mut reader, &mut head)?;
        if !head.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
        }
        Ok((reader, writer))
    }

    /// Round trips of one small WebSocket message.
    pub(crate) fn socket_latencies(&self, count: usize) -> io::Result<Vec<Duration>> {
        let (mut reader, mut writer) = self.socket()?;
        let (message, mut data) = (frame(&[b'x'; 64], true), Vec::new());
        let mut latencies = Vec::with_capacity(count);
        for turn in 0..count + 20 {
            let start = Instant::now();
            writer.write_all(&message)?;
            read_frame(&mut reader, &mut data)?;
            if turn >= 20 {
                latencies.push(start.elapsed());
            }
        }
        Ok(latencies)
    }

    /// MB per second of 16 KiB messages, echoed.
    pub(crate) fn socket_rate(&self, messages: usize) -> io::Result<f64> {
        let (mut reader, mut writer) = self.socket()?;
        let (message, mut data) = (frame(&[b'x'; 16 * 1024], true), Vec::new());
        let start = Instant::now();
        let sender = thread::spawn(move || -> io::Result<()> {
            for _ in 0..messages {
                writer.write_all(&message)?;
            }
            Ok(())
        });
        for _ in 0..messages {
            read_frame(&mut reader, &mut data)?;
        }
        let elapsed = start.elapsed();
        sender
            .join()
            .map_err(|_| io::Error::other("the sender panicked"))??;
        Ok((messages * 16 * 1024) as f64 / 1e6 / elapsed.as_secs_f64())
    }
}

/// Reads up to and with the empty line.
pub(crate) fn read_head(reader: &mut impl BufRead, head: &mut Vec<u8>) -> io::Result<()> {
    head.clear();
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Reads an answer that has to be 200.
pub(crate) fn read_answer(
    reader: &mut impl BufRead,
    head: &mut Vec<u8>,
    body: &mut Vec<u8>,
) -> io::Result<()> {
    read_head(reader, head)?;
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let (true, Some(length)) = (text.starts_with("http/1.1 200 "), length) else {
        return Err(io::Error::other(text));
    };
    body.resize(length, 0);
    reader.read_exact(body)
}

/// A binary frame. A client's is masked with a key of zeros: nobody on the way looks inside, and the load stays cheap.
pub(crate) fn frame(data: &[u8], masked: bool) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut frame = vec![0x82];
    match data.len() {
        short @ 0..126 => frame.push(bit | short as u8),
        middle @ 126..65536 => {
            frame.push(bit | 126);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(bit | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    if masked {
        frame.extend_from_slice(&[0; 4]);
    }
    frame.extend_from_slice(data);
    frame
}

/// Reads one frame's payload, unmasked.
pub(crate) fn read_frame(reader: &mut impl Read, data: &mut Vec<u8>) -> io::Result<()> {
    let mut start = [0; 2];
    reader.read_exact(&mut start)?;
    let length = match start[1] & 0x7f {
        126 => {
            let mut bytes = [0; 2];
            reader.read_exact(&mut bytes)?;
            usize::from(u16::from_be_bytes(bytes))
        }
        127 => return Err(io::Error::other("a frame larger than any sent")),
        short => usize::from(short),
    };
    let mut mask = [0; 4];
    if start[1] & 0x80 != 0 {
        reader.read_exact(&mut mask)?;
    }
    data.resize(length, 0);
    reader.read_exact(data)?;
    if mask != [0; 4] {
        data.iter_mut()
            .zip(mask.iter().cycle())
            .for_each(|(byte, key)| *byte ^= key);
    }
    Ok(())
}
