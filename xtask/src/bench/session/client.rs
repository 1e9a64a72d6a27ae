//! What measures one connector, inside `bowline edge run`: through the connection string that it gives, over plain blocking
//! sockets. After a pause as long as a line, Node's `fetch` alone takes three milliseconds, more than either connector.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message};

use super::super::client::read_head;
use super::super::peers::resident;

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a connector may take to come back.
const RECOVERY: Duration = Duration::from_secs(120);
/// Calls of which latencies are told.
const CALLS: usize = 100;
/// Calls before them.
const WARM_UP: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    /// Seconds for which the API is out at the end.
    #[arg(long)]
    outage: u64,
    /// The connector, which prints `{"ready":true,"url":…}`.
    #[arg(last = true, required = true)]
    connector: Vec<OsString>,
}

/// Prints what was measured, in one line.
pub(crate) fn run(args: &ClientArgs) -> anyhow::Result<()> {
    let control = Control::from_env()?;
    let start = Instant::now();
    let connector = Connector::start(&args.connector)?;
    let ready = ms(start);
    let mut bindings = Bindings::at(&connector.url)?;
    bindings.answered_query()?;
    let first = ms(start);
    let memory = memory(connector.child.id())?;
    let fetch = latencies(|| bindings.answered_query())?;
    let rpc = latencies(|| bindings.call())?;
    let connections = control.connections()?;
    for _ in 0..100 {
        bindings.call()?;
    }
    let sockets = control.connections()? - connections;
    control.ask("POST", "/expire/previews", "")?;
    let expiry = bindings.recovered()?;
    let mut measured = json!({
        "ready": ready, "first": first, "memory": memory, "fetch": fetch, "rpc": rpc, "sockets": sockets, "expiry": expiry,
    });
    if args.outage > 0 {
        control.ask("PUT", "/faults", "api:status=503")?;
        control.ask("POST", "/expire/previews", "")?;
        let over = Instant::now() + Duration::from_secs(args.outage);
        while Instant::now() < over {
            // It fails, as it is to.
            let _ = bindings.query();
            thread::sleep(Duration::from_secs(1));
        }
        control.ask("PUT", "/faults", "")?;
        measured["outage"] = json!(bindings.recovered()?);
    }
    println!("measured {measured}");
    Ok(())
}

fn ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn latencies(mut what: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Value> {
    let mut all = Vec::with_capacity(CALLS);
    for turn in 0..CALLS + WARM_UP {
        let start = Instant::now();
        what()?;
        if turn >= WARM_UP {
            all.push(ms(start));
        }
    }
    all.sort_by(f64::total_cmp);
    Ok(json!({"p50": all[CALLS / 2], "p99": all[CALLS * 99 / 100]}))
}

/// Resident memory of a process and all below it, MB.
fn memory(pid: u32) -> anyhow::Result<f64> {
    let mut total = resident(pid)? / 1e6;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while we look.
        let children = std::fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            total += memory(child.parse()?)?;
        }
    }
    Ok(total)
}

/// A running connector; ended when dropped.
struct Connector {
    child: Child,
    url: String,
}

impl Connector {
    fn start(command: &[OsString]) -> anyhow::Result<Self> {
        let (program, arguments) = command.split_first().context("no connector")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let out = child.stdout.take().context("no standard output")?;
        let mut connector = Self {
            child,
            url: String::new(),
        };
        // Read to the end, so that what it says later does not fill the pipe.
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if line.starts_with('{') {
                    let _ = tell.send(line);
                }
            }
        });
        let line = told
            .recv_timeout(PATIENCE)
            .with_context(|| format!("{} did not become ready", program.display()))?;
        let said: Value = serde_json::from_str(&line).with_context(|| format!("read {line:?}"))?;
        said["url"]
            .as_str()
            .context("no url in the ready line")?
            .clone_into(&mut connector.url);
        Ok(connector)
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Address and path of a URL.
fn parts(url: &str) -> anyhow::Result<(SocketAddr, String)> {
    let rest = url.strip_prefix("http://").context("no http:// URL")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = authority.replace("localhost", "127.0.0.1").parse()?;
    Ok((address, format!("/{path}")))
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads an answer: its status and its body.
fn answer(reader: &mut impl BufRead) -> anyhow::Result<(u16, Vec<u8>)> {
    let mut head = Vec::new();
    read_head(reader, &mut head)?;
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let mut body = Vec::new();
    if let Some(length) = header("content-length:") {
        body.resize(length.trim().parse()?, 0);
        reader.read_exact(&mut body)?;
    } else {
        ensure!(
            header("transfer-encoding:").is_some(),
            "an answer without a length"
        );
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let length =
                usize::from_str_radix(line.trim(), 16).with_context(|| format!("a chunk of {line:?}"))?;
            let start = body.len();
            // With the line's end after it.
            body.resize(start + length + 2, 0);
            reader.read_exact(&mut body[start..])?;
            body.truncate(start + length);
            if length == 0 {
                break;
            }
        }
    }
    Ok((status, body))
}

/// The bindings behind one connector.
struct Bindings {
    address: SocketAddr,
    path: String,
    kept: Option<BufReader<TcpStream>>,
}

impl Bindings {
    fn at(url: &str) -> anyhow::Result<Self> {
        let (address, path) = parts(url)?;
        Ok(Self {
            address,
            path,
            kept: None,
        })
    }

    /// A query, on a connection that is kept; the status of its answer.
    fn query(&mut self) -> anyhow::Result<u16> {
        let mut reader = match self.kept.take() {
            Some(reader) => reader,
            None => BufReader::new(connect(self.address)?),
        };
        let body = r#"{"sql":"SELECT 1","params":[]}"#;
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nMF-Binding: DB\r\nMF-URL: http://d1/query\r\n\
             MF-Header-content-type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.path,
            self.address,
            body.len()
        );
        reader.get_mut().write_all(request.as_bytes())?;
        let (status, _) = answer(&mut reader)?;
        self.kept = Some(reader);
        Ok(status)
    }

    /// A query that has to succeed: a refusal's time is not an answer's.
    fn answered_query(&mut self) -> anyhow::Result<()> {
        let status = self.query()?;
        ensure!(status == 200, "a query was answered with {status}");
        Ok(())
    }

    /// One method called, on a WebSocket of its own, as a client in workerd does it.
    fn call(&self) -> anyhow::Result<()> {
        let mark = if self.path.contains('?') { '&' } else { '?' };
        let url = format!("ws://{}{}{mark}MF-Binding=ART", self.address, self.path);
        let (mut socket, _) = tungstenite::client(url, connect(self.address)?)
            .map_err(|error| anyhow::anyhow!("upgrade: {error}"))?;
        socket.write(Message::text(r#"["push",["pipeline",0,["list"],[]]]"#))?;
        socket.send(Message::text(r#"["pull",1]"#))?;
        let told = socket.read()?;
        let message: Value = serde_json::from_str(told.to_text()?)?;
        ensure!(message[0] == "resolve" && message[1] == 1, "{message}");
        socket.close(None)?;
        Ok(())
    }

    /// The time until queries are answered again.
    fn recovered(&mut self) -> anyhow::Result<f64> {
        let start = Instant::now();
        while self.answered_query().is_err() {
            ensure!(start.elapsed() < RECOVERY, "the connector did not recover");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(ms(start))
    }
}

/// The stand-in's control interface.
struct Control {
    address: SocketAddr,
    path: String,
    token: String,
}

impl Control {
    fn from_env() -> anyhow::Result<Self> {
        let variable =
            |name| std::env::var(name).with_context(|| format!("{name}: run inside `bowline edge run`"));
        let (address, path) = parts(&variable("BOWLINE_EDGE_CONTROL")?)?;
        Ok(Self {
            address,
            path,
            token: variable("CLOUDFLARE_API_TOKEN")?,
        })
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
        let mut reader = BufReader::new(connect(self.address)?);
        let (base, token, length) = (self.path.trim_end_matches('/'), &self.token, body.len());
        let request = format!(
            "{method} {base}{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n{body}",
            self.address
        );
        reader.get_mut().write_all(request.as_bytes())?;
        let (status, said) = answer(&mut reader)?;
        ensure!(
            status == 200,
            "{method} {path}: {status} {}",
            String::from_utf8_lossy(&said)
        );
        Ok(serde_json::from_slice(&said)?)
    }

    /// Connections that the edge has taken so far.
    fn connections(&self) -> anyhow::Result<u64> {
        let told = self.ask("GET", "", "")?;
        told["connections"].as_u64().context("a count of connections")
    }
}
