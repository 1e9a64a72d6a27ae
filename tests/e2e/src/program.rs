//! Child processes: started with a cleared environment, watched, and ended by their handle only.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// How long a program may take to say it is ready. Generous: the machine may be busy with other tests.
const READY: Duration = Duration::from_secs(60);
/// How long a program may take to end once told to.
const END: Duration = Duration::from_secs(15);

/// The freshly built `bowline`, next to this test's executable. Built here when only this package was asked for.
pub fn bowline() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| find().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(anyhow::Error::msg)
}

fn find() -> Result<PathBuf> {
    let test = std::env::current_exe().context("find this test's executable")?;
    let profile = test
        .parent()
        .and_then(Path::parent)
        .context("a test's executable lies in the folder `deps` of a profile")?;
    let program = profile.join("bowline");
    if program.exists() {
        return Ok(program);
    }
    let target = profile.parent().context("a profile lies in a target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = std::process::Command::new(cargo)
        .args(["build", "--locked", "-p", "bowline", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("start cargo")?;
    ensure!(status.success(), "building `bowline` failed with {status}");
    ensure!(program.exists(), "{} was not built", program.display());
    Ok(program)
}

/// An example of a crate, freshly built.
pub fn example(package: &str, name: &str) -> Result<PathBuf> {
    let path = bowline()?
        .parent()
        .context("a program lies in a profile")?
        .join("examples")
        .join(name);
    ensure!(
        path.exists(),
        "{} is not built: cargo build --examples -p {package}",
        path.display()
    );
    Ok(path)
}

/// A folder that outlives the tests, for what they install.
pub fn cache() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let target = test
        .ancestors()
        .nth(3)
        .context("a test's executable lies in target/PROFILE/deps")?;
    Ok(target.join("tmp"))
}

/// A command with nothing of this process's environment but the path to programs.
pub fn cleared(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// What a program wrote so far.
#[derive(Debug, Clone, Default)]
pub struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    /// The bytes as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no holder panics")).into_owned()
    }

    pub(crate) fn collect(&self, mut from: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<()> {
        let to = self.clone();
        tokio::spawn(async move {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut chunk).await {
                to.0.lock().expect("no holder panics").extend(&chunk[..read]);
            }
        })
    }
}

/// A running program that announced its URL. Killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    /// The document it announced itself with.
    pub ready: Value,
    /// Everything on standard output after that.
    pub stdout: Output,
    /// Everything on standard error.
    pub stderr: Output,
}

impl Program {
    /// Starts a command and waits for its line `{"ready":true,…}`.
    pub async fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let (stdout, stderr) = (Output::default(), Output::default());
        let mut readers = vec![stderr.collect(child.stderr.take().context("standard error is piped")?)];
        let mut reader = BufReader::new(child.stdout.take().context("standard output is piped")?);
        let mut line = String::new();
        let read = tokio::time::timeout(READY, reader.read_line(&mut line)).await;
        match read {
            Ok(Ok(1..)) => {}
            Ok(Ok(0)) => {
                let status = tokio::time::timeout(END, child.wait()).await??;
                for reader in readers {
                    reader.await?;
                }
                bail!(
                    "{command:?} ended with {status} before it was ready; it said:\n{}",
                    stderr.text()
                );
            }
            Ok(Err(error)) => return Err(error).context("read its standard output"),
            Err(_) => bail!(
                "{command:?} was not ready within {} s; it said:\n{}",
                READY.as_secs(),
                stderr.text()
            ),
        }
        let ready: Value = serde_json::from_str(&line).with_context(|| format!("`{line}` is no JSON"))?;
        ensure!(ready["ready"] == true, "{command:?} said {ready}");
        readers.push(stdout.collect(reader));
        Ok(Self {
            child,
            readers,
            ready,
            stdout,
            stderr,
        })
    }

    /// The URL it announced.
    pub fn url(&self) -> &str {
        self.ready["url"].as_str().expect("a ready program names its url")
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// SIGKILL, and the wait for the end.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.start_kill()?;
        self.ended().await?;
        Ok(())
    }

    /// SIGTERM, and the wait for the end.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        let id = self.child.id().context("the program has ended already")?;
        signal("TERM", id).await?;
        self.ended().await
    }

    /// Waits for the program to end by itself; everything it wrote has been read then.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let status = tokio::time::timeout(END, self.child.wait())
            .await
            .with_context(|| format!("it did not end within {} s", END.as_secs()))??;
        for reader in self.readers.drain(..) {
            // A grandchild may hold the pipe open; what it writes is not the program's.
            let _ = tokio::time::timeout(Duration::from_secs(2), reader).await;
        }
        Ok(status)
    }
}

/// Runs a command to its end.
pub async fn run(mut command: Command, deadline: Duration) -> Result<std::process::Output> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(deadline, command.output())
        .await
        .with_context(|| format!("{command:?} did not end within {} s", deadline.as_secs()))?
        .with_context(|| format!("start {command:?}"))
}

/// Sends a signal to one process of ours.
pub async fn signal(name: &str, id: u32) -> Result<()> {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(id.to_string())
        .status()
        .await?;
    ensure!(status.success(), "kill -{name} {id}: {status}");
    Ok(())
}

/// The children of a process, as (process id, name of the program).
pub fn children(of: u32) -> Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{of}/task"))? {
        // A thread may end while we look.
        let Ok(list) = std::fs::read_to_string(task?.path().join("children")) else {
            continue;
        };
        for id in list.split_ascii_whitespace() {
            let name = std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            found.push((id.parse()?, name.trim().to_owned()));
        }
    }
    Ok(found)
}

/// Kills one running child of a process by the name of its program, and says which.
pub async fn kill_child(of: u32, name: &str) -> Result<u32> {
    let children = children(of)?;
    let Some((id, _)) = children.iter().find(|(_, comm)| comm == name) else {
        bail!("no child `{name}` of process {of} among {children:?}");
    };
    signal("KILL", *id).await?;
    Ok(*id)
}

/// Whether a process runs: it is there and no zombie.
pub fn running(id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| {
        // The state follows the name, which is in parentheses and may hold anything.
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
        !matches!(state, Some(b'Z' | b'X'))
    })
}

/// Waits until a process that is no child of ours has ended.
pub async fn gone(id: u32) -> Result<()> {
    tokio::time::timeout(END, async {
        // The kernel tells nobody but a parent of an end, so it has to be asked.
        while running(id) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .with_context(|| format!("process {id} still runs after {} s", END.as_secs()))
}
