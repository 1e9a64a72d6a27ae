//! One workerd process, watched from start to end.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

use crate::output::{Output, OutputSink, Tail, lines};
use crate::{RunnerError, config};

/// How long workerd may finish what it is doing after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);
/// How long the last words of an ended process are waited for: a grandchild may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// workerd must not outlive us, and a parent that was killed cannot stop it. So a shell stays behind that reads the
/// control socket: a line means that we are done with workerd, its end without one that we are gone. Its own process
/// becomes workerd, so that the pid and the exit status are workerd's.
const GUARD: &str = r#"exec 3<&0
(read -r _ || kill -KILL $$) <&3 >/dev/null 2>&1 &
exec "$@" 3<&-"#;

/// How a process ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) status: String,
    pub(crate) stderr: Vec<String>,
}

/// A process that is ready. Dropping it kills workerd.
#[derive(Debug)]
pub(crate) struct Process {
    port: u16,
    pid: u32,
    ended: watch::Receiver<Option<Ended>>,
    stop: mpsc::Sender<()>,
}

impl Process {
    /// Starts workerd on `file` in `folder` and waits until it listens.
    pub(crate) async fn start(
        binary: &Path,
        file: &Path,
        experimental: bool,
        ready_within: Duration,
        output: OutputSink,
    ) -> Result<Self, RunnerError> {
        let failed = |source| RunnerError::system(format!("start {}", binary.display()), source);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let control = UnixStream::from_std(ours).map_err(failed)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", GUARD, "workerd"])
            .arg(binary)
            .args(["serve", "--control-fd=0"])
            .args(experimental.then_some("--experimental"))
            .arg(file)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Out of the terminal's foreground group: Ctrl-C is for us, and we stop workerd in order.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        // Our copy of the child's end goes with the command: afterwards the socket ends with workerd and the guard.
        drop(command);
        let pid = child.id().unwrap_or_default();

        let tail = Tail::default();
        let stdout = child.stdout.take();
        let sink = output.clone();
        tokio::spawn(async move {
            if let Some(stdout) = stdout {
                lines(stdout, |line| sink(Output::Out(line))).await;
            }
        });
        let stderr = child.stderr.take();
        let kept = tail.clone();
        let printed = tokio::spawn(async move {
            if let Some(stderr) = stderr {
                lines(stderr, |line| {
                    kept.push(line);
                    output(Output::Err(line));
                })
                .await;
            }
        });

        let (reader, writer) = control.into_split();
        let (ready, is_ready) = oneshot::channel();
        tokio::spawn(async move {
            let mut ready = Some(ready);
            lines(reader, |line| {
                if let Some(port) = port_of(line)
                    && let Some(ready) = ready.take()
                {
                    let _ = ready.send(port);
                }
            })
            .await;
        });

        let (stop, stopped) = mpsc::channel(1);
        let (report, ended) = watch::channel(None);
        let last_words = tail.clone();
        tokio::spawn(async move {
            let status = supervise(child, writer, stopped).await;
            let _ = tokio::time::timeout(LAST_WORDS, printed).await;
            let _ = report.send(Some(Ended {
                status,
                stderr: last_words.lines(),
            }));
        });

        let mut process = Self {
            port: 0,
            pid,
            ended,
            stop,
        };
        tokio::select! {
            port = is_ready => {
                if let Ok(port) = port {
                    process.port = port;
                    return Ok(process);
                }
            }
            () = tokio::time::sleep(ready_within) => {
                process.stop().await;
                return Err(RunnerError::NotReady { seconds: ready_within.as_secs(), stderr: tail.lines() });
            }
        }
        // The control socket ended without a word. The guard holds it until workerd was waited for, so that is over;
        // should workerd have closed it by itself, it ends now.
        let _ = process.stop.try_send(());
        let Ended { status, stderr } = process.wait().await;
        Err(RunnerError::Rejected { status, stderr })
    }

    /// The port it listens at.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it ended. Cancel safe.
    pub(crate) async fn wait(&self) -> Ended {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone(),
            Err(_) => None,
        }
        .unwrap_or_else(|| Ended {
            status: "nobody watches it any more".into(),
            stderr: Vec::new(),
        })
    }

    /// How it ended, when it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended.borrow().clone()
    }

    /// Asks it to end, and kills it when it does not within the grace period. Returns when it ended.
    pub(crate) async fn stop(&self) {
        // A full channel holds the same wish already.
        let _ = self.stop.try_send(());
        self.wait().await;
    }
}

/// Waits for the child's end or for the wish to end it: by `stop` with grace, by its sender's drop without.
async fn supervise(
    mut child: Child,
    mut control: tokio::net::unix::OwnedWriteHalf,
    mut stopped: mpsc::Receiver<()>,
) -> String {
    let ended = tokio::select! {
        ended = child.wait() => ended,
        wish = stopped.recv() => {
            let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
            // `child` was not waited for, so its pid cannot be another's yet.
            let asked = wish.is_some()
                && pid.is_some_and(|pid| rustix::process::kill_process(pid, Signal::TERM).is_ok());
            let in_time = if asked { tokio::time::timeout(GRACE, child.wait()).await.ok() } else { None };
            match in_time {
                Some(ended) => ended,
                None => match child.start_kill() {
                    Ok(()) => child.wait().await,
                    Err(error) => Err(error),
                },
            }
        }
    };
    // The guard may go home: its pid may soon be another's.
    let _ = control.write_all(b"done\n").await;
    ended.map_or_else(|error| format!("its end was missed ({error})"), describe)
}

fn describe(status: ExitStatus) -> String {
    format!("it ended with {status}")
}

/// The port of the entry socket, from a control message such as `{"event":"listen","socket":"entry","port":8787}`.
fn port_of(line: &str) -> Option<u16> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message.get("event")? != "listen" || message.get("socket")? != config::ENTRY {
        return None;
    }
    message.get("port")?.as_u64()?.try_into().ok()
}
