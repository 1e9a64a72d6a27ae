//! Where the state of Access is, and what its commands share.

use std::path::{Path, PathBuf};

use bowline_access_store::{AccessStore, AuditEntry, StoreError};
use bowline_secret::Secret;
use clap::Args;
use serde_json::Value;

use crate::env_vars::{BOWLINE_ACCESS_DATABASE_URL, Env};
use crate::error::{CliError, Kind};
use crate::output;

/// Which state.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// The remote's state folder.
    #[arg(long, default_value = ".bowline")]
    pub(crate) state: PathBuf,
    /// A file with the URL of a PostgreSQL database to keep the state of Access in, instead of the folder. The variable
    /// BOWLINE_ACCESS_DATABASE_URL does the same.
    #[arg(long, value_name = "FILE")]
    pub(crate) database_url_file: Option<PathBuf>,
}

/// Which state, and how to answer.
#[derive(Debug, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    state: StateArgs,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl StateArgs {
    /// Opens the state of Access.
    pub(crate) async fn open(&self, env: Env<'_>) -> Result<AccessStore, CliError> {
        let opened = match self.database_url(env)? {
            Some(url) => AccessStore::connect(&url).await,
            None => AccessStore::open(&self.state).await,
        };
        opened.map_err(failed)
    }

    /// The database's URL. From a file or the environment only: a flag's value is seen by everybody on the machine.
    fn database_url(&self, env: Env<'_>) -> Result<Option<Secret>, CliError> {
        match &self.database_url_file {
            Some(file) => read_secret(file).map(Some),
            None => Ok(env(BOWLINE_ACCESS_DATABASE_URL).map(Secret::new)),
        }
    }
}

fn read_secret(file: &Path) -> Result<Secret, CliError> {
    std::fs::read_to_string(file).map(Secret::new).map_err(|error| {
        CliError::new(
            Kind::User,
            anyhow::Error::new(error).context(format!("read {}", file.display())),
        )
    })
}

impl Common {
    /// Opens the state of Access.
    pub(crate) async fn open(&self, env: Env<'_>) -> Result<AccessStore, CliError> {
        self.state.open(env).await
    }

    /// Prints a result: the document, or lines for people.
    pub(crate) fn print(&self, document: &Value, lines: impl FnOnce() -> Vec<String>) {
        if self.json {
            output::result(&document.to_string());
        } else {
            lines().iter().for_each(|line| output::result(line));
        }
    }
}

/// A store's error as a command's.
pub(crate) fn failed(error: StoreError) -> CliError {
    let kind = match &error {
        error if error.is_callers() => Kind::User,
        StoreError::ConnectionString(_) => Kind::Config,
        _ => Kind::Internal,
    };
    CliError::new(kind, error)
}

/// Writes down what an operator did.
pub(crate) async fn audit(store: &AccessStore, event: &str, what: &str) -> Result<(), CliError> {
    let entry = AuditEntry {
        at_ms: jiff::Timestamp::now().as_millisecond(),
        event: event.to_owned(),
        decision: "done".to_owned(),
        identity: Some(what.to_owned()),
        ..AuditEntry::default()
    };
    store.audit(vec![entry]).await.map_err(failed)
}

/// Reads a JSON object of the API: given as text, or `@file`, or `-` for standard input.
pub(crate) fn object(text: &str) -> Result<Value, CliError> {
    let user = |error: anyhow::Error| CliError::new(Kind::User, error);
    let text = match text.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| user(anyhow::Error::new(error).context(format!("read {file}"))))?,
        None if text == "-" => std::io::read_to_string(std::io::stdin())
            .map_err(|error| user(anyhow::Error::new(error).context("read standard input")))?,
        None => text.to_owned(),
    };
    serde_json::from_str(&text)
        .map_err(|error| user(anyhow::Error::new(error).context("read the JSON object")))
}
