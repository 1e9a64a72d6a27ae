//! The client side of Access through the program itself: what `access check` says about each kind of answer, and the
//! login, against a stand-in of edge, team host and transfer service.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bowline_e2e::client::Outgoing;
use bowline_e2e::edge::{AUDIENCE, CLIENT_ID, CLIENT_SECRET, Edge, Mode};
use bowline_e2e::program::{self, Program};
use http::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const END: Duration = Duration::from_secs(60);

/// A user's machine: a home folder, a project, and an environment.
struct Machine {
    home: TempDir,
    edge: Edge,
}

impl Machine {
    /// A machine whose user trusts the stand-in's team host to sign for its application.
    async fn new(mode: Mode, secure: bool) -> Result<Self> {
        let (home, edge) = (tempfile::tempdir()?, Edge::start(mode, secure).await?);
        let folder = home.path().join(".config/bowline");
        std::fs::create_dir_all(&folder)?;
        let settings = serde_json::json!({"hosts": {edge.domain(): {"team_domain": edge.team()}}});
        std::fs::write(folder.join("access.jsonc"), settings.to_string())?;
        std::fs::create_dir(home.path().join("project"))?;
        Ok(Self { home, edge })
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = program::cleared(&program::bowline()?);
        command
            .args(arguments)
            .current_dir(self.home.path().join("project"))
            .env("HOME", self.home.path())
            .env("BOWLINE_LOG", "trace")
            .env("BOWLINE_ACCESS_TRANSFER", self.edge.transfer())
            .env("SSL_CERT_FILE", self.edge.ca());
        if !self.edge.ca().exists() {
            command.env_remove("SSL_CERT_FILE");
        }
        Ok(command)
    }

    /// `bowline access check` with a secret in the environment: the document, the exit code, and all that was written.
    async fn check(&self, secret: Option<&str>) -> Result<(Value, i32, String)> {
        let mut command = self.command(&["access", "check", "--json", &self.edge.url()])?;
        if let Some(secret) = secret {
            command
                .env("CLOUDFLARE_ACCESS_CLIENT_ID", CLIENT_ID)
                .env("CLOUDFLARE_ACCESS_CLIENT_SECRET", secret);
        }
        let output = program::run(command, END).await?;
        let (out, err) = (
            String::from_utf8(output.stdout)?,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        let document = serde_json::from_str(&out).with_context(|| format!("`{out}` {err}"))?;
        Ok((document, output.status.code().unwrap_or(-1), out + &err))
    }

    /// Starts `bowline access login` on a terminal of its own.
    fn login(&self, more: &str) -> Result<Login> {
        let inner = format!(
            "{} access login {more} --json {}",
            program::bowline()?.display(),
            self.edge.url()
        );
        let mut command = program::cleared(&PathBuf::from("script"));
        let mut child = command
            .args(["-qfec", &inner, "/dev/null"])
            .current_dir(self.home.path().join("project"))
            .env("HOME", self.home.path())
            .env("BOWLINE_ACCESS_TRANSFER", self.edge.transfer())
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

    fn tokens(&self) -> PathBuf {
        self.home.path().join(".cloudflared")
    }

    fn token_file(&self) -> PathBuf {
        self.tokens().join(format!("127.0.0.1-{AUDIENCE}-token"))
    }

    /// Names in cloudflared's folder.
    fn files(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.tokens())? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    async fn connect(&self) -> Result<Program> {
        Program::start(self.command(&["connect", "--json", "--remote", &self.edge.url()])?).await
    }
}

/// A login under way.
struct Login {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: String,
}

impl Login {
    /// The first line that `picks` takes.
    async fn line<T>(&mut self, picks: impl Fn(&str) -> Option<T>) -> Result<T> {
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
        tokio::time::timeout(END, reading).await?
    }

    async fn url(&mut self) -> Result<String> {
        self.line(|line| line.contains("/cdn-cgi/access/cli").then(|| line.to_owned()))
            .await
    }

    async fn done(mut self) -> Result<(Value, String)> {
        let document = self
            .line(|line| serde_json::from_str::<Value>(line).ok().filter(Value::is_object))
            .await?;
        let status = tokio::time::timeout(END, self.child.wait()).await??;
        anyhow::ensure!(status.success(), "{status}: {}", self.said);
        Ok((document, self.said))
    }
}

async fn fetch(proxy: &Program) -> Result<(u16, String)> {
    let answer = Outgoing::new(Method::GET, proxy.url())
        .header("MF-Binding", "DB")
        .header("MF-URL", "http://x/")
        .send()
        .await?;
    Ok((answer.status.as_u16(), answer.text()))
}

/// The token part nobody can guess.
fn signatures(edge_files: &[PathBuf]) -> Vec<String> {
    edge_files
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .filter_map(|token| token.rsplit('.').next().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn access_check_names_what_stands_there() -> Result<()> {
    let wrong = "wrong-s3cret-of-this-test";
    for (mode, secret, verdict, code) in [
        (Mode::Open, None, "open", 0),
        (Mode::Open, Some(CLIENT_SECRET), "open", 0),
        (Mode::ServiceAuthOnly, None, "credentials_needed", 4),
        (Mode::ServiceAuthOnly, Some(CLIENT_SECRET), "admitted", 0),
        (Mode::ServiceAuthOnly, Some(wrong), "token_not_authorised", 4),
        (Mode::Login, None, "credentials_needed", 4),
        (Mode::Login, Some(CLIENT_SECRET), "admitted", 0),
        (Mode::Login, Some(wrong), "token_rejected", 4),
        (Mode::Strict, Some(wrong), "token_rejected", 4),
        (
            Mode::StrictNotAuthorised,
            Some(CLIENT_SECRET),
            "token_not_authorised",
            4,
        ),
        (
            Mode::WorkerDestination,
            Some(CLIENT_SECRET),
            "websocket_refused",
            5,
        ),
        (Mode::Firewall, Some(CLIENT_SECRET), "firewall", 5),
        (Mode::TunnelDown, Some(CLIENT_SECRET), "tunnel_down", 5),
    ] {
        let machine = Machine::new(mode, false).await?;
        let (document, status, written) = machine.check(secret).await?;
        let case = format!("{mode:?} {secret:?}: {document:#}");
        assert_eq!(document["verdict"], verdict, "{case}");
        assert_eq!(status, code, "{case}");
        assert!(
            !written.contains(CLIENT_SECRET) && !written.contains(wrong),
            "{case}"
        );
        assert!(
            document["next"].as_str().is_some_and(|next| next.len() > 10),
            "{case}"
        );
        let with_secret = machine
            .edge
            .take_seen()
            .iter()
            .filter(|(_, _, headers)| headers.contains_key("cf-access-client-secret"))
            .count();
        // Once as a request, once as an upgrade, and not where nothing would consume it.
        let sent = secret.is_some() && mode != Mode::Open;
        assert_eq!(with_secret, if sent { 2 } else { 0 }, "{case}");
        if sent {
            assert_eq!(
                document["credentials"]["origins"][0], "CLOUDFLARE_ACCESS_CLIENT_ID in the environment",
                "{case}"
            );
            assert_eq!(document["application"]["audience"], AUDIENCE, "{case}");
        }
    }
    // Over TLS under an authority the user adds.
    let machine = Machine::new(Mode::ServiceAuthOnly, true).await?;
    assert_eq!(machine.check(Some(CLIENT_SECRET)).await?.0["verdict"], "admitted");
    // Nobody there.
    let mut command = machine.command(&["access", "check", "http://127.0.0.1:1/"])?;
    command.env_remove("BOWLINE_LOG");
    let output = program::run(command, END).await?;
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stdout).contains("unreachable"));
    Ok(())
}

#[tokio::test]
async fn access_login_serves_the_proxy_until_it_is_over() -> Result<()> {
    let machine = Machine::new(Mode::Login, false).await?;
    let mut login = machine.login("--no-browser")?;
    let url = login.url().await?;
    machine.edge.sign_in(&url).await?;
    let (document, mut written) = login.done().await?;
    assert_eq!(
        (&document["by"], &document["audience"]),
        (&"browser".into(), &AUDIENCE.into())
    );
    let org_file = format!("{}-org-token", machine.edge.team());
    assert_eq!(
        machine.files()?,
        [format!("127.0.0.1-{AUDIENCE}-token"), org_file.clone()]
    );
    let mut secrets = signatures(&[machine.token_file(), machine.tokens().join(&org_file)]);
    assert_eq!(secrets.len(), 2);

    // The proxy finds it, and every flow carries it.
    let mut proxy = machine.connect().await?;
    machine.edge.take_seen();
    assert_eq!(fetch(&proxy).await?, (200, "origin".to_owned()));
    let seen = machine.edge.take_seen();
    assert!(
        seen.iter()
            .all(|(host, _, headers)| *host == "app" && headers.contains_key("cf-access-token"))
    );

    // Revoked: the org token buys a new one in mid-run, and the call does not notice.
    machine.edge.revoke();
    assert_eq!(fetch(&proxy).await?, (200, "origin".to_owned()));
    assert_eq!(machine.edge.issued(), 2);
    secrets.extend(signatures(&[machine.token_file()]));
    let seen = machine.edge.take_seen();
    let org = |host: &str| {
        seen.iter()
            .filter(|(at, _, headers)| {
                *at == host
                    && headers.get("cookie").is_some_and(|cookie| {
                        cookie
                            .to_str()
                            .is_ok_and(|cookie| cookie.contains("CF_Authorization"))
                    })
            })
            .count()
    };
    assert_eq!(
        (org("team"), org("app")),
        (1, 0),
        "the org token goes to who issued it"
    );

    // Without the stored token the team's session still does; with it nobody is asked.
    assert_eq!(machine.login("")?.done().await?.0["by"], "stored");
    std::fs::remove_file(machine.token_file())?;
    let (document, said) = machine.login("")?.done().await?;
    assert_eq!(document["by"], "exchange", "{said}");
    written.push_str(&said);

    // All over: one report, with the next step.
    machine.edge.revoke();
    std::fs::remove_file(machine.tokens().join(&org_file))?;
    std::fs::remove_file(machine.token_file())?;
    for _ in 0..3 {
        let (status, text) = fetch(&proxy).await?;
        assert_eq!(status, 401, "{text}");
        assert!(
            text.lines()
                .next()
                .is_some_and(|line| line.ends_with("the login is over.")),
            "{text}"
        );
        assert!(text.contains("bowline access login"), "{text}");
        written.push_str(&text);
    }
    proxy.terminate().await?;
    let told = proxy.stderr.text();
    assert_eq!(told.matches("the login is over.").count(), 1, "{told}");
    written.push_str(&told);
    for secret in secrets {
        assert!(!written.contains(&secret), "a token was written somewhere");
    }
    Ok(())
}

#[tokio::test]
async fn access_login_can_be_interrupted_and_shared() -> Result<()> {
    let machine = Machine::new(Mode::Login, false).await?;
    let mut first = machine.login("--no-browser")?;
    let url = first.url().await?;
    assert!(
        machine.files()?.iter().any(|name| name.ends_with("-token.lock")),
        "{:?}",
        machine.files()?
    );
    // A second process shows the same URL instead of asking for another login.
    let mut second = machine.login("--no-browser")?;
    assert_eq!(second.url().await?, url);
    let parent = first.child.id().context("the login runs")?;
    let (pid, _) = wait_for_child(parent).await?;
    program::signal("INT", pid).await?;
    let status = tokio::time::timeout(END, first.child.wait()).await??;
    assert_eq!(status.code(), Some(4));
    // The second goes on by itself, with a key of its own.
    let own = second.url().await?;
    assert_ne!(own, url);
    machine.edge.sign_in(&own).await?;
    assert_eq!(second.done().await?.0["by"], "browser");
    assert_eq!(
        machine.files()?.len(),
        2,
        "neither lock nor URL is left: {:?}",
        machine.files()?
    );
    Ok(())
}

/// The program that `script` runs, perhaps through a shell.
async fn wait_for_child(parent: u32) -> Result<(u32, String)> {
    let found = async {
        loop {
            let children = program::children(parent)?;
            for (id, name) in &children {
                if name == "bowline" {
                    return Ok((*id, name.clone()));
                }
                if let Some(child) = program::children(*id)?
                    .into_iter()
                    .find(|(_, name)| name == "bowline")
                {
                    return Ok(child);
                }
            }
            // The kernel tells nobody of a grandchild.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(END, found).await?
}

#[tokio::test]
async fn access_login_never_where_nobody_is() -> Result<()> {
    let machine = Machine::new(Mode::Login, false).await?;
    let url = machine.edge.url();
    let output = program::run(machine.command(&["access", "login", &url])?, END).await?;
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("nobody is there to sign in") && said.contains("CLOUDFLARE_ACCESS_CLIENT_ID"),
        "{said}"
    );
    assert!(machine.edge.take_seen().is_empty(), "nothing was asked");
    Ok(())
}

#[tokio::test]
async fn access_login_believes_no_host_that_vouches_for_itself() -> Result<()> {
    let machine = Machine::new(Mode::Login, false).await?;
    std::fs::remove_file(machine.home.path().join(".config/bowline/access.jsonc"))?;
    let mut login = machine.login("--no-browser")?;
    let why = login
        .line(|line| line.contains("cannot be believed").then(|| line.to_owned()))
        .await?;
    assert!(why.contains("cloudflareaccess.com"), "{why}");
    assert!(!machine.tokens().exists());
    assert!(
        machine.edge.take_seen().iter().all(|(host, ..)| *host == "app"),
        "its keys were not even asked for"
    );
    Ok(())
}

#[tokio::test]
async fn access_renewal_leads_nowhere_else() -> Result<()> {
    let machine = Machine::new(Mode::Login, false).await?;
    let mut login = machine.login("--no-browser")?;
    let url = login.url().await?;
    machine.edge.sign_in(&url).await?;
    login.done().await?;
    let elsewhere = Edge::start(Mode::Login, false).await?;
    machine
        .edge
        .set_back(Some(format!("http://{}", elsewhere.domain())));
    machine.edge.revoke();
    let proxy = machine.connect().await?;
    let (status, text) = fetch(&proxy).await?;
    assert_eq!(status, 401, "{text}");
    assert!(
        elsewhere.take_seen().is_empty(),
        "a host that has no part in it was asked"
    );
    machine.edge.set_back(None);
    Ok(())
}
