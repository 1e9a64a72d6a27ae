//! One exchange with a git client: a git process between the request's body and the response's.
//!
//! ```text
//! request body ─▶ (gunzip) ─▶ stdin  ┐
//!                                    │ git upload-pack | receive-pack --stateless-rpc
//! response body ◀── channel ◀ stdout ┘
//! ```
//!
//! The process is a task of its own. When the client goes away, the pipes close and git is given a moment to end by
//! itself: killed at once, `receive-pack` would leave lock files behind.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bowline_binding::{Body, BoxError};
use bytes::{Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::git::bounded;
use crate::namespace::Namespace;

/// Chunks on their way to the client.
const QUEUED: usize = 4;
const CHUNK: usize = 64 * 1024;
/// Compressed bytes that are inflated in one go: deflate makes at most about a thousand times as many of them.
const INFLATE: usize = 4 * 1024;
/// What a fetch may ask for: names of what the client has and wants.
const LARGEST_FETCH_REQUEST: u64 = 64 * 1024 * 1024;
/// How long git may take to end once its pipes are closed.
const END: Duration = Duration::from_secs(15);
/// A lock of a ref is held for milliseconds. One of this age belongs to a process that was killed.
const DEAD_LOCK: Duration = Duration::from_secs(600);

/// Which of git's two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Clone and fetch.
    UploadPack,
    /// Push.
    ReceivePack,
}

impl Service {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "git-upload-pack" => Some(Self::UploadPack),
            "git-receive-pack" => Some(Self::ReceivePack),
            _ => None,
        }
    }

    /// As in URLs and media types, without `git-`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "upload-pack",
            Self::ReceivePack => "receive-pack",
        }
    }
}

/// What a client asked for.
pub(crate) struct Exchange {
    pub(crate) service: Service,
    /// The repository's id.
    pub(crate) repo: String,
    /// The value for `GIT_PROTOCOL`.
    pub(crate) protocol: Option<String>,
    /// A body and whether it is gzip; `None` asks for the advertisement of refs.
    pub(crate) body: Option<(Body, bool)>,
    pub(crate) turn: OwnedSemaphorePermit,
}

/// Why an exchange did not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("run git")]
    Start(#[source] std::io::Error),
    #[error("the repository has reached its size of {0} bytes")]
    Full(u64),
}

impl Exchange {
    /// Starts git and gives the response's body.
    pub(crate) async fn start(self, namespace: &Arc<Namespace>) -> Result<Body, ExchangeError> {
        let folder = namespace.repo_folder(&self.repo);
        let limits = &namespace.config.limits;
        let mut command = namespace.git.command();
        let (mut prefix, mut most) = (Bytes::new(), LARGEST_FETCH_REQUEST);
        match (self.service, &self.body) {
            (Service::ReceivePack, Some(_)) => {
                let measured = folder.clone();
                let size = tokio::task::spawn_blocking(move || {
                    clear_dead_locks(&measured);
                    crate::git::size(&measured)
                });
                let left = limits.repo_bytes.saturating_sub(size.await.unwrap_or(0));
                if left == 0 {
                    return Err(ExchangeError::Full(limits.repo_bytes));
                }
                command.arg("-c").arg(format!("receive.maxInputSize={left}"));
                // Commands and options come before the pack and are not counted by git.
                most = left.saturating_add(LARGEST_FETCH_REQUEST);
            }
            (_, None) => {
                let v2 = self.protocol.as_deref().is_some_and(is_version_2);
                if !(v2 && self.service == Service::UploadPack) {
                    prefix = announcement(self.service);
                }
            }
            _ => {}
        }
        // Partial clones ask for less than whole ones.
        command.args(["-c", "uploadpack.allowFilter=true"]);
        command.args([self.service.name(), "--stateless-rpc"]);
        if self.body.is_none() {
            command.arg("--advertise-refs");
        }
        if let Some(protocol) = &self.protocol {
            command.env("GIT_PROTOCOL", protocol);
        }
        command
            .arg(&folder)
            .stdin(if self.body.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().map_err(ExchangeError::Start)?;
        let (to_client, chunks) = mpsc::channel(QUEUED);
        let running = Running {
            namespace: Arc::clone(namespace),
            child,
            most,
            // A push's last words wait until the push is noted.
            push: (self.service == Service::ReceivePack && self.body.is_some()).then_some(self.repo),
            to_client,
            moved: AtomicU64::new(0),
            _turn: self.turn,
        };
        tokio::spawn(running.run(prefix, self.body));
        let chunks = stream::unfold(chunks, async |mut chunks| {
            let chunk: Result<Bytes, BoxError> = chunks.recv().await?;
            Some((chunk.map(Frame::data), chunks))
        });
        Ok(StreamBody::new(chunks).boxed_unsync())
    }
}

/// A git process at work.
struct Running {
    namespace: Arc<Namespace>,
    child: Child,
    /// Bytes of the request's body, inflated.
    most: u64,
    push: Option<String>,
    to_client: mpsc::Sender<Result<Bytes, BoxError>>,
    /// Bytes that went either way: what does not grow any more is stuck.
    moved: AtomicU64,
    _turn: OwnedSemaphorePermit,
}

/// How the pipes were done with.
enum Ended {
    /// git closed its output; the last chunk, when it is held back.
    Output(Option<Bytes>),
    ClientGone,
    Stuck(&'static str),
}

impl Running {
    async fn run(mut self, prefix: Bytes, body: Option<(Body, bool)>) {
        let (stdin, stdout, stderr) = (
            self.child.stdin.take(),
            self.child.stdout.take(),
            self.child.stderr.take(),
        );
        let said = tokio::spawn(bounded(stderr));
        let limits = &self.namespace.config.limits;
        let ended = match stdout {
            Some(stdout) => {
                let upload = async {
                    if let (Some(stdin), Some((body, gzip))) = (stdin, body)
                        && let Err(error) = self.feed(body, gzip, stdin).await
                    {
                        tracing::debug!(error = %error, "a git client's request broke off");
                    }
                    // What ends the exchange is git's output.
                    std::future::pending().await
                };
                tokio::select! {
                    ended = self.drain(prefix, stdout) => ended,
                    never = upload => never,
                    () = self.to_client.closed() => Ended::ClientGone,
                    () = self.stuck() => Ended::Stuck("nothing moved for too long"),
                    () = tokio::time::sleep(limits.exchange) => Ended::Stuck("it took too long"),
                }
            }
            None => Ended::Stuck("git has no output"),
        };
        // All pipes but standard error are closed here.
        let status = match tokio::time::timeout(END, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                let _ = self.child.start_kill();
                self.child.wait().await.ok()
            }
        };
        let said = match tokio::time::timeout(END, said).await {
            Ok(Ok(said)) => String::from_utf8_lossy(&said).trim().to_owned(),
            _ => String::new(),
        };
        let succeeded = status.is_some_and(|status| status.success());
        // A push may have been made although its client did not stay to hear of it.
        if let Some(repo) = self.push.take() {
            let noted = self
                .namespace
                .blocking(move |own| Ok(own.catalog.pushed(&repo, own.now())?));
            // Refused: the log has it, and the push itself is on disk.
            let _ = noted.await;
        }
        match ended {
            Ended::Output(last) if succeeded => {
                if let Some(last) = last {
                    let _ = self.to_client.send(Ok(last)).await;
                }
            }
            Ended::Output(last) => {
                tracing::info!(status = ?status, said, "git refused an exchange");
                if let Some(last) = last {
                    let _ = self.to_client.send(Ok(last)).await;
                }
                // git has told its client what is wrong when it could; the connection's end tells the rest.
                let _ = self.to_client.send(Err("git failed".into())).await;
            }
            Ended::ClientGone => tracing::debug!(said, "a git client went away"),
            Ended::Stuck(why) => {
                tracing::warn!(said, "an exchange with a git client was ended: {why}");
                let _ = self.to_client.try_send(Err(why.into()));
            }
        }
    }

    /// From git to the client.
    async fn drain(&self, prefix: Bytes, mut stdout: ChildStdout) -> Ended {
        let mut held = (!prefix.is_empty()).then_some(prefix);
        let mut buffer = BytesMut::with_capacity(CHUNK);
        loop {
            buffer.reserve(CHUNK);
            match stdout.read_buf(&mut buffer).await {
                Ok(read @ 1..) => {
                    self.moved.fetch_add(read as u64, Ordering::Relaxed);
                    let chunk = buffer.split().freeze();
                    // One chunk behind: the last one goes out when git has ended.
                    if let Some(chunk) = held.replace(chunk)
                        && self.to_client.send(Ok(chunk)).await.is_err()
                    {
                        return Ended::ClientGone;
                    }
                }
                Ok(0) | Err(_) => return Ended::Output(held),
            }
        }
    }

    /// From the client to git; standard input is closed at the end.
    async fn feed(&self, mut body: Body, gzip: bool, mut stdin: ChildStdin) -> Result<(), BoxError> {
        let mut inflate = gzip.then(|| MultiGzDecoder::new(Vec::new()));
        let mut left = self.most;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            let Some(inflate) = &mut inflate else {
                self.give(&data, &mut left, &mut stdin).await?;
                continue;
            };
            for part in data.chunks(INFLATE) {
                std::io::Write::write_all(inflate, part)?;
                let plain = std::mem::take(inflate.get_mut());
                self.give(&plain, &mut left, &mut stdin).await?;
            }
        }
        if let Some(inflate) = inflate {
            let rest = inflate.finish()?;
            self.give(&rest, &mut left, &mut stdin).await?;
        }
        Ok(())
    }

    async fn give(&self, data: &[u8], left: &mut u64, stdin: &mut ChildStdin) -> Result<(), BoxError> {
        *left = left
            .checked_sub(data.len() as u64)
            .ok_or("the request is larger than allowed")?;
        for part in data.chunks(CHUNK) {
            stdin.write_all(part).await?;
            self.moved.fetch_add(part.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns when nothing has moved for a while.
    async fn stuck(&self) {
        let mut before = self.moved.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(self.namespace.config.limits.idle).await;
            let now = self.moved.load(Ordering::Relaxed);
            if now == before {
                return;
            }
            before = now;
        }
    }
}

/// The line before the refs of protocol 0 and 1: `# service=git-upload-pack` and a flush.
fn announcement(service: Service) -> Bytes {
    let line = format!("# service=git-{}\n", service.name());
    Bytes::from(format!("{:04x}{line}0000", line.len() + 4))
}

fn is_version_2(protocol: &str) -> bool {
    protocol.split(':').any(|part| part == "version=2")
}

/// Removes locks of refs whose holders were killed; nobody else would, and the ref could not be pushed to again.
fn clear_dead_locks(folder: &std::path::Path) {
    fn walk(folder: PathBuf) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                walk(entry.path());
            } else {
                clear(&entry.path(), &metadata);
            }
        }
    }
    fn clear(path: &std::path::Path, metadata: &std::fs::Metadata) {
        let dead = path.extension().is_some_and(|extension| extension == "lock")
            && metadata.modified().is_ok_and(|modified| {
                SystemTime::now()
                    .duration_since(modified)
                    .is_ok_and(|age| age > DEAD_LOCK)
            });
        if dead {
            tracing::warn!(file = %path.display(), "removing the lock of a git process that was killed");
            let _ = std::fs::remove_file(path);
        }
    }
    for name in ["packed-refs.lock", "HEAD.lock"] {
        let path = folder.join(name);
        if let Ok(metadata) = path.metadata() {
            clear(&path, &metadata);
        }
    }
    walk(folder.join("refs"));
}
