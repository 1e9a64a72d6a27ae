//! The gate's decision by itself, and `bowline access gateway` in front of a trivial origin against nginx that asks a
//! trivial checker (`auth_request`) about every request, and against no gate at all.
//!
//! The checker compares two header values and no more: no policies, no tokens for the origin, no audit log. Rounds are
//! interleaved, so that what else the machine does falls on all alike.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use super::client::{read_answer, read_head};
use super::peers::{self, Peer};
use super::{Goal, Row, interleave, median, upstream};
use crate::run::{cargo, debian};

/// Rounds of each load; each goes to all three targets in turn.
const ROUNDS: usize = 15;
/// Latencies per target and round.
const CALLS: usize = 500;
/// Connections at a time under load.
const CONNECTIONS: usize = 16;
/// How long a round of load lasts.
const LENGTH: Duration = Duration::from_millis(300);
/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The application's host.
const HOST: &str = "app.example.com";

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    debian(&[("nginx", "nginx-light")])?;
    let mut rows = decisions()?;
    let (program, nginx) = (peers::build()?, peers::nginx_program()?);
    let folder = tempfile::tempdir().context("make a folder")?;
    let origin = upstream::start()?;
    let (id, secret) = prepare(&program, folder.path())?;
    let mut command = Command::new(&program);
    command
        .args([
            "access",
            "gateway",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--origin",
        ])
        .arg(format!("http://{origin}"))
        .arg("--state")
        .arg(folder.path().join("state"));
    let ours = peers::announced(command)?;
    let checker = checker(&id, &secret)?;
    let theirs = auth_request(nginx, folder.path(), origin, checker)?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nCF-Access-Client-Id: {id}\r\nCF-Access-Client-Secret: {secret}\r\n\r\n"
    );
    let load = Load(request.into_bytes());
    let targets = [ours.target.address, theirs.target.address, origin];
    for (address, what) in [(targets[0], "the gateway"), (targets[1], "nginx")] {
        load.refused(address)
            .with_context(|| format!("{what} lets everybody in"))?;
    }
    let latency = interleave(ROUNDS, targets, |address| load.latencies(address)).context("latency")?;
    rows.extend(compare("gateway, p50 of a request", "µs", latency));
    let rate = interleave(ROUNDS, targets, |address| load.rate(address)).context("throughput")?;
    rows.extend(compare("gateway, throughput, 16 connections", "req/s", rate));
    rows.push(Row {
        row: "gateway, resident memory after the load".into(),
        peer: "nginx",
        ours: ours.memory()?,
        theirs: theirs.memory()?,
        unit: "MB",
        goal: Goal::None,
    });
    Ok(rows)
}

/// What the gate takes from a request's head to its permit, and a compare of secrets by itself, measured in process.
fn decisions() -> anyhow::Result<Vec<Row>> {
    let output = cargo([
        "bench",
        "--quiet",
        "--package",
        "bowline-gateway",
        "--bench",
        "decision",
    ])
    .stderr(std::process::Stdio::inherit())
    .output()
    .context("start cargo bench")?;
    if !output.status.success() {
        bail!("the decision's measurement ended with {}", output.status);
    }
    let took: Value = serde_json::from_slice(&output.stdout).context("read the decision's measurement")?;
    let took = |name: &str| took[name].as_f64().context("a measurement is missing");
    let mut rows = Vec::new();
    for (name, what) in [
        ("origin", "with a token for the origin"),
        ("bindings", "in front of bindings"),
    ] {
        rows.push(Row {
            row: format!("decision, service token, warm, {what}"),
            peer: "goal",
            ours: took(name)?,
            theirs: 5.0,
            unit: "µs",
            goal: Goal::Below(5.0),
        });
    }
    // Alike, or a secret could be guessed character by character.
    rows.push(Row {
        row: "compare of a secret, wrong in its first character".into(),
        peer: "in its last",
        ours: took("wrong_first")?,
        theirs: took("wrong_last")?,
        unit: "µs",
        goal: Goal::None,
    });
    Ok(rows)
}

/// Makes a token, an application and its policy; the token's client id and secret.
fn prepare(program: &Path, folder: &Path) -> anyhow::Result<(String, String)> {
    let access = |arguments: &[&str]| -> anyhow::Result<Value> {
        let output = Command::new(program)
            .arg("access")
            .args(arguments)
            .arg("--json")
            .arg("--state")
            .arg(folder.join("state"))
            .output()
            .context("start bowline")?;
        if !output.status.success() {
            bail!(
                "access {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        serde_json::from_slice(&output.stdout).context("read its document")
    };
    let token = access(&["token", "create", "bench"])?;
    access(&["app", "create", "app", "--domain", HOST])?;
    access(&[
        "policy",
        "create",
        "machines",
        "--app",
        "app",
        "--include",
        "service_token=bench",
    ])?;
    let text = |name: &str| {
        token[name]
            .as_str()
            .map(str::to_owned)
            .context("a token has both parts")
    };
    Ok((text("client_id")?, text("client_secret")?))
}

/// Answers 200 to requests with the credentials, and 403 to others.
fn checker(id: &str, secret: &str) -> io::Result<SocketAddr> {
    let wanted = [
        format!("cf-access-client-id: {id}\r\n"),
        format!("cf-access-client-secret: {secret}\r\n").to_ascii_lowercase(),
    ];
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let wanted = wanted.clone();
            thread::spawn(move || -> io::Result<()> {
                stream.set_nodelay(true)?;
                let mut writer = stream.try_clone()?;
                let (mut reader, mut head) = (BufReader::new(stream), Vec::new());
                loop {
                    read_head(&mut reader, &mut head)?;
                    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
                    let status = if wanted.iter().all(|line| text.contains(line)) {
                        "200 OK"
                    } else {
                        "403 Forbidden"
                    };
                    write!(writer, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")?;
                }
            });
        }
    });
    Ok(address)
}

/// Starts an nginx that asks the checker about every request: one worker, no log, pooled connections to both.
fn auth_request(
    program: &str,
    folder: &Path,
    origin: SocketAddr,
    checker: SocketAddr,
) -> anyhow::Result<Peer> {
    // nginx cannot take port 0; it is told one that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let home = folder.display();
    let config = format!(
        "daemon off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 100000000;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  upstream origin {{ server {origin}; keepalive 64; keepalive_requests 100000000; }}
  upstream checker {{ server {checker}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen {address};
    location = /check {{
      internal; proxy_pass http://checker; proxy_http_version 1.1; proxy_set_header Connection '';
      proxy_pass_request_body off; proxy_set_header Content-Length '';
    }}
    location / {{
      auth_request /check;
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host;
      proxy_set_header CF-Access-Client-Id ''; proxy_set_header CF-Access-Client-Secret '';
    }}
  }}
}}
"
    );
    peers::start_nginx(program, folder, address, &config)
}

/// One request, again and again.
struct Load(Vec<u8>);

impl Load {
    fn connect(address: SocketAddr) -> io::Result<(BufReader<TcpStream>, TcpStream)> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok((BufReader::new(stream.try_clone()?), stream))
    }

    /// Fails unless a request without credentials is refused.
    fn refused(&self, address: SocketAddr) -> anyhow::Result<()> {
        let (mut reader, mut writer) = Self::connect(address)?;
        write!(writer, "GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")?;
        let mut head = Vec::new();
        read_head(&mut reader, &mut head)?;
        if !head.starts_with(b"HTTP/1.1 403 ") {
            bail!("{}", String::from_utf8_lossy(&head));
        }
        Ok(())
    }

    /// Latencies of requests on one connection, one after the other, µs.
    fn latencies(&self, address: SocketAddr) -> io::Result<Vec<f64>> {
        let (mut reader, mut writer) = Self::connect(address)?;
        let (mut head, mut body, mut latencies) = (Vec::new(), Vec::new(), Vec::with_capacity(CALLS));
        // The first few open connections and warm caches.
        for turn in 0..CALLS + 20 {
            let start = Instant::now();
            writer.write_all(&self.0)?;
            read_answer(&mut reader, &mut head, &mut body)?;
            if turn >= 20 {
                latencies.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        Ok(latencies)
    }

    /// Requests per second over several connections.
    fn rate(&self, address: SocketAddr) -> io::Result<Vec<f64>> {
        let start = Instant::now();
        let done = thread::scope(|scope| {
            let workers: Vec<_> = (0..CONNECTIONS)
                .map(|_| {
                    scope.spawn(|| -> io::Result<usize> {
                        let (mut reader, mut writer) = Self::connect(address)?;
                        let (mut head, mut body, mut done) = (Vec::new(), Vec::new(), 0);
                        while start.elapsed() < LENGTH {
                            writer.write_all(&self.0)?;
                            read_answer(&mut reader, &mut head, &mut body)?;
                            done += 1;
                        }
                        Ok(done)
                    })
                })
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().map_err(|_| io::Error::other("a client panicked"))?)
                .sum::<io::Result<usize>>()
        })?;
        Ok(vec![done as f64 / start.elapsed().as_secs_f64()])
    }
}

fn compare(name: &str, unit: &'static str, [ours, nginx, direct]: [Vec<f64>; 3]) -> Vec<Row> {
    let ours = median(ours);
    let row = |peer, theirs| Row {
        row: name.to_owned(),
        peer,
        ours,
        theirs,
        unit,
        goal: Goal::None,
    };
    vec![row("nginx", median(nginx)), row("none", median(direct))]
}
