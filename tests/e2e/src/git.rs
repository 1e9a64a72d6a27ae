//! Real git clients, and stubs of Artifacts as a Rust program has them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use capnweb::{NoMain, SessionOptions, Stub, Value};
use tempfile::TempDir;

use crate::program;

/// How long one git command may take on a busy machine.
const GIT: Duration = Duration::from_secs(120);

/// A folder in which git commands run, with an identity and nobody's configuration.
#[derive(Debug)]
pub struct Folder {
    folder: TempDir,
}

/// What a git command said.
#[derive(Debug)]
pub struct Said {
    /// Whether it succeeded.
    pub ok: bool,
    /// Standard output, without white space at its end.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Folder {
    /// A new folder.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self { folder })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a git command in a folder below, whatever comes of it.
    pub async fn try_git(&self, at: &str, arguments: &[&str]) -> Result<Said> {
        let mut command = program::cleared(Path::new("git"));
        command
            .current_dir(self.folder.path().join(at))
            .env("HOME", self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
            .args(["-c", "init.defaultBranch=main", "-c", "advice.detachedHead=false"])
            .args(arguments);
        let output = program::run(command, GIT).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Ok(Said {
            ok: output.status.success(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        })
    }

    /// Runs a git command that must succeed; its standard output.
    pub async fn git(&self, at: &str, arguments: &[&str]) -> Result<String> {
        let said = self.try_git(at, arguments).await?;
        ensure!(said.ok, "git {arguments:?} failed: {}", said.err);
        Ok(said.out)
    }

    /// Writes a file and commits it.
    pub async fn commit(&self, at: &str, file: &str, bytes: impl AsRef<[u8]>) -> Result<String> {
        let path: PathBuf = self.folder.path().join(at).join(file);
        std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        std::fs::write(path, bytes)?;
        self.git(at, &["add", "-A"]).await?;
        self.git(at, &["commit", "-q", "-m", &format!("change {file}")])
            .await?;
        self.git(at, &["rev-parse", "HEAD"]).await
    }
}

/// A remote with a token in it, as `git clone` takes it.
pub fn with_token(remote: &str, token: &str) -> String {
    let token = token.split('?').next().unwrap_or_default();
    remote.replacen("://", &format!("://x:{token}@"), 1)
}

/// The main object of a binding at a remote that asks for no credentials.
pub async fn stub(remote: &str, binding: &str) -> Result<Stub> {
    let url = format!("{}?MF-Binding={binding}", remote.replacen("http", "ws", 1));
    let connected = capnweb::connect(&url, &[], Arc::new(NoMain), SessionOptions::default());
    tokio::time::timeout(crate::client::DEADLINE, connected)
        .await
        .context("no session in time")?
        .with_context(|| format!("connect to {url}"))
}

/// A text member of an object.
pub fn text(value: &Value, member: &str) -> Result<String> {
    value
        .member(member)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .with_context(|| format!("no text `{member}` in {value:?}"))
}

/// `code` of an error.
pub fn code(error: &capnweb::Error) -> String {
    let props = error
        .as_error()
        .map(|error| error.props.as_slice())
        .unwrap_or_default();
    props
        .iter()
        .find(|(name, _)| name == "code")
        .and_then(|(_, code)| code.as_str())
        .unwrap_or_default()
        .to_owned()
}
