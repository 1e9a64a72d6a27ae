//! One project and its remote: a folder with a wrangler configuration, a state folder, and the commands run on them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::program::{self, Program};

/// Reading what is in the cache, and fetching it.
const LIST: Duration = Duration::from_secs(60);
const PULL: Duration = Duration::from_secs(300);

/// What `bowline serve --access` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Service tokens are asked for.
    On,
    /// Everybody passes.
    Off,
}

impl Access {
    fn argument(self) -> &'static str {
        match self {
            Self::On => "service-token",
            Self::Off => "off",
        }
    }
}

/// What a client sends, or does not.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The client id.
    pub id: Option<String>,
    /// The client secret.
    pub secret: Option<String>,
}

/// A project in a temporary folder.
#[derive(Debug)]
pub struct Project {
    folder: TempDir,
    /// The value of `BOWLINE_LOG` for everything that is started.
    pub log: Option<&'static str>,
    /// Further environment variables for everything that is started.
    pub variables: Vec<(&'static str, String)>,
}

impl Project {
    /// A project with one binding of each kind: `DB`, `VEC` (3 dimensions, cosine, metadata index on the text `genre`),
    /// `MAIL` (to example.com addresses named in the tests), `VPC` that may reach `allow`, `SVC` (the Worker `callee`),
    /// `PLAIN` (the last address of `allow` as an HTTP upstream), `CUSTOMERS` (the Workers `one` and `two`), `AI` without a
    /// model, `IMAGES` and `ART` (namespace `team`).
    pub fn new(allow: &[String]) -> Result<Self> {
        let plain = format!("http://{}/", allow.last().map_or("127.0.0.1:1", String::as_str));
        let wrangler = json!({
            "name": "e2e", "main": "worker.mjs", "compatibility_date": "2026-07-01",
            "d1_databases": [{"binding": "DB", "database_name": "main", "database_id": "main", "remote": true}],
            "vectorize": [{"binding": "VEC", "index_name": "main", "remote": true}],
            "send_email": [{"name": "MAIL", "allowed_destination_addresses": ["to@example.com", "two@example.com"], "remote": true}],
            "vpc_networks": [{"binding": "VPC", "network_id": "main", "remote": true}],
            "ai": {"binding": "AI", "remote": true},
            "images": {"binding": "IMAGES", "remote": true},
            "services": [
                {"binding": "SVC", "service": "callee", "entrypoint": "Admin", "props": {"role": "admin"}, "remote": true},
                {"binding": "PLAIN", "service": "plain", "remote": true},
            ],
            "dispatch_namespaces": [{
                "binding": "CUSTOMERS", "namespace": "customers", "remote": true,
                "outbound": {"service": "outbound", "parameters": ["plan", "region"]},
            }],
            "artifacts": [{"binding": "ART", "namespace": "team", "remote": true}],
        });
        let bowline = json!({"bindings": {
            "VEC": {"dimensions": 3, "metric": "cosine", "metadata_indexes": [{"property": "genre", "type": "string"}]},
            "VPC": {"allow": allow},
            "SVC": {"worker": "callee"},
            "PLAIN": {"url": plain},
            "CUSTOMERS": {"folder": "customers", "outbound_worker": "outbound"},
        }});
        let project = Self::of(&wrangler, &bowline)?;
        let worker = |path: &str, source: &str, more: Value| -> Result<()> {
            let folder = project.folder.path().join(path);
            std::fs::create_dir_all(&folder)?;
            let mut wrangler = json!({"main": "index.mjs", "compatibility_date": "2026-07-01"});
            let more = more.as_object().context("an object")?.clone();
            wrangler.as_object_mut().context("an object")?.extend(more);
            std::fs::write(folder.join("wrangler.jsonc"), wrangler.to_string())?;
            std::fs::write(folder.join("index.mjs"), source)?;
            Ok(())
        };
        let visits = json!([{"binding": "VISITS", "database_name": "visits"}]);
        let callee = json!({"name": "callee", "vars": {"GREETING": "ahoy"}, "d1_databases": visits});
        worker("callee", include_str!("../driver/callee.mjs"), callee)?;
        for name in ["one", "two"] {
            let customer = json!({"name": name, "vars": {"NAME": name}});
            worker(
                &format!("customers/{name}"),
                include_str!("../driver/customer.mjs"),
                customer,
            )?;
        }
        worker(
            "outbound",
            include_str!("../driver/outbound.mjs"),
            json!({"name": "outbound"}),
        )?;
        Ok(project)
    }

    /// A project with these configurations and the test Worker.
    pub fn of(wrangler: &Value, bowline: &Value) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("wrangler.jsonc"), wrangler.to_string())?;
        std::fs::write(folder.path().join("bowline.jsonc"), bowline.to_string())?;
        std::fs::write(
            folder.path().join("worker.mjs"),
            include_str!("../driver/worker.mjs"),
        )?;
        Ok(Self {
            folder,
            log: None,
            variables: Vec::new(),
        })
    }

    /// Sets what `bowline.jsonc` says of one binding.
    pub fn configure(&self, binding: &str, members: Value) -> Result<()> {
        let file = self.folder.path().join("bowline.jsonc");
        let mut document: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        document["bindings"][binding] = members;
        std::fs::write(file, document.to_string())?;
        Ok(())
    }

    /// The project's folder.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The state folder, outside the project.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// `bowline` with these arguments, in the project's folder.
    pub fn bowline(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = program::cleared(&program::bowline()?);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path());
        if let Some(log) = self.log {
            command.env("BOWLINE_LOG", log);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Starts the remote.
    pub async fn serve(&self, access: Access) -> Result<Program> {
        self.serve_on("127.0.0.1:0", access).await
    }

    /// Starts the remote on an address.
    pub async fn serve_on(&self, listen: &str, access: Access) -> Result<Program> {
        let access = access.argument();
        let mut command = self.bowline(&["serve", "--json", "--listen", listen, "--access", access])?;
        command
            .arg("--config")
            .arg(self.folder())
            .arg("--state")
            .arg(self.state());
        Program::start(command).await
    }

    /// Starts the remote so that no file of it may grow beyond a size: it is told so as by a full disk.
    pub async fn limited(&self, access: Access, kilobytes: u32) -> Result<Program> {
        let mut command = program::cleared(Path::new("/bin/bash"));
        // Without the trap the limit is a signal that kills.
        command
            .args(["-c", "trap '' XFSZ; ulimit -f $1; shift; exec \"$@\"", "bash"])
            .arg(kilobytes.to_string())
            .arg(program::bowline()?)
            .args([
                "serve",
                "--json",
                "--listen",
                "127.0.0.1:0",
                "--access",
                access.argument(),
            ])
            .arg("--config")
            .arg(self.folder())
            .arg("--state")
            .arg(self.state())
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path());
        Program::start(command).await
    }

    /// Starts the proxy to a remote.
    pub async fn connect(&self, remote: &str, credentials: &Credentials) -> Result<Program> {
        let mut command = self.bowline(&["connect", "--json", "--remote", remote])?;
        if let Some(id) = &credentials.id {
            command.env("CLOUDFLARE_ACCESS_CLIENT_ID", id);
        }
        if let Some(secret) = &credentials.secret {
            command.env("CLOUDFLARE_ACCESS_CLIENT_SECRET", secret);
        }
        Program::start(command).await
    }

    /// Runs the test Worker with all its bindings at a remote.
    pub async fn dev(&self, remote: &str, credentials: &Credentials) -> Result<Program> {
        let mut command = self.with_toolchain(&["dev", "--json", "--port", "0", "--remote", remote])?;
        if let Some(id) = &credentials.id {
            command.env("CLOUDFLARE_ACCESS_CLIENT_ID", id);
        }
        if let Some(secret) = &credentials.secret {
            command.env("CLOUDFLARE_ACCESS_CLIENT_SECRET", secret);
        }
        Program::start(command).await
    }

    /// `bowline` with these arguments and all that npm needs to install workerd the first time.
    pub fn with_toolchain(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(program::bowline()?);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("CLOUDFLARE_ACCESS_CLIENT_ID")
            .env_remove("CLOUDFLARE_ACCESS_CLIENT_SECRET")
            .env("BOWLINE_CACHE", program::cache()?.join("bowline-e2e-cache"));
        if let Some(log) = self.log {
            command.env("BOWLINE_LOG", log);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Fetches the models that run in the process, or gives the reason why they cannot be had: the program was built without
    /// them, or the package index has none.
    pub async fn models(&self) -> Result<Result<(), String>> {
        let listed = program::run(self.with_toolchain(&["models", "list", "--json"])?, LIST).await?;
        let first = listed
            .stdout
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let model: Value = serde_json::from_slice(first).context("a row of `models list`")?;
        if model["runs"] != true {
            return Ok(Err(
                "this bowline was built without the feature `embedded-models`".to_owned(),
            ));
        }
        let pulled = program::run(self.with_toolchain(&["models", "pull"])?, PULL).await?;
        Ok(if pulled.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&pulled.stderr).into_owned())
        })
    }

    /// Runs `bowline access token …` on the remote's state and returns its document.
    pub async fn token(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = self.bowline(&["access", "token"])?;
        command
            .args(arguments)
            .arg("--json")
            .arg("--state")
            .arg(self.state());
        let output = program::run(command, Duration::from_secs(30)).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "token {arguments:?}: {}: {said}",
            output.status
        );
        serde_json::from_slice(&output.stdout).context("the document of `access token`")
    }

    /// Makes a token and returns it as what a client sends.
    pub async fn new_token(&self, name: &str) -> Result<Credentials> {
        let token = self.token(&["create", name]).await?;
        let text = |key: &str| {
            token[key]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("a token has `{key}`"))
        };
        Ok(Credentials {
            id: Some(text("client_id")?),
            secret: Some(text("client_secret")?),
        })
    }
}
