//! What is behind the proxies: an HTTP/1.1 server that answers fetches and echoes WebSocket frames.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::client::{read_frame, read_head};

/// Bytes of the large answer.
pub(crate) const LARGE: usize = 64 * 1024 * 1024;
/// The answer to the key every client here sends (RFC 6455 §1.3).
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Starts it on a free port; it lives as long as the process.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    let (mut head, chunk) = (Vec::new(), vec![7u8; 64 * 1024]);
    loop {
        read_head(&mut reader, &mut head)?;
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        if text.contains("upgrade: websocket") {
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
            );
            writer.write_all(answer.as_bytes())?;
            return echo(reader, writer);
        }
        if text.lines().next().is_some_and(|line| line.contains("/large ")) {
            write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")?;
            for _ in 0..LARGE / chunk.len() {
                writer.write_all(&chunk)?;
            }
        } else {
            // Without the two headers the measurement would be of something else.
            let through = !text.contains("x-through-proxy") || text.contains("cf-access-client-secret: ");
            let status = if through { "200 OK" } else { "500 No Credentials" };
            writer.write_all(
                format!(
                    "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"
                )
                .as_bytes(),
            )?;
        }
    }
}

fn echo(mut reader: impl Read, mut writer: TcpStream) -> io::Result<()> {
    let mut data = Vec::new();
    loop {
        read_frame(&mut reader, &mut data)?;
        writer.write_all(&super::client::frame(&data, false))?;
    }
}
