//! Clone and push of 2 000 files at a remote's Artifacts against `git http-backend`, which lighttpd runs as CGI.
//!
//! Both sides serve the same commit to the same git client, with the same git behind. Every push goes to a repository of its
//! own; turns are taken, so that what else the machine does falls on both alike.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use super::peers::{self, Peer};
use super::{Goal, Row, median};
use crate::run::{debian, works};

const FILES: u32 = 2000;
/// Rounds after the first, which warms caches.
const ROUNDS: usize = 7;
/// Seconds that git may take for one thing; `timeout` then ends it with 124.
const DEADLINE_S: &str = "60";

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    debian(&[("git", "git"), ("lighttpd", "lighttpd")])?;
    let program = peers::build()?;
    let folder = tempfile::tempdir().context("make a folder")?;
    let git = Git(folder.path());
    commit(&git)?;
    let ours = Ours::start(&program, folder.path())?;
    let theirs = Theirs::start(&git, folder.path())?;
    let (mut push, mut clone, mut objects) = (Sides::default(), Sides::default(), Sides::default());
    for round in 0..=ROUNDS {
        let mut remotes = [
            ours.repository(&format!("r{round}"))?,
            theirs.repository(&git, &format!("r{round}"))?,
        ];
        for turn in 0..2 {
            let side = (round + turn) % 2;
            let remote = std::mem::take(&mut remotes[side]);
            let (whole, bare) = (format!("whole-{side}-{round}"), format!("bare-{side}-{round}"));
            let took = [
                git.run("work", &["push", "--quiet", &remote, "HEAD:main"])?,
                git.run(".", &["clone", "--quiet", &remote, &whole])?,
                git.run(".", &["clone", "--quiet", "--bare", &remote, &bare])?,
            ];
            let files = std::fs::read_dir(folder.path().join(&whole).join("files"))?.count();
            ensure!(files == FILES as usize, "{files} files were cloned");
            for copy in [whole, bare] {
                std::fs::remove_dir_all(folder.path().join(copy))?;
            }
            if round > 0 {
                for (sides, took) in [&mut push, &mut clone, &mut objects].into_iter().zip(took) {
                    sides.0[side].push(took);
                }
            }
        }
    }
    Ok(vec![
        push.row("push"),
        clone.row("clone"),
        objects.row("clone --bare"),
    ])
}

/// Milliseconds of ours and of theirs.
#[derive(Default)]
struct Sides([Vec<f64>; 2]);

impl Sides {
    fn row(self, what: &str) -> Row {
        let [ours, theirs] = self.0.map(median);
        Row {
            row: format!("{what}, {FILES} files"),
            peer: "http-backend",
            ours,
            theirs,
            unit: "ms",
            goal: Goal::Ratio(1.15),
        }
    }
}

/// Runs git in a folder with nobody's configuration.
struct Git<'a>(&'a Path);

impl Git<'_> {
    /// Runs git to its end; how many milliseconds it took.
    fn run(&self, at: &str, arguments: &[&str]) -> anyhow::Result<f64> {
        let start = Instant::now();
        let output = Command::new("timeout")
            .current_dir(self.0.join(at))
            .args([DEADLINE_S, "git"])
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
            .args(["-c", "init.defaultBranch=main", "-c", "gc.auto=0"])
            // A pack is sent with its length: without, lighttpd would have to keep all of it before CGI can begin.
            .args(["-c", "http.postBuffer=67108864"])
            .args(arguments)
            .env("HOME", self.0)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null())
            .output()
            .context("start git by `timeout`, of coreutils")?;
        let took = start.elapsed();
        ensure!(
            output.status.success(),
            "git {} ended with {}: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(took.as_secs_f64() * 1000.0)
    }
}

/// Makes the commit that is pushed: files of 1 to 8 kB that compress as source code does, about to a third.
fn commit(git: &Git) -> anyhow::Result<()> {
    git.run(".", &["init", "--quiet", "work"])?;
    let files = git.0.join("work/files");
    std::fs::create_dir(&files)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for index in 0..FILES {
        let length = 1024 + (next() % 7168) as usize;
        let mut text = String::with_capacity(length + 16);
        while text.len() < length {
            let word = next() % 4096;
            text.push_str(&format!("word{word:x}"));
            text.push(if word % 9 == 0 { '\n' } else { ' ' });
        }
        std::fs::write(files.join(format!("{index}.txt")), text)?;
    }
    git.run("work", &["add", "--all"])?;
    git.run("work", &["commit", "--quiet", "--message=all"])?;
    Ok(())
}

/// `bowline serve` with the namespace `bench`.
struct Ours(Peer);

impl Ours {
    fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let project = folder.join("ours");
        std::fs::create_dir(&project)?;
        let wrangler = json!({"name": "bench", "artifacts": [{"binding": "ART", "namespace": "bench"}]});
        std::fs::write(project.join("wrangler.jsonc"), wrangler.to_string())?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--access", "off"])
            .current_dir(project);
        Ok(Self(peers::announced(command)?))
    }

    /// Makes a repository through the binding; its URL with the token in it.
    fn repository(&self, name: &str) -> anyhow::Result<String> {
        let address = self.0.target.address;
        let made = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(async {
                let stream = tokio::net::TcpStream::connect(address).await?;
                let url = format!("ws://{address}/?MF-Binding=ART");
                let (mut socket, _) = client_async(url, stream).await?;
                for message in [
                    json!(["push", ["pipeline", 0, ["create"], [name]]]),
                    json!(["pull", 1]),
                ] {
                    socket.send(Message::text(message.to_string())).await?;
                }
                let answer = socket.next().await.context("the session ended")??;
                anyhow::Ok(answer.into_text()?.to_string())
            })?;
        let made: Value = serde_json::from_str(&made)?;
        ensure!(made[0] == "resolve", "create() gave {made}");
        let text = |member: &str| {
            made[2][member]
                .as_str()
                .context("a repository has a URL and a token")
        };
        // What follows the question mark says when a token ends.
        let token = text("token")?.split('?').next().unwrap_or_default();
        Ok(text("remote")?.replacen("://", &format!("://x:{token}@"), 1))
    }
}

/// lighttpd with `git http-backend` behind.
struct Theirs {
    peer: Peer,
    repositories: PathBuf,
}

impl Theirs {
    fn start(git: &Git, folder: &Path) -> anyhow::Result<Self> {
        let repositories = folder.join("theirs");
        std::fs::create_dir(&repositories)?;
        let output = Command::new("git")
            .arg("--exec-path")
            .output()
            .context("start git")?;
        let backend = Path::new(String::from_utf8(output.stdout)?.trim()).join("git-http-backend");
        ensure!(backend.exists(), "{} does not exist", backend.display());
        let program = ["lighttpd", "/usr/sbin/lighttpd"]
            .into_iter()
            .find(|program| works(program, &["-v"]))
            .context("lighttpd is not installed")?;
        // lighttpd cannot say which port it took; it is told one that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let file = folder.join("lighttpd.conf");
        std::fs::write(
            &file,
            format!(
                r#"server.modules = ("mod_alias", "mod_setenv", "mod_cgi")
server.document-root = "{root}"
server.bind = "127.0.0.1"
server.port = {port}
server.stream-request-body = 2
server.stream-response-body = 2
alias.url = ("/git" => "{backend}")
setenv.set-environment = ("GIT_PROJECT_ROOT" => "{root}", "GIT_HTTP_EXPORT_ALL" => "1")
$HTTP["url"] =~ "^/git" {{ cgi.assign = ("" => "") }}
"#,
                root = repositories.display(),
                port = address.port(),
                backend = backend.display(),
            ),
        )?;
        let mut command = Command::new(program);
        command.arg("-D").arg("-f").arg(&file).env("HOME", git.0);
        Ok(Self {
            peer: peers::listening(command, address)?,
            repositories,
        })
    }

    fn repository(&self, git: &Git, name: &str) -> anyhow::Result<String> {
        let repository = self.repositories.join(name);
        let Some(path) = repository.to_str() else {
            bail!("{} is no text", repository.display())
        };
        git.run(".", &["init", "--quiet", "--bare", path])?;
        git.run(".", &["-C", path, "config", "http.receivepack", "true"])?;
        Ok(format!("http://{}/git/{name}", self.peer.target.address))
    }
}
