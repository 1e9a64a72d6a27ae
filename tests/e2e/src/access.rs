//! An origin behind `bowline access gateway`, and the ways to manage it: the commands and the REST API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{Method, Uri};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::client::{Answer, Outgoing};
use crate::peers;
use crate::program::{self, Program};
use crate::project::Credentials;
use crate::upstream;

const PACKAGE: &str = include_str!("../access/package.json");
const LOCK: &str = include_str!("../access/package-lock.json");
const PYTHON: &str = include_str!("../access/requirements.txt");
/// How long a peer's script may run.
const SCRIPT: Duration = Duration::from_secs(60);
/// How long a command may run.
const COMMAND: Duration = Duration::from_secs(30);
/// The account in the API's paths; any will do.
const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

/// The state of one organisation, and an origin that mirrors what reaches it.
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
    origin: String,
    /// The database the state is in, instead of the folder.
    pub database: Option<String>,
}

/// A running gateway in front of a site's origin.
#[derive(Debug)]
pub struct Gateway {
    /// The process.
    pub program: Program,
    /// Its issuer: its own URL, so that peers can fetch its keys.
    pub team: String,
    api_token: String,
}

impl Site {
    /// A site with nothing configured. `database` is a PostgreSQL URL.
    pub async fn new(database: Option<String>) -> Result<Self> {
        let origin = upstream::http_mirror().await?;
        Ok(Self {
            database,
            ..Self::before(&format!("http://{origin}"))?
        })
    }

    /// A site with another origin.
    pub fn before(origin: &str) -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            origin: origin.trim_end_matches('/').to_owned(),
            database: None,
        })
    }

    /// The state folder.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// `bowline access …`.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = program::cleared(&program::bowline()?);
        command
            .arg("access")
            .args(arguments)
            .arg("--state")
            .arg(self.state())
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("BOWLINE_LOG", "trace");
        if let Some(url) = &self.database {
            command.env("BOWLINE_ACCESS_DATABASE_URL", url);
        }
        Ok(command)
    }

    /// Runs `bowline access … --json` and returns its document.
    pub async fn access(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = self.command(arguments)?;
        command.arg("--json");
        let output = program::run(command, COMMAND).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "access {arguments:?}: {}: {said}",
            output.status
        );
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("the document of access {arguments:?}"))
    }

    /// Makes a service token.
    pub async fn token(&self, name: &str) -> Result<Credentials> {
        Ok(credentials(&self.access(&["token", "create", name]).await?))
    }

    /// Makes an application with one policy of its own, and returns it.
    pub async fn application(
        &self,
        name: &str,
        domain: &str,
        policies: &[Value],
        members: Value,
    ) -> Result<Value> {
        let members = members.to_string();
        let made = self
            .access(&["app", "create", name, "--domain", domain, "--members", &members])
            .await?;
        for (number, policy) in policies.iter().enumerate() {
            let name = format!("{name} {number}");
            let include = policy["include"].to_string();
            let decision = policy["decision"].as_str().unwrap_or("non_identity");
            self.access(&[
                "policy",
                "create",
                &name,
                "--app",
                text(&made, "id"),
                "--decision",
                decision,
                "--include",
                &include,
            ])
            .await?;
        }
        Ok(made)
    }

    /// Starts a gateway with the login for development, and has the organisation name it as the team domain unless another
    /// was named.
    pub async fn gateway(&self) -> Result<Gateway> {
        let gateway = self.gateway_with(&["--development-login"], &[]).await?;
        gateway.named_as_team().await
    }

    /// Starts a gateway with these flags and variables.
    pub async fn gateway_with(&self, flags: &[&str], variables: &[(&str, &str)]) -> Result<Gateway> {
        let api_token = self.access(&["api-token", "create", "tests"]).await?;
        let api_token = text(&api_token, "token").to_owned();
        let mut command = self.command(&[
            "gateway",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--origin",
            &self.origin,
        ])?;
        command.args(flags).envs(variables.iter().copied());
        let program = Program::start(command).await?;
        Ok(Gateway {
            team: program.url().trim_end_matches('/').to_owned(),
            program,
            api_token,
        })
    }
}

impl Gateway {
    /// The gateway with itself as the team domain, unless another gateway is it already.
    pub async fn named_as_team(mut self) -> Result<Self> {
        let organization = self.ok(Method::GET, "organizations", Value::Null).await?;
        match organization["auth_domain"]
            .as_str()
            .filter(|domain| domain.starts_with("http://127."))
        {
            Some(domain) => self.team = domain.to_owned(),
            None => {
                let change = json!({"auth_domain": self.team});
                self.ok(Method::PUT, "organizations", change).await?;
            }
        }
        Ok(self)
    }

    /// The code that the operator saw last for an address.
    pub fn shown_code(&self, email: &str) -> Option<String> {
        let said = self.program.stderr.text();
        let line = said
            .lines()
            .rev()
            .find(|line| line.contains(&format!("the code of {email} is ")))?;
        line.rsplit(' ').next().map(str::to_owned)
    }

    /// Where the REST API is.
    pub fn api(&self) -> &str {
        self.program.ready["admin_url"]
            .as_str()
            .expect("a gateway with an API names it")
    }

    /// What the REST API takes as its token.
    pub fn api_token(&self) -> &str {
        &self.api_token
    }

    /// The gateway's own authority.
    pub fn authority(&self) -> String {
        let uri: Uri = self.program.url().parse().expect("a URL");
        uri.authority().expect("with an authority").to_string()
    }

    /// A call of the REST API below `access/`.
    pub async fn call(&self, method: Method, path: &str, body: Value) -> Result<Answer> {
        let url = format!("{}/accounts/{ACCOUNT}/access/{path}", self.api());
        let request = Outgoing::new(method, &url)
            .header("authorization", format!("Bearer {}", self.api_token))
            .header("content-type", "application/json");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        request
            .header("content-length", body.len().to_string())
            .body(body)
            .send()
            .await
    }

    /// The result of a call that succeeds.
    pub async fn ok(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        let answer = self.call(method.clone(), path, body).await?;
        ensure!(
            answer.status.is_success(),
            "{method} {path}: {} {}",
            answer.status,
            answer.text()
        );
        let mut envelope: Value = serde_json::from_slice(&answer.body)?;
        Ok(envelope["result"].take())
    }

    /// A request to a host behind the gateway.
    pub fn request(&self, method: Method, host: &str, path: &str) -> Outgoing {
        let url = format!("http://{}{path}", self.authority());
        Outgoing::new(method, &url).header("host", host)
    }

    /// The application token that the origin of a host gets for a service token: a session as well. The origin is a mirror.
    pub async fn assertion(&self, request: Outgoing) -> Result<String> {
        let answer = request.send().await?;
        let mirrored: Value = serde_json::from_slice(&answer.body).with_context(|| answer.text())?;
        let assertion = &mirrored["headers"]["cf-access-jwt-assertion"][0];
        Ok(assertion.as_str().context("no assertion")?.to_owned())
    }

    /// A GET with a service token.
    pub fn get(&self, host: &str, path: &str, token: &Credentials) -> Outgoing {
        with(self.request(Method::GET, host, path), token)
    }
}

/// A request with a service token.
pub fn with(mut request: Outgoing, token: &Credentials) -> Outgoing {
    if let Some(id) = &token.id {
        request = request.header("cf-access-client-id", id);
    }
    if let Some(secret) = &token.secret {
        request = request.header("cf-access-client-secret", secret);
    }
    request
}

/// The credentials in a token object.
pub fn credentials(token: &Value) -> Credentials {
    Credentials {
        id: token["client_id"].as_str().map(str::to_owned),
        secret: token["client_secret"].as_str().map(str::to_owned),
    }
}

/// A text member that has to be there.
pub fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name]
        .as_str()
        .unwrap_or_else(|| panic!("no `{name}` in {object}"))
}

/// The folder with npm's peers.
pub async fn npm() -> Result<PathBuf> {
    peers::install("bowline-access-peers", PACKAGE, LOCK).await
}

/// Runs one of the scripts beside this crate with npm's peers, and returns its document.
pub async fn node(script: &str, mut input: Value) -> Result<Value> {
    let folder = npm().await?;
    input["peers"] = json!(folder);
    let mut command = program::cleared(&folder.join("node_modules/node/bin/node"));
    command.arg(scripts().join(script));
    answer(command, &input).await
}

/// Runs `verify.go` with the go-oidc that Debian packages, and returns its document.
pub async fn go(input: &Value) -> Result<Value> {
    let mut command = program::cleared(Path::new("go"));
    command
        .arg("run")
        .arg(scripts().join("verify.go"))
        // Debian's libraries are sources below a path of the time before modules.
        .envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode")])
        .env("GOCACHE", npm().await?.join("go-build"));
    answer(command, input).await
}

/// A running OpenID Connect provider, `oidc-provider` of npm's, with one client.
#[derive(Debug)]
pub struct Provider {
    /// The process; its URL is the issuer.
    pub program: Program,
    _setup: tempfile::NamedTempFile,
}

impl Provider {
    /// Starts one. `client` has `client_id`, and for a confidential client `client_secret` and `method`. It answers nobody
    /// before [`Provider::sends_back_to`].
    pub async fn start(mut client: Value) -> Result<Self> {
        let folder = npm().await?;
        client["peers"] = json!(folder);
        let setup = tempfile::NamedTempFile::new()?;
        std::fs::write(setup.path(), client.to_string())?;
        let mut command = program::cleared(&folder.join("node_modules/node/bin/node"));
        command
            .arg(scripts().join("provider.mjs"))
            .arg(setup.path())
            .env("HOME", &folder);
        Ok(Self {
            program: Program::start(command).await?,
            _setup: setup,
        })
    }

    /// Tells the provider where the client wants people back.
    pub async fn sends_back_to(&self, redirect_uri: &str) -> Result<()> {
        let answer = Outgoing::new(Method::PUT, &format!("{}/", self.program.url()))
            .header("content-length", redirect_uri.len().to_string())
            .body(redirect_uri.to_owned())
            .send()
            .await?;
        ensure!(answer.status.is_success(), "{}", answer.status);
        Ok(())
    }
}

/// Runs one of the scripts beside this crate with PyPI's peers, and returns its document.
pub async fn python(script: &str, input: &Value) -> Result<Value> {
    let python = peers::python("bowline-access-python", PYTHON).await?;
    let mut command = program::cleared(&python);
    command.arg(scripts().join(script));
    answer(command, input).await
}

fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("access")
}

async fn answer(mut command: Command, input: &Value) -> Result<Value> {
    // The input holds secrets, which have no place in a list of processes.
    let told = tempfile::NamedTempFile::new()?;
    std::fs::write(told.path(), input.to_string())?;
    command
        .stdin(std::fs::File::open(told.path())?)
        .kill_on_drop(true);
    let output = tokio::time::timeout(SCRIPT, command.output())
        .await
        .context("a peer's script did not end in time")??;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "a peer's script ended with {}:\n{said}",
        output.status
    );
    serde_json::from_slice(&output.stdout).context("the document of a peer's script")
}
