//! A user's machine: a home folder, a project, an environment of its own, and `bowline` on it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::program::{self, Program};
use crate::project::Credentials;

/// How long anything on it may take.
pub const END: Duration = Duration::from_secs(60);

/// The machine.
#[derive(Debug)]
pub struct Machine {
    home: TempDir,
    environment: Vec<(String, String)>,
}

/// What `bowline access check` said.
#[derive(Debug)]
pub struct Checked {
    /// Its document.
    pub document: Value,
    /// Its exit code.
    pub code: i32,
    /// All that it wrote.
    pub written: String,
}

impl Machine {
    /// A machine on which nothing is set.
    pub fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        std::fs::create_dir(home.path().join("project"))?;
        Ok(Self {
            home,
            environment: Vec::new(),
        })
    }

    /// A machine with a service token in its environment, as far as there is one.
    pub fn with(credentials: &Credentials) -> Result<Self> {
        let mut machine = Self::new()?;
        for (name, value) in [
            ("CLOUDFLARE_ACCESS_CLIENT_ID", &credentials.id),
            ("CLOUDFLARE_ACCESS_CLIENT_SECRET", &credentials.secret),
        ] {
            if let Some(value) = value {
                machine.set(name, value);
            }
        }
        Ok(machine)
    }

    /// Sets a variable of its environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The folder of its project.
    pub fn project(&self) -> PathBuf {
        self.home.path().join("project")
    }

    /// The folder where cloudflared and `bowline` keep logins.
    pub fn tokens(&self) -> PathBuf {
        self.home.path().join(".cloudflared")
    }

    /// The names of the files there.
    pub fn token_files(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.tokens())? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// The user's own settings of one host.
    pub fn settings(&self, host: &str, members: Value) -> Result<()> {
        let folder = self.home.path().join(".config/bowline");
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("access.jsonc");
        std::fs::write(&file, json!({"hosts": {host: members}}).to_string())?;
        Ok(std::fs::set_permissions(
            file,
            std::fs::Permissions::from_mode(0o600),
        )?)
    }

    fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.project())
            .env("HOME", self.home.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    /// `bowline` with these arguments, in the project.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = program::cleared(&program::bowline()?);
        command.args(arguments).env("BOWLINE_LOG", "trace");
        self.prepare(&mut command);
        Ok(command)
    }

    /// `bowline access check`.
    pub async fn check(&self, url: &str) -> Result<Checked> {
        let output = program::run(self.command(&["access", "check", "--json", url])?, END).await?;
        let out = String::from_utf8(output.stdout)?;
        let written = format!("{out}{}", String::from_utf8_lossy(&output.stderr));
        Ok(Checked {
            document: serde_json::from_str(&out).with_context(|| written.clone())?,
            code: output.status.code().unwrap_or(-1),
            written,
        })
    }

    /// `bowline connect`.
    pub async fn connect(&self, remote: &str) -> Result<Program> {
        Program::start(self.command(&["connect", "--json", "--remote", remote])?).await
    }

    /// `bowline access login` on a terminal.
    pub fn login(&self, flags: &str, url: &str) -> Result<Login> {
        let inner = format!(
            "{} access login {flags} --json {url}",
            program::bowline()?.display()
        );
        let mut command = program::cleared(Path::new("script"));
        command.args(["-qfec", &inner, "/dev/null"]);
        self.prepare(&mut command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start `script`")?;
        let lines = BufReader::new(child.stdout.take().context("standard output is piped")?).lines();
        Ok(Login {
            child,
            lines,
            said: String::new(),
        })
    }
}

/// A login under way.
#[derive(Debug)]
pub struct Login {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it said so far.
    pub said: String,
}

impl Login {
    /// The first line that `picks` takes.
    pub async fn line<T>(&mut self, picks: impl Fn(&str) -> Option<T>) -> Result<T> {
        let reading = async {
            while let Some(line) = self.lines.next_line().await? {
                self.said.push_str(&line);
                self.said.push('\n');
                if let Some(picked) = picks(line.trim()) {
                    return Ok(picked);
                }
            }
            bail!("it ended; it said:\n{}", self.said)
        };
        tokio::time::timeout(END, reading)
            .await
            .context("no such line in time")?
    }

    /// Where its person signs in.
    pub async fn url(&mut self) -> Result<String> {
        self.line(|line| line.contains("/cdn-cgi/access/cli").then(|| line.to_owned()))
            .await
    }

    /// Its document, and all that it said.
    pub async fn done(mut self) -> Result<(Value, String)> {
        let document = self
            .line(|line| serde_json::from_str::<Value>(line).ok().filter(Value::is_object))
            .await?;
        let status = tokio::time::timeout(END, self.child.wait()).await??;
        ensure!(status.success(), "{status}: {}", self.said);
        Ok((document, self.said))
    }

    /// SIGINT to the program itself, and its exit code.
    pub async fn interrupt(&mut self) -> Result<Option<i32>> {
        let id = self.program().await?;
        program::signal("INT", id).await?;
        let status = tokio::time::timeout(END, self.child.wait()).await??;
        Ok(status.code())
    }

    /// The program that `script` runs, perhaps through a shell.
    async fn program(&self) -> Result<u32> {
        let terminal = self.child.id().context("the login has ended")?;
        for (id, name) in program::children(terminal)? {
            if name == "bowline" {
                return Ok(id);
            }
            if let Some((id, _)) = program::children(id)?
                .into_iter()
                .find(|(_, name)| name == "bowline")
            {
                return Ok(id);
            }
        }
        bail!("no `bowline` below process {terminal}")
    }
}
