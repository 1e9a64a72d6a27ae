//! workerd and npm capnweb: found, or installed once into a cache.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;

use crate::output::{Tail, lines};

/// The workerd that is installed when the project brings none.
pub const WORKERD_VERSION: &str = "1.20261117.1";

const PACKAGE: &str = include_str!("../npm/package.json");
const LOCK: &str = include_str!("../npm/package-lock.json");
/// The name of the cache entry. It changes with the lock.
const ENTRY: &str = "toolchain-1.20261117.1-0.12.0";
/// The module of npm capnweb that is made for workerd.
const CAPNWEB: &str = "node_modules/capnweb/dist/index-workers.js";
/// npm downloads some 50 MB.
const INSTALL_WITHIN: Duration = Duration::from_secs(300);

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const PLATFORM: &str = "workerd-linux-64";
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
const PLATFORM: &str = "workerd-linux-arm64";
#[cfg(all(target_os = "macos", target_arch = "x86_64"))]
const PLATFORM: &str = "workerd-darwin-64";
#[cfg(all(target_os = "macos", target_arch = "aarch64"))]
const PLATFORM: &str = "workerd-darwin-arm64";

/// Why there is nothing to run a Worker with.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// The path given is not a file.
    #[error("{} is not a workerd binary", .0.display())]
    NotABinary(PathBuf),
    /// npm is needed once, and is not installed.
    #[error("workerd {WORKERD_VERSION} is installed with npm, and npm was not found: install Node.js")]
    NoNpm,
    /// npm failed.
    #[error("npm could not install workerd {WORKERD_VERSION}: {status}{}", .stderr.iter().map(|line| format!("\n{line}")).collect::<String>())]
    Npm {
        /// How it ended.
        status: String,
        /// The last lines it printed on standard error.
        stderr: Vec<String>,
    },
    /// npm did not finish.
    #[error("npm did not install workerd {WORKERD_VERSION} within {} s", INSTALL_WITHIN.as_secs())]
    TooSlow,
    /// A binding needs npm capnweb, and the toolchain was put together without.
    #[error("a binding of this project needs npm capnweb, which this toolchain lacks")]
    NoCapnweb,
    /// The operating system refused something.
    #[error("{operation} {}", .path.display())]
    System {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Where to look, and where to install.
pub struct ToolchainOptions {
    /// The project's folder: its own workerd comes first.
    pub project: PathBuf,
    /// A workerd named by the user.
    pub workerd: Option<PathBuf>,
    /// A folder for what is installed, kept between runs. It is made when missing.
    pub cache_dir: PathBuf,
    /// npm itself: `npm`, looked up as a shell would, or a path.
    pub npm: PathBuf,
    /// Whether a binding needs npm capnweb (the forms `Rpc` and `Network` of `WorkerForm`).
    pub capnweb: bool,
    /// Told in one line what takes time.
    pub progress: Arc<dyn Fn(&str) + Send + Sync>,
}

/// What a Worker is run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The workerd binary.
    pub workerd: PathBuf,
    /// npm capnweb's module for workerd.
    pub capnweb: Option<PathBuf>,
}

impl Toolchain {
    /// Finds workerd: the project's own, then the one named, then ours from the cache, which is filled with npm.
    ///
    /// Cancel safe: a half-made installation is never used.
    ///
    /// # Errors
    /// npm is needed and missing, fails, or takes longer than 300 s.
    pub async fn find(options: &ToolchainOptions) -> Result<Self, ToolchainError> {
        let found = match (in_project(&options.project), &options.workerd) {
            (Some(workerd), _) => Some(workerd),
            (None, Some(workerd)) if workerd.is_file() => Some(workerd.clone()),
            (None, Some(workerd)) => return Err(ToolchainError::NotABinary(workerd.clone())),
            (None, None) => None,
        };
        if let (Some(workerd), false) = (&found, options.capnweb) {
            return Ok(Self {
                workerd: workerd.clone(),
                capnweb: None,
            });
        }
        let installed = installed(options).await?;
        Ok(Self {
            workerd: found.unwrap_or(installed.workerd),
            capnweb: installed.capnweb,
        })
    }
}

/// The binary of an installed npm workerd, past its launcher, which would need Node.js.
fn binary(folder: &Path) -> Option<PathBuf> {
    let file = folder
        .join("node_modules/@cloudflare")
        .join(PLATFORM)
        .join("bin/workerd");
    file.is_file().then_some(file)
}

/// As Node.js looks: in `node_modules` of the folder and of every folder above it.
fn in_project(folder: &Path) -> Option<PathBuf> {
    folder
        .ancestors()
        .filter(|folder| folder.join("node_modules/workerd").is_dir())
        .find_map(binary)
}

fn complete(folder: &Path) -> Option<Toolchain> {
    let capnweb = folder.join(CAPNWEB);
    Some(Toolchain {
        workerd: binary(folder)?,
        capnweb: Some(capnweb.is_file().then_some(capnweb)?),
    })
}

async fn installed(options: &ToolchainOptions) -> Result<Toolchain, ToolchainError> {
    let target = options.cache_dir.join(ENTRY);
    if let Some(toolchain) = complete(&target) {
        return Ok(toolchain);
    }
    let system = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| ToolchainError::System {
            operation,
            path,
            source,
        }
    };
    std::fs::create_dir_all(&options.cache_dir).map_err(system("make", &options.cache_dir))?;
    // Installed beside its place and moved there whole: a run that is cut short leaves nothing that looks finished.
    let folder = tempfile::Builder::new()
        .prefix("installing-")
        .tempdir_in(&options.cache_dir)
        .map_err(system("make a folder in", &options.cache_dir))?;
    for (name, text) in [("package.json", PACKAGE), ("package-lock.json", LOCK)] {
        let file = folder.path().join(name);
        std::fs::write(&file, text).map_err(system("write", &file))?;
    }
    (options.progress)(&format!("installing workerd {WORKERD_VERSION} with npm (once)"));
    npm(&options.npm, folder.path()).await?;
    let folder = folder.keep();
    if let Err(source) = std::fs::rename(&folder, &target) {
        // Another run was faster; its installation is as good.
        let _ = std::fs::remove_dir_all(&folder);
        if complete(&target).is_none() {
            return Err(system("move the installation to", &target)(source));
        }
    }
    complete(&target).ok_or_else(|| ToolchainError::Npm {
        status: "it reported success and left files out".into(),
        stderr: Vec::new(),
    })
}

async fn npm(program: &Path, folder: &Path) -> Result<(), ToolchainError> {
    let mut child = Command::new(program)
        // The lock names versions and digests; workerd's install script would only check what we look for ourselves.
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ToolchainError::NoNpm,
            _ => ToolchainError::System {
                operation: "run npm in",
                path: folder.to_owned(),
                source,
            },
        })?;
    let tail = Tail::default();
    let stderr = child.stderr.take();
    let work = async {
        if let Some(stderr) = stderr {
            lines(stderr, |line| tail.push(line)).await;
        }
        child.wait().await
    };
    match tokio::time::timeout(INSTALL_WITHIN, work).await {
        Err(_) => Err(ToolchainError::TooSlow),
        Ok(Err(source)) => Err(ToolchainError::System {
            operation: "wait for npm in",
            path: folder.to_owned(),
            source,
        }),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(ToolchainError::Npm {
            status: status.to_string(),
            stderr: tail.lines(),
        }),
    }
}
