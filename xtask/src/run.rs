//! Running other programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The workspace root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned()
}

/// A cargo command in the workspace root.
pub(crate) fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}

/// Cargo's target folder.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    let output = cargo(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .context("start cargo metadata")?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let target = metadata["target_directory"]
        .as_str()
        .context("no target directory in cargo metadata")?;
    Ok(target.into())
}

/// Runs a command, its output shown, and fails unless it succeeds.
pub(crate) fn check(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("start {shown}"))?;
    if !status.success() {
        bail!("{shown} ended with {status}");
    }
    Ok(())
}

/// Whether a program can be started and says it is well.
pub(crate) fn works(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Installs npm packages into a folder, once for each change of the lock.
pub(crate) fn npm(folder: &Path, package: &str, lock: &str) -> anyhow::Result<()> {
    let stamp = folder.join(".installed");
    let wanted = format!("{package}{lock}");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("package.json"), package)?;
    std::fs::write(folder.join("package-lock.json"), lock)?;
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(folder)
        // Rows alone go to standard output.
        .stdout(std::process::Stdio::null());
    check(&mut npm)?;
    std::fs::write(stamp, wanted)?;
    Ok(())
}

/// What the end-to-end tests need from Debian. `pg_lsclusters` comes with PostgreSQL, whose own programs are in no path.
pub(crate) fn test_peers() -> anyhow::Result<()> {
    let mut packages = missing(&[
        ("node", "nodejs"),
        ("npm", "npm"),
        ("git", "git"),
        ("pg_lsclusters", "postgresql"),
        ("chromium", "chromium"),
        ("setpriv", "util-linux"),
        ("python3", "python3"),
        ("go", "golang-go"),
    ]);
    // A library of Go's is a package of its own, in source.
    if !Path::new("/usr/share/gocode/src/github.com/coreos/go-oidc").exists() {
        packages.push("golang-github-coreos-go-oidc-dev");
    }
    // Debian keeps the part that makes environments in a package of its own.
    if !works("python3", &["-c", "import ensurepip"]) {
        packages.push("python3-venv");
    }
    install(&packages)
}

/// Debian packages for programs that are not there yet: `(program, package)`.
pub(crate) fn debian(needed: &[(&str, &'static str)]) -> anyhow::Result<()> {
    install(&missing(needed))
}

/// The packages of the programs that cannot be found.
fn missing(needed: &[(&str, &'static str)]) -> Vec<&'static str> {
    let found = |program: &str| {
        let script = format!("command -v {program} || command -v /usr/sbin/{program}");
        works("sh", &["-c", &script])
    };
    needed
        .iter()
        .filter(|(program, _)| !found(program))
        .map(|(_, package)| *package)
        .collect()
}

fn install(packages: &[&str]) -> anyhow::Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", packages.join(", "));
    let mut update = Command::new("apt-get");
    check(update.args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    check(
        install
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .with_context(|| {
        format!(
            "install {} (or install them yourself and run this again)",
            packages.join(", ")
        )
    })
}
