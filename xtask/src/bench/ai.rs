//! Workers AI through the whole line (`bowline connect` → `bowline serve` → a model server) against straight at the
//! model server, AI Gateway against the model itself, and embedded models against a bare program.
//!
//! All calls of a round go to all targets in turn, so that what else the machine does falls on all alike. The model
//! server costs next to nothing, so that what is seen is the line.

mod models;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bowline_model_server::ModelServer;
use serde_json::{Value, json};

use self::models::Models;
use super::{Goal, Row, median};
use crate::run::target;

/// Calls to each target, after some that warm up.
const CALLS: usize = 300;
const WARM: usize = 20;
/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let program = target()?.join("release/bowline");
    let models = Models::prepare(&program)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("start a runtime")?;
    let server = runtime
        .block_on(ModelServer::start())
        .context("start the model server")?;
    let folder = tempfile::tempdir().context("make a folder")?;
    configure(folder.path(), &server, models.is_some())?;
    let serve = Program::start(
        Command::new(&program)
            .args([
                "serve",
                "--json",
                "--listen",
                "127.0.0.1:0",
                "--access",
                "off",
                "--config",
                ".",
            ])
            .env("RAYON_NUM_THREADS", "1")
            .current_dir(folder.path()),
    )?;
    let connect = Program::start(
        Command::new(&program)
            .args(["connect", "--json", "--remote", &serve.url])
            .current_dir(folder.path()),
    )?;

    let chat = |stream: bool| json!({"model": "echo", "messages": [{"role": "user", "content": "hi"}], "stream": stream});
    let straight = Target::new(server.address(), "/v1/chat/completions");
    let line = Target::of(&connect.url)?;
    let stream = json!({"inputs": {"prompt": "hi", "stream": true}, "options": {}});
    let whole = json!({"inputs": {"prompt": "hi"}, "options": {}});
    let by_gateway = |more: Value| {
        let mut gateway = json!({"id": "gw"});
        if let (Some(gateway), Value::Object(more)) = (gateway.as_object_mut(), more) {
            gateway.extend(more);
        }
        json!({"inputs": {"prompt": "hi"}, "options": {"gateway": gateway}})
    };
    let run = |path: &str, body: &Value| Call::wrapped(&line, path, body);
    let calls = [
        Call::new(&straight, &[], &chat(true)),
        run("run", &stream),
        Call::new(&straight, &[], &chat(false)),
        run("run", &whole),
        run("ai-gateway/run", &by_gateway(json!({"skipCache": true}))),
        run(
            "ai-gateway/run",
            &by_gateway(json!({"cacheTtl": 600, "cacheKey": "bench"})),
        ),
    ];
    let mut samples: [Vec<f64>; 6] = Default::default();
    let mut connections = Vec::new();
    for call in &calls {
        connections.push(Connection::open(call.target)?);
    }
    for turn in 0..CALLS + WARM {
        for (which, call) in calls.iter().enumerate() {
            let taken = connections[which].first_byte(&call.bytes)?;
            if turn >= WARM {
                samples[which].push(taken.as_secs_f64() * 1000.0);
            }
        }
    }
    let [direct_stream, line_stream, direct, whole, logged, hit] = samples.map(median);
    let row = |row: &str, peer, ours, theirs, goal| Row {
        row: row.into(),
        peer,
        ours,
        theirs,
        unit: "ms",
        goal,
    };
    let mut rows = vec![
        row(
            "first streamed token, p50",
            "straight",
            line_stream,
            direct_stream,
            Goal::None,
        ),
        row(
            "first streamed token, added",
            "straight",
            line_stream - direct_stream,
            direct_stream,
            Goal::Below(3.0),
        ),
        row("whole answer, p50", "straight", whole, direct, Goal::None),
        row("gateway, logged, p50", "no gateway", logged, whole, Goal::None),
        row(
            "gateway, logged, added",
            "no gateway",
            logged - whole,
            whole,
            Goal::None,
        ),
        row("gateway, kept answer, p50", "no gateway", hit, whole, Goal::None),
    ];
    if let Some(models) = models {
        rows.extend(models.rows(&line)?);
    }
    Ok(rows)
}

fn configure(folder: &std::path::Path, server: &ModelServer, models: bool) -> anyhow::Result<()> {
    let wrangler = json!({"name": "bench", "compatibility_date": "2026-07-01", "ai": {"binding": "AI"}});
    let mut entry = json!({
        "backends": {"server": {"type": "openai", "url": server.openai()}},
        "models": {"@cf/echo": {"backend": "server", "model": "echo", "task": "text-generation"}},
        "gateways": {"gw": {}},
    });
    if models {
        Models::configure(&mut entry);
    }
    let bowline = json!({"bindings": {"AI": entry}});
    for (name, content) in [("wrangler.jsonc", wrangler), ("bowline.jsonc", bowline)] {
        std::fs::write(folder.join(name), content.to_string()).with_context(|| format!("write {name}"))?;
    }
    Ok(())
}

/// A running `bowline`; killed when dropped.
struct Program {
    child: Child,
    url: String,
}

impl Program {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let out = child.stdout.take().context("no standard output")?;
        // From here on the child ends with the value.
        let mut program = Self {
            child,
            url: String::new(),
        };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let ready: Value =
            serde_json::from_str(&line).with_context(|| format!("{command:?} said `{line}`"))?;
        program.url = ready["url"].as_str().context("no url")?.to_owned();
        Ok(program)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Target {
    address: SocketAddr,
    path: String,
}

impl Target {
    fn new(address: SocketAddr, path: &str) -> Self {
        Self {
            address,
            path: path.to_owned(),
        }
    }

    /// A connection string.
    fn of(url: &str) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("http://").context("no http URL")?;
        let (address, path) = rest.split_once('/').context("no path")?;
        Ok(Self::new(address.parse()?, &format!("/{path}")))
    }
}

struct Call<'a> {
    target: &'a Target,
    bytes: Vec<u8>,
}

impl<'a> Call<'a> {
    fn new(target: &'a Target, headers: &[(&str, &str)], body: &Value) -> Self {
        let body = body.to_string();
        let more: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let bytes = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{more}\r\n{body}",
            target.path,
            target.address,
            body.len()
        );
        Self {
            target,
            bytes: bytes.into_bytes(),
        }
    }

    /// As the client in workerd sends it through the line.
    fn wrapped(target: &'a Target, path: &str, body: &Value) -> Self {
        Self::wrapped_for(target, path, "@cf/echo", body)
    }

    fn wrapped_for(target: &'a Target, path: &str, model: &str, body: &Value) -> Self {
        let url = format!("https://workers-binding.ai/{path}?version=3");
        let headers = [
            ("MF-Binding", "AI"),
            ("MF-URL", url.as_str()),
            ("MF-Header-content-type", "application/json"),
            ("MF-Header-cf-consn-model-id", model),
        ];
        Self::new(target, &headers, body)
    }
}

struct Connection {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Connection {
    fn open(target: &Target) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            reader: BufReader::new(stream.try_clone()?),
            writer: stream,
        })
    }

    /// Sends a call and waits for the first byte of the answer's body; then reads the rest.
    fn first_byte(&mut self, call: &[u8]) -> anyhow::Result<Duration> {
        Ok(self.exchange(call)?.0)
    }

    /// Sends a call and gives the answer's body.
    fn whole(&mut self, call: &[u8]) -> anyhow::Result<Vec<u8>> {
        Ok(self.exchange(call)?.1)
    }

    fn exchange(&mut self, call: &[u8]) -> anyhow::Result<(Duration, Vec<u8>)> {
        let start = Instant::now();
        self.writer.write_all(call)?;
        let (mut line, mut length, mut ok) = (String::new(), None, false);
        loop {
            line.clear();
            if self.reader.read_line(&mut line)? == 0 {
                bail!("the connection ended");
            }
            let head = line.trim_end().to_ascii_lowercase();
            if head.is_empty() {
                break;
            }
            ok |= head.starts_with("http/1.1 200");
            length = length.or(head
                .strip_prefix("content-length:")
                .and_then(|length| length.trim().parse::<usize>().ok()));
        }
        if !ok {
            bail!("an answer is no success");
        }
        self.reader.fill_buf()?;
        let taken = start.elapsed();
        let body = match length {
            Some(length) => {
                let mut body = vec![0; length];
                self.reader.read_exact(&mut body)?;
                body
            }
            None => self.chunks()?,
        };
        Ok((taken, body))
    }

    fn chunks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let size =
                usize::from_str_radix(line.trim(), 16).with_context(|| format!("`{line}` is no chunk"))?;
            let mut chunk = vec![0; size + 2];
            self.reader.read_exact(&mut chunk)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
}
