//! One namespace: its catalog, and its repositories on disk.
//!
//! ```text
//! <state>/artifacts/<namespace>/catalog.sqlite     names, tokens, times
//!                              /repos/<id>.git     bare repositories, named by id
//!                              /trash/             deleted ones, until their files are gone
//!                              /reserve            room for deletions when the disk is full
//! ```
//!
//! A repository exists when its row does: the row is written after its folder, and removed before it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use bowline_binding::ConfigError;
use bowline_catalog::Reserve;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::catalog::{Catalog, CatalogError, Page, Place, Repo, State, Token};
use crate::config::Config;
use crate::error::{Code, Refusal};
use crate::git::{Git, GitError};
use crate::import;
use crate::objects::Objects;
use crate::request::{DEFAULT_TTL, Import, RepoOptions};
use crate::token::{Minted, Scope, SecretHash, is_token, mint, new_id};

/// How long `git init` may take on a busy machine.
const INIT: Duration = Duration::from_secs(30);
/// Folders without a row are deleted when they are older: younger ones may be in the making.
const ABANDONED: Duration = Duration::from_secs(3600);
/// What `setDefaultBranch` is when nothing is said.
const DEFAULT_BRANCH: &str = "main";
/// Tokens that `listTokens` shows.
const LISTED_TOKENS: i64 = 30;

/// A token as its caller sees it, once.
pub(crate) struct Shown {
    pub(crate) id: String,
    pub(crate) plaintext: String,
    pub(crate) scope: Scope,
    pub(crate) expires_at: i64,
}

/// A namespace that is open.
pub(crate) struct Namespace {
    pub(crate) config: Config,
    pub(crate) git: Git,
    pub(crate) catalog: Catalog,
    reserve: Reserve,
    folder: PathBuf,
    /// Where the git endpoint is served; `None` while it is not.
    origin: RwLock<Option<String>>,
    turns: Arc<Semaphore>,
    clock: fn() -> i64,
}

impl Namespace {
    pub(crate) fn open(config: Config, state: &Path) -> Result<Self, ConfigError> {
        let git = Git::find(&config.git).map_err(|source| ConfigError {
            source: Some(source.into()),
            ..ConfigError::new(
                "git",
                format!(
                    "cannot run {}; install git, or name the program here",
                    config.git.display()
                ),
            )
        })?;
        let folder = state.join("artifacts").join(&config.namespace);
        let unusable = |source: bowline_binding::BoxError| ConfigError {
            source: Some(source),
            ..ConfigError::new("namespace", format!("cannot use the folder {}", folder.display()))
        };
        for part in ["repos", "trash"] {
            std::fs::create_dir_all(folder.join(part)).map_err(|error| unusable(error.into()))?;
        }
        let catalog =
            Catalog::open(&folder.join("catalog.sqlite")).map_err(|error| unusable(error.into()))?;
        sweep(&folder, &catalog).map_err(|error| unusable(error.into()))?;
        Ok(Self {
            turns: Arc::new(Semaphore::new(config.limits.exchanges)),
            origin: RwLock::new(config.origin.clone()),
            config,
            git,
            catalog,
            reserve: Reserve::open(&folder),
            folder,
            clock: || jiff::Timestamp::now().as_millisecond(),
        })
    }

    /// Milliseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        (self.clock)()
    }

    /// Learns where the git endpoint is served, unless the configuration says where clients find it.
    pub(crate) fn mounted(&self, origin: &str) {
        if self.config.origin.is_none()
            && let Ok(mut known) = self.origin.write()
        {
            *known = Some(origin.trim_end_matches('/').to_owned());
        }
    }

    /// The URL for git clients.
    pub(crate) fn remote(&self, name: &str) -> Result<String, Refusal> {
        let origin = self.origin.read().ok().and_then(|origin| origin.clone());
        let origin = origin.ok_or_else(|| {
            Refusal::new(
                Code::UpstreamUnavailable,
                "the git endpoint of this place is not being served, so repositories have no remote",
            )
        })?;
        Ok(format!("{origin}/git/{}/{name}.git", self.config.namespace))
    }

    pub(crate) fn repo_folder(&self, id: &str) -> PathBuf {
        self.folder.join("repos").join(format!("{id}.git"))
    }

    /// Waits for leave to run git. `None` when it does not come in time.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        tokio::time::timeout(self.config.limits.queue_wait, turn)
            .await
            .ok()?
            .ok()
    }

    async fn turn_or_refusal(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.turn().await.ok_or_else(|| {
            Refusal::new(
                Code::UpstreamUnavailable,
                "too many git processes are running; please retry",
            )
        })
    }

    /// Runs something that blocks.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let own = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&own))
            .await
            .unwrap_or_else(|error| Err(Refusal::internal("an internal error occurred", error)))
    }

    /// The repository of a name, if it can be used.
    pub(crate) async fn find(self: &Arc<Self>, name: String) -> Result<Repo, Refusal> {
        let found = self
            .blocking({
                let name = name.clone();
                move |own| Ok(own.catalog.find(&name)?)
            })
            .await?;
        self.usable(found, &name)
    }

    /// The repository of an id: what a stub holds on to, so that another one of the same name is not mistaken for it.
    pub(crate) async fn by_id(self: &Arc<Self>, id: &str, name: &str) -> Result<Repo, Refusal> {
        let id = id.to_owned();
        let found = self.blocking(move |own| Ok(own.catalog.by_id(&id)?)).await?;
        self.usable(found, name)
    }

    fn usable(&self, found: Option<Repo>, name: &str) -> Result<Repo, Refusal> {
        let repo = found.ok_or_else(|| Refusal::no_repo(name))?;
        match repo.state {
            State::Ready => Ok(repo),
            // Whoever made it is gone.
            _ if repo.lease < self.now() => Err(Refusal::no_repo(name)),
            State::Importing => Err(Refusal::new(
                Code::ImportInProgress,
                format!("Repository {name} is still being imported."),
            )),
            State::Forking => Err(Refusal::new(
                Code::ForkInProgress,
                format!("Repository {name} is still being forked."),
            )),
        }
    }

    pub(crate) async fn list(self: &Arc<Self>, limit: i64, after: Option<Place>) -> Result<Page, Refusal> {
        self.blocking(move |own| Ok(own.catalog.list(after.as_ref(), limit)?))
            .await
    }

    /// An empty repository. Run it to its end: it cleans up after itself only then.
    pub(crate) async fn create(
        self: Arc<Self>,
        name: String,
        options: RepoOptions,
    ) -> Result<(Repo, Shown), Refusal> {
        // Before the work, for the usual case; the key decides in the end.
        if let Some(taken) = self
            .blocking({
                let name = name.clone();
                move |own| Ok(own.catalog.find(&name)?)
            })
            .await?
            && (taken.state == State::Ready || taken.lease >= self.now())
        {
            return Err(CatalogError::Taken(name).into());
        }
        let _turn = self.turn_or_refusal().await?;
        let repo = self.new_repo(name, options, State::Ready, None)?;
        let folder = self.repo_folder(&repo.id);
        if let Err(error) = self.git.init(&folder, &repo.default_branch, INIT).await {
            self.discard(&folder).await;
            return Err(Refusal::internal("the repository could not be made", error));
        }
        let added = self
            .blocking({
                let repo = repo.clone();
                move |own| {
                    let (minted, token) = own.mint(Scope::Write, DEFAULT_TTL)?;
                    let replaced = own.catalog.add(&repo, Some((&minted, &token)), own.now())?;
                    Ok((replaced, shown(minted, &token)))
                }
            })
            .await;
        match added {
            Ok((replaced, token)) => {
                self.discard_replaced(replaced).await;
                Ok((repo, token))
            }
            Err(refusal) => {
                self.discard(&folder).await;
                Err(refusal)
            }
        }
    }

    /// A copy of a repository. Run it to its end.
    pub(crate) async fn fork(
        self: Arc<Self>,
        source: Repo,
        name: String,
        options: RepoOptions,
    ) -> Result<(Repo, Shown), Refusal> {
        let only = options.default_branch_only;
        let origin = format!("artifacts:{}/{}", self.config.namespace, source.name);
        let mut repo = self.new_repo(name, options, State::Forking, Some(origin))?;
        repo.default_branch = source.default_branch.clone();
        let from = self.repo_folder(&source.id);
        self.copy(repo, async |own, folder| {
            let born = {
                let (from, branch) = (from.clone(), format!("refs/heads/{}", source.default_branch));
                own.blocking(move |_| Ok(!Objects::open(&from)?.log(&branch, 1, 0)?.is_empty()))
                    .await?
            };
            let failed = |error| Refusal::internal("the repository could not be forked", error);
            if only && !born {
                own.git
                    .init(folder, &source.default_branch, INIT)
                    .await
                    .map_err(failed)?;
                return Ok(source.default_branch.clone());
            }
            let mut command = own.git.command();
            // Through a pack and not by links: what no ref reaches any more must not become readable in the fork.
            command.args(["clone", "--quiet", "--bare", "--no-local", "--template="]);
            if only {
                // Tags that lead to what the branch has come along, as in miniflare's simulator.
                command.args(["--single-branch", "--branch", &source.default_branch]);
            }
            command.arg("--").arg(&from).arg(folder);
            import::copy(command, folder, &own.config.limits)
                .await
                .map_err(failed)?;
            own.forget_origin(folder).await.map_err(failed)?;
            Ok(source.default_branch.clone())
        })
        .await
    }

    /// A copy of somebody else's repository. Run it to its end.
    pub(crate) async fn import(self: Arc<Self>, request: Import) -> Result<(Repo, Shown), Refusal> {
        let Import {
            source,
            name,
            options,
        } = request;
        let repo = self.new_repo(
            name,
            options,
            State::Importing,
            Some(format!("git:{}", source.url)),
        )?;
        self.copy(repo, async |own, folder| {
            let command = import::command(&own.git, &own.config, &source, folder).await?;
            import::copy(command, folder, &own.config.limits)
                .await
                .map_err(import::explain)?;
            own.forget_origin(folder)
                .await
                .map_err(|error| Refusal::internal("the repository could not be imported", error))?;
            let folder = folder.to_owned();
            own.blocking(move |_| {
                let branch = Objects::open(&folder)?.head_branch()?;
                Ok(branch.unwrap_or_else(|| DEFAULT_BRANCH.to_owned()))
            })
            .await
        })
        .await
    }

    /// Reserves the name, lets `make` fill the folder, and makes the repository ready; or takes everything back.
    async fn copy(
        self: &Arc<Self>,
        mut repo: Repo,
        make: impl AsyncFnOnce(&Arc<Self>, &Path) -> Result<String, Refusal>,
    ) -> Result<(Repo, Shown), Refusal> {
        let _turn = self.turn_or_refusal().await?;
        let replaced = self
            .blocking({
                let repo = repo.clone();
                move |own| Ok(own.catalog.add(&repo, None, own.now())?)
            })
            .await?;
        self.discard_replaced(replaced).await;
        let folder = self.repo_folder(&repo.id);
        let made = match make(self, &folder).await {
            Ok(branch) => {
                repo.default_branch = branch;
                let repo = repo.clone();
                self.blocking(move |own| {
                    let (minted, token) = own.mint(Scope::Write, DEFAULT_TTL)?;
                    let finished =
                        own.catalog
                            .finish(&repo.id, &repo.default_branch, (&minted, &token), own.now())?;
                    if !finished {
                        return Err(Refusal::no_repo(&repo.name));
                    }
                    Ok(shown(minted, &token))
                })
                .await
            }
            Err(refusal) => Err(refusal),
        };
        match made {
            Ok(token) => Ok((repo, token)),
            Err(refusal) => {
                let id = repo.id.clone();
                // The lease ends by itself should even this fail.
                let _ = self
                    .blocking(move |own| Ok(own.reserve.run(|| own.catalog.remove_id(&id))?))
                    .await;
                self.discard(&folder).await;
                self.refill().await;
                Err(refusal)
            }
        }
    }

    /// Deletes a repository; whether there was one.
    pub(crate) async fn delete(self: Arc<Self>, name: String) -> Result<bool, Refusal> {
        let removed = self
            .blocking(move |own| Ok(own.reserve.run(|| own.catalog.remove(&name))?))
            .await?;
        if let Some(id) = &removed {
            self.discard(&self.repo_folder(id)).await;
            self.refill().await;
        }
        Ok(removed.is_some())
    }

    pub(crate) async fn create_token(
        self: &Arc<Self>,
        repo: String,
        scope: Scope,
        ttl: i64,
    ) -> Result<Shown, Refusal> {
        self.blocking(move |own| {
            let (minted, token) = own.mint(scope, ttl)?;
            own.catalog.add_token(&repo, &minted, &token)?;
            Ok(shown(minted, &token))
        })
        .await
    }

    pub(crate) async fn tokens(self: &Arc<Self>, repo: String) -> Result<(Vec<Token>, i64), Refusal> {
        self.blocking(move |own| Ok(own.catalog.tokens(&repo, own.now(), LISTED_TOKENS)?))
            .await
    }

    pub(crate) async fn revoke(self: &Arc<Self>, repo: String, token_or_id: String) -> Result<bool, Refusal> {
        self.blocking(move |own| {
            let revoke = || {
                let hash = is_token(&token_or_id).then(|| SecretHash::of(&token_or_id));
                own.catalog.revoke(&repo, &token_or_id, hash, own.now())
            };
            let revoked = own.reserve.run(revoke)?;
            own.reserve.fill();
            Ok(revoked)
        })
        .await
    }

    fn new_repo(
        &self,
        name: String,
        options: RepoOptions,
        state: State,
        source: Option<String>,
    ) -> Result<Repo, Refusal> {
        let now = self.now();
        let lease = i64::try_from((self.config.limits.copy + INIT).as_millis()).unwrap_or(i64::MAX);
        Ok(Repo {
            id: new_id().map_err(CatalogError::from)?,
            name,
            description: options.description,
            default_branch: options
                .default_branch
                .unwrap_or_else(|| DEFAULT_BRANCH.to_owned()),
            read_only: options.read_only,
            source,
            created_at: now,
            updated_at: now,
            last_push_at: None,
            state,
            lease: if state == State::Ready { 0 } else { now + lease },
        })
    }

    fn mint(&self, scope: Scope, ttl: i64) -> Result<(Minted, Token), Refusal> {
        let now = self.now();
        let expires_at = now + ttl * 1000;
        let minted = mint(expires_at / 1000).map_err(CatalogError::from)?;
        let token = Token {
            id: minted.id.clone(),
            scope,
            created_at: now,
            expires_at,
            revoked: false,
        };
        Ok((minted, token))
    }

    /// `git clone` notes where it cloned from, which is nobody's business here.
    async fn forget_origin(&self, folder: &Path) -> Result<(), GitError> {
        let mut command = self.git.command();
        command
            .arg("--git-dir")
            .arg(folder)
            .args(["config", "--remove-section", "remote.origin"]);
        crate::git::run(command, INIT).await.map(drop)
    }

    async fn discard_replaced(&self, id: Option<String>) {
        if let Some(id) = id {
            self.discard(&self.repo_folder(&id)).await;
        }
    }

    async fn refill(self: &Arc<Self>) {
        let filled = self.blocking(|own| {
            own.reserve.fill();
            Ok(())
        });
        // It cannot fail; what there is to say is in the log.
        let _ = filled.await;
    }

    /// Moves a folder out of the way and deletes it there. What fails is tried again when the namespace is opened.
    async fn discard(&self, folder: &Path) {
        let trash = self
            .folder
            .join("trash")
            .join(folder.file_name().unwrap_or_default());
        let moved = tokio::fs::rename(folder, &trash).await;
        let removed = match moved {
            Ok(()) => tokio::fs::remove_dir_all(&trash).await,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            // A full disk may have no room for a name in another folder.
            Err(_) => tokio::fs::remove_dir_all(folder).await,
        };
        if let Err(error) = removed {
            tracing::warn!(folder = %folder.display(), error = %error, "a repository's files are still there");
        }
    }
}

fn shown(minted: Minted, token: &Token) -> Shown {
    Shown {
        id: minted.id,
        plaintext: minted.plaintext,
        scope: token.scope,
        expires_at: token.expires_at,
    }
}

/// Deletes what an earlier process left half-way.
fn sweep(folder: &Path, catalog: &Catalog) -> Result<(), CatalogError> {
    let known: std::collections::HashSet<String> = catalog.ids()?.into_iter().collect();
    let old = |path: &Path| {
        let modified = path.metadata().and_then(|metadata| metadata.modified());
        modified.is_ok_and(|modified| {
            SystemTime::now()
                .duration_since(modified)
                .is_ok_and(|age| age > ABANDONED)
        })
    };
    let listed = |part: &str| {
        std::fs::read_dir(folder.join(part))
            .into_iter()
            .flatten()
            .flatten()
    };
    for entry in listed("repos") {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".git"));
        if id.is_none_or(|id| !known.contains(id)) && old(&entry.path()) {
            let _ = std::fs::rename(entry.path(), folder.join("trash").join(&name));
        }
    }
    for entry in listed("trash") {
        // Another process may be deleting it, too.
        let _ = std::fs::remove_dir_all(entry.path());
    }
    Ok(())
}
