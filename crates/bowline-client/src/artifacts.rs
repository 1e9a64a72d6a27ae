//! Artifacts, as `env.NAME` is in a Worker: git repositories, their tokens, and what is in them.
//!
//! Source of the wire: Cloudflare's Artifacts documentation, and captures of miniflare 5's client.
//!
//! Cloning and pushing is git's business: [`Created::remote`] with [`Created::token`] as the password, or as
//! `Authorization: Bearer …`.

use std::time::Duration;

use capnweb::{Capability, Stub, Value, kinds};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Binding, Error, ErrorKind, Rpc, Secret};

/// What went wrong, by the binding's own name for it: `code` of the error that a Worker catches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// An argument cannot be used.
    InvalidInput,
    /// A repository's name cannot be used.
    InvalidRepoName,
    /// A token's lifetime is too short or too long.
    InvalidTtl,
    /// An import's URL cannot be used.
    InvalidUrl,
    /// An import's source asks for credentials.
    RemoteAuthRequired,
    /// There is no such repository, or no such branch at an import's source.
    NotFound,
    /// There is a repository of that name.
    AlreadyExists,
    /// The repository is still being imported.
    ImportInProgress,
    /// The repository is still being forked.
    ForkInProgress,
    /// Something failed at the remote.
    InternalError,
    /// The remote, or an import's source, cannot do it now.
    UpstreamUnavailable,
    /// An object is too large to be read.
    MemoryLimit,
}

impl Code {
    const NAMES: [(Self, &'static str); 12] = [
        (Self::InvalidInput, "INVALID_INPUT"),
        (Self::InvalidRepoName, "INVALID_REPO_NAME"),
        (Self::InvalidTtl, "INVALID_TTL"),
        (Self::InvalidUrl, "INVALID_URL"),
        (Self::RemoteAuthRequired, "REMOTE_AUTH_REQUIRED"),
        (Self::NotFound, "NOT_FOUND"),
        (Self::AlreadyExists, "ALREADY_EXISTS"),
        (Self::ImportInProgress, "IMPORT_IN_PROGRESS"),
        (Self::ForkInProgress, "FORK_IN_PROGRESS"),
        (Self::InternalError, "INTERNAL_ERROR"),
        (Self::UpstreamUnavailable, "UPSTREAM_UNAVAILABLE"),
        (Self::MemoryLimit, "MEMORY_LIMIT"),
    ];

    /// The code of an error, if Artifacts gave it one that is known here.
    pub fn of(error: &Error) -> Option<Self> {
        let code: String = error.rejection()?.prop("code")?;
        let (known, _) = Self::NAMES.into_iter().find(|(_, name)| *name == code)?;
        Some(known)
    }
}

/// What a new repository may be told.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepoOptions {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Nobody may push to it.
    pub read_only: bool,
    /// The branch that `HEAD` names: `main` unless told. Forks and imports keep their source's.
    #[serde(rename = "setDefaultBranch", skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    /// Of a fork: leave out other branches, and tags.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub default_branch_only: bool,
}

/// Where an import comes from.
#[derive(Debug, Clone)]
pub struct ImportSource {
    /// An `https` URL. Not shown: it may have credentials in it.
    pub url: Secret,
    /// One branch only, instead of all.
    pub branch: Option<String>,
    /// That many commits of history only.
    pub depth: Option<u32>,
}

impl ImportSource {
    /// All branches and tags of a repository, with their history.
    pub fn new(url: impl AsRef<str>) -> Self {
        Self {
            url: Secret::new(url),
            branch: None,
            depth: None,
        }
    }
}

/// A repository that was made.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    /// Its id, which no other repository will ever have.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The branch that `HEAD` names.
    pub default_branch: String,
    /// Its URL for git.
    pub remote: String,
    /// A token that may write.
    #[serde(deserialize_with = "secret")]
    pub token: Secret,
    /// When the token ends, RFC 3339. Not every remote says.
    #[serde(default)]
    pub token_expires_at: Option<String>,
}

/// Facts about a repository. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The branch that `HEAD` names.
    pub default_branch: String,
    /// `artifacts:NAMESPACE/REPO` of a fork, `git:URL` of an import.
    pub source: Option<String>,
    /// Whether nobody may push to it.
    pub read_only: bool,
    /// When it was made.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
    /// When somebody last pushed to it.
    pub last_push_at: Option<String>,
    /// Its URL for git; absent in lists.
    #[serde(default)]
    pub remote: Option<String>,
}

/// Some of the repositories, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Page {
    /// The repositories of this page.
    pub repos: Vec<Info>,
    /// How many there are in all.
    pub total: u64,
    /// Where the next page starts; absent on the last one.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// What a token lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Clone and fetch.
    Read,
    /// Push as well.
    Write,
}

/// A token that was made. Only here is it shown.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Its id, by which it can be revoked.
    pub id: String,
    /// The token itself.
    #[serde(deserialize_with = "secret")]
    pub plaintext: Secret,
    /// What it lets its holder do.
    pub scope: Scope,
    /// When it ends, RFC 3339.
    pub expires_at: String,
}

/// Whether a token is good for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenState {
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
}

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenInfo {
    /// Its id.
    pub id: String,
    /// What it lets its holder do.
    pub scope: Scope,
    /// Whether it is good for something.
    pub state: TokenState,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it ends, RFC 3339.
    pub expires_at: String,
}

/// Tokens of a repository, active ones first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Tokens {
    /// How many there are; not all are listed.
    pub total: u64,
    /// The first of them.
    pub tokens: Vec<TokenInfo>,
}

/// What an entry of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A file.
    Blob,
    /// A file that can be run.
    Exec,
    /// A folder.
    Tree,
    /// A symbolic link, whose blob is its target.
    Symlink,
    /// A commit of another repository.
    Gitlink,
}

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// Its name within the folder.
    pub name: String,
    /// git's mode, octal: `100644`.
    pub mode: String,
    /// The object it names.
    pub hash: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EntryKind,
}

/// Who made a commit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// Its hash.
    pub hash: String,
    /// Its tree.
    pub tree_hash: String,
    /// What it says.
    pub message: String,
    /// Who wrote it.
    pub author: Person,
    /// Who put it there.
    pub committer: Person,
    /// What it follows; more than one for a merge.
    pub parents: Vec<String>,
    /// When it was written, in seconds since 1970.
    pub authored_at: i64,
    /// When it was put there, in seconds since 1970.
    pub committed_at: i64,
}

/// Which commits to list.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LogOptions {
    /// Where to start: `HEAD` unless told; a branch, a tag, a full ref, or a hash.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// How many: 50 unless told, up to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// How many to leave out first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u32>,
}

/// The bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its media type; empty when only a hash was given.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A namespace of repositories by the name of its binding. Cheap to clone. Each call is a session of its own.
#[derive(Debug, Clone)]
pub struct Artifacts(Binding);

impl Artifacts {
    /// The namespace behind a binding.
    pub fn new(binding: Binding) -> Self {
        Self(binding)
    }

    /// Makes an empty repository. Names are the same in either case.
    pub async fn create(&self, name: &str, options: &RepoOptions) -> Result<Created, Error> {
        let options = encoded(&self.0, "create", options)?;
        self.call("create", [name.into(), options]).await
    }

    /// Copies a repository from elsewhere. The remote ends it after a while: 10 minutes at a Bowline.
    pub async fn import(
        &self,
        source: &ImportSource,
        name: &str,
        options: &RepoOptions,
    ) -> Result<Created, Error> {
        let options = encoded(&self.0, "import", options)?;
        let mut from = vec![("url", Value::from(source.url.expose()))];
        from.extend(source.branch.as_deref().map(|branch| ("branch", branch.into())));
        from.extend(source.depth.map(|depth| ("depth", depth.into())));
        let target = Value::object([("name", name.into()), ("opts", options)]);
        let request = Value::object([("source", Value::object(from)), ("target", target)]);
        self.call("import", [request]).await
    }

    /// The repository of a name.
    pub async fn get(&self, name: &str) -> Result<Repo, Error> {
        let rpc = self.0.rpc().await?;
        match rpc.call("get", [name.into()]).await? {
            Value::Capability(Capability::Stub(stub)) => Ok(Repo {
                binding: self.0.clone(),
                rpc,
                stub,
            }),
            other => {
                let text = format!("a repository was expected, and this came: {other:?}");
                Err(self.0.fails("get", ErrorKind::Answer(text)))
            }
        }
    }

    /// Repositories, newest first: `limit` of them (up to 200) after a page's `cursor`, or from the beginning.
    pub async fn list(&self, limit: u32, cursor: Option<&str>) -> Result<Page, Error> {
        let mut options = vec![("limit", Value::from(limit))];
        options.extend(cursor.map(|cursor| ("cursor", cursor.into())));
        self.call("list", [Value::object(options)]).await
    }

    /// Deletes a repository and all that is in it; whether there was one.
    pub async fn delete(&self, name: &str) -> Result<bool, Error> {
        self.call("delete", [name.into()]).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<T, Error> {
        let rpc = self.0.rpc().await?;
        rpc.read(method, rpc.stub().call(method, args)).await
    }
}

/// One repository: another one that is made later under its name is not mistaken for it. Cheap to clone; holds a session.
#[derive(Debug, Clone)]
pub struct Repo {
    binding: Binding,
    rpc: Rpc,
    stub: Stub,
}

impl Repo {
    /// Facts about it.
    pub async fn info(&self) -> Result<Info, Error> {
        self.call("info", []).await
    }

    /// Makes a token, good for 60 s to a year.
    pub async fn create_token(&self, scope: Scope, lifetime: Duration) -> Result<Token, Error> {
        let scope = encoded(&self.binding, "createToken", &scope)?;
        // The remote tells what it takes; beyond 2^53 it takes nothing.
        let seconds = Value::Number(lifetime.as_secs() as f64);
        self.call("createToken", [scope, seconds]).await
    }

    /// Its tokens, without their texts.
    pub async fn list_tokens(&self) -> Result<Tokens, Error> {
        self.call("listTokens", []).await
    }

    /// Takes back a token, by its text or id; whether it was active.
    pub async fn revoke_token(&self, token_or_id: &str) -> Result<bool, Error> {
        self.call("revokeToken", [token_or_id.into()]).await
    }

    /// Copies it within its namespace.
    pub async fn fork(&self, name: &str, options: &RepoOptions) -> Result<Created, Error> {
        let options = encoded(&self.binding, "fork", options)?;
        self.call("fork", [name.into(), options]).await
    }

    /// The bytes of a blob, `None` when there is none of that hash.
    pub async fn read_blob(&self, hash: &str) -> Result<Option<Vec<u8>>, Error> {
        let blob: Option<kinds::Blob> = self.call("readBlob", [hash.into()]).await?;
        Ok(blob.map(|blob| blob.0.bytes))
    }

    /// The entries of a tree, `None` when there is no object of that hash.
    pub async fn read_tree(&self, hash: &str) -> Result<Option<Vec<Entry>>, Error> {
        self.call("readTree", [hash.into()]).await
    }

    /// A commit, `None` when there is no object of that hash.
    pub async fn read_commit(&self, hash: &str) -> Result<Option<Commit>, Error> {
        self.call("readCommit", [hash.into()]).await
    }

    /// A file at a branch, tag, full ref or commit; `None` when there is no file there.
    pub async fn read_file(&self, reference: &str, path: &str) -> Result<Option<File>, Error> {
        let place = Value::object([("ref", reference.into()), ("path", path.into())]);
        let blob: Option<kinds::Blob> = self.call("readFile", [place]).await?;
        Ok(blob.map(|kinds::Blob(blob)| File {
            media_type: blob.media_type,
            bytes: blob.bytes,
        }))
    }

    /// Commits, newest first, of each merge the first parent only.
    pub async fn log(&self, options: &LogOptions) -> Result<Vec<Commit>, Error> {
        let options = encoded(&self.binding, "log", options)?;
        self.call("log", [options]).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<T, Error> {
        self.rpc.read(method, self.stub.call(method, args)).await
    }
}

fn encoded(binding: &Binding, operation: &'static str, data: &impl Serialize) -> Result<Value, Error> {
    capnweb::to_value(data).map_err(|error| binding.fails(operation, ErrorKind::Invalid(error.message())))
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}
