//! The git program: started with nothing of this process's environment, and never without a deadline.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// What is kept of what git says on standard error.
const SAID: u64 = 16 * 1024;

/// How git did not do as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    #[error("run git")]
    Io(#[from] io::Error),
    #[error("git ended with {status}: {said}")]
    Failed { status: ExitStatus, said: String },
    #[error("git did not end within {} s", .0.as_secs())]
    Late(Duration),
    #[error("the repository grew beyond {0} bytes")]
    TooLarge(u64),
}

/// An installed git.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    program: PathBuf,
    /// Where git keeps the programs it starts itself.
    exec_path: PathBuf,
}

impl Git {
    /// Asks `program`, which may be a name to be searched for, where it lives. Blocks for the length of one start.
    pub(crate) fn find(program: &Path) -> io::Result<Self> {
        let output = std::process::Command::new(program)
            .arg("--exec-path")
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let exec_path = PathBuf::from(text.trim());
        if !output.status.success() || !exec_path.is_absolute() {
            return Err(io::Error::other(format!(
                "`--exec-path` ended with {}",
                output.status
            )));
        }
        // With the full path no search is needed later, for which git's children would need our `PATH`.
        let own = exec_path.join("git");
        Ok(Self {
            program: if own.is_file() { own } else { program.to_owned() },
            exec_path,
        })
    }

    /// A git command. Nobody's configuration but the repository's own counts, and hooks never run.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("PATH", &self.exec_path)
            .env("GIT_EXEC_PATH", &self.exec_path)
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            // The state folder is ours whoever owns it.
            .args(["-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null"])
            // What was acknowledged is on disk, loose objects and refs, too.
            .args(["-c", "core.fsync=committed", "-c", "core.fsyncMethod=batch"])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// An empty bare repository whose `HEAD` names `branch`.
    pub(crate) async fn init(&self, folder: &Path, branch: &str, deadline: Duration) -> Result<(), GitError> {
        let mut command = self.command();
        command
            .args(["init", "--quiet", "--bare", "--template=", "--object-format=sha1"])
            .arg(format!("--initial-branch={branch}"))
            .arg("--")
            .arg(folder);
        run(command, deadline).await?;
        Ok(())
    }
}

/// Runs a command to its end. Dropping the future kills it.
pub(crate) async fn run(mut command: Command, deadline: Duration) -> Result<Vec<u8>, GitError> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let all = async {
        let (out, said) = tokio::join!(bounded(out), bounded(err));
        (child.wait().await, out, said)
    };
    let (status, out, said) = tokio::time::timeout(deadline, all)
        .await
        .map_err(|_| GitError::Late(deadline))?;
    let status = status?;
    if status.success() {
        return Ok(out);
    }
    Err(GitError::Failed {
        status,
        said: String::from_utf8_lossy(&said).trim().to_owned(),
    })
}

/// The first bytes of a stream, which is read to its end all the same: whoever writes must not block on us.
pub(crate) async fn bounded(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut said = Vec::new();
    if let Some(mut stream) = stream {
        // A failed read is the end of what can be known.
        let _ = (&mut stream).take(SAID).read_to_end(&mut said).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    said
}

/// Bytes of all files below a folder. Blocks; what vanishes meanwhile counts nothing.
pub(crate) fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
