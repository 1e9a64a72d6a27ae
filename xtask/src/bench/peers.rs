//! The two proxies under measurement, as processes.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::client::Target;
use crate::run::{cargo, check, target, works};

/// A running proxy; killed when dropped.
pub(crate) struct Peer {
    child: Child,
    pub(crate) target: Target,
    /// From start to ready for a connection.
    pub(crate) ready: Duration,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        // nginx's master takes its worker along on SIGTERM and not on SIGKILL.
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let patience = Instant::now() + Duration::from_secs(5);
        while Instant::now() < patience {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    /// The process and its children.
    fn processes(&self) -> Vec<u32> {
        let pid = self.child.id();
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        std::iter::once(pid)
            .chain(children.split_whitespace().filter_map(|pid| pid.parse().ok()))
            .collect()
    }

    /// Puts all of it on some cores.
    pub(crate) fn pin(&self, cores: &str) -> anyhow::Result<()> {
        self.processes().into_iter().try_for_each(|pid| pin(pid, cores))
    }

    /// Resident memory of the process and its children, MB.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        let mut total = 0.0;
        for pid in self.processes() {
            total += resident(pid)? / 1e6;
        }
        Ok(total)
    }
}

/// Resident memory of a process, bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("read the memory of process {pid}"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS in status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? * 1024.0)
}

/// Puts every thread of a process on some cores; what it starts later follows.
pub(crate) fn pin(pid: u32, cores: &str) -> anyhow::Result<()> {
    let output = Command::new("taskset")
        .args(["-a", "-c", "-p", cores, &pid.to_string()])
        .output()
        .context("start taskset")?;
    if !output.status.success() {
        bail!(
            "pin process {pid} to core {cores}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Builds the program as users get it.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    check(&mut cargo([
        "build",
        "--release",
        "--quiet",
        "--package",
        "bowline",
    ]))?;
    Ok(target()?.join("release/bowline"))
}

/// Starts `bowline connect`.
pub(crate) fn bowline(program: &Path, upstream: &str) -> anyhow::Result<Peer> {
    let mut command = Command::new(program);
    command
        .args(["connect", "--json", "--remote", upstream])
        .env("CLOUDFLARE_ACCESS_CLIENT_ID", "bench.access")
        .env("CLOUDFLARE_ACCESS_CLIENT_SECRET", "bench-secret");
    announced(command)
}

/// Starts a command of `bowline` that says its URL in one line of JSON.
pub(crate) fn announced(mut command: Command) -> anyhow::Result<Peer> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    let mut line = String::new();
    let out = child.stdout.take().context("no standard output")?;
    let read = BufReader::new(out).read_line(&mut line);
    let ready = start.elapsed();
    // From here on the child ends with the value, whatever the line says.
    let mut peer = Peer {
        child,
        target: Target {
            address: ([127, 0, 0, 1], 0).into(),
            path: "/".into(),
            proxied: true,
        },
        ready,
    };
    read?;
    let said: serde_json::Value = serde_json::from_str(&line).with_context(|| format!("read {line:?}"))?;
    let url = said["url"]
        .as_str()
        .and_then(|url| url.strip_prefix("http://"))
        .context("no url in the ready line")?;
    let (address, path) = url.split_once('/').context("no path in the url")?;
    peer.target.address = address.parse()?;
    peer.target.path = format!("/{path}");
    Ok(peer)
}

/// nginx's program, which Debian puts where only root looks.
pub(crate) fn nginx_program() -> anyhow::Result<&'static str> {
    for program in ["nginx", "/usr/sbin/nginx"] {
        if works(program, &["-v"]) {
            return Ok(program);
        }
    }
    bail!("nginx is not installed")
}

/// Starts an nginx that adds the two headers and does nothing else: one worker, no log, pooled upstream connections.
pub(crate) fn nginx(program: &str, folder: &Path, upstream: SocketAddr) -> anyhow::Result<Peer> {
    // nginx cannot take port 0; it is told one that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let home = folder.display();
    let config = format!(
        "daemon off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 100000000; client_max_body_size 0;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  map $http_upgrade $upgraded {{ default upgrade; '' ''; }}
  upstream remote {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen {address};
    location / {{
      proxy_pass http://remote; proxy_http_version 1.1; proxy_max_temp_file_size 0;
      proxy_set_header Host {upstream}; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $upgraded;
      proxy_set_header CF-Access-Client-Id bench.access; proxy_set_header CF-Access-Client-Secret bench-secret;
    }}
  }}
}}
"
    );
    start_nginx(program, folder, address, &config)
}

/// Starts an nginx with a configuration that has it listen on `address`.
pub(crate) fn start_nginx(
    program: &str,
    folder: &Path,
    address: SocketAddr,
    config: &str,
) -> anyhow::Result<Peer> {
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config)?;
    let mut command = Command::new(program);
    command
        .arg("-c")
        .arg(&file)
        .arg("-e")
        .arg(folder.join("error.log"));
    listening(command, address)
        .with_context(|| std::fs::read_to_string(folder.join("error.log")).unwrap_or_default())
}

/// Starts a server that was told to listen on `address`, and waits until it does.
pub(crate) fn listening(mut command: Command, address: SocketAddr) -> anyhow::Result<Peer> {
    let start = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    let mut peer = Peer {
        child,
        target: Target {
            address,
            path: "/".into(),
            proxied: true,
        },
        ready: Duration::ZERO,
    };
    while TcpStream::connect(address).is_err() {
        if start.elapsed() > Duration::from_secs(5) || matches!(peer.child.try_wait(), Ok(Some(_))) {
            bail!("{command:?} does not listen");
        }
        thread::sleep(Duration::from_micros(200));
    }
    peer.ready = start.elapsed();
    Ok(peer)
}
