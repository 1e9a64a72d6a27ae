//! What a session costs that says nothing.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::super::peers::resident;
use super::programs::Program;
use crate::run::check;

const SESSIONS: usize = 2000;
/// Opened before the first look, for what a server sets up once.
const FIRST: usize = 50;
/// For garbage to be collected and sockets to be handed over.
const SETTLE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

/// Sets the soft limit of this process, often 1024, from which servers inherit theirs.
pub(crate) fn allow_many_sockets() -> anyhow::Result<()> {
    check(Command::new("prlimit").args([
        "--pid",
        &std::process::id().to_string(),
        &format!("--nofile={}:", 2 * SESSIONS),
    ]))
}

/// Resident memory that a server of its own gains by each idle session, kB.
pub(crate) fn session_memory(program: &Program) -> anyhow::Result<f64> {
    let server = program.start()?;
    let _first = open(server.address, FIRST)?;
    thread::sleep(SETTLE);
    let before = resident(server.id())?;
    let _idle = open(server.address, SESSIONS)?;
    thread::sleep(SETTLE);
    Ok((resident(server.id())? - before) / SESSIONS as f64 / 1e3)
}

fn open(address: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    (0..count).map(|_| session(address)).collect()
}

fn session(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .as_bytes(),
    )?;
    let (mut reader, mut line) = (BufReader::new(&stream), String::new());
    reader.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 101 ") {
        return Err(io::Error::other(format!("no WebSocket but {line:?}")));
    }
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    drop(reader);
    Ok(stream)
}
