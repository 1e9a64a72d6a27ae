//! A remote whose state is on a small disk of its own, which can be full.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::program::{self, Program};
use crate::project::Project;

/// A running remote, without Access, and its disk.
pub struct SmallDisk {
    /// The remote.
    pub remote: Program,
    /// Not below the state folder's own path: the disk is there for the remote alone.
    filler: PathBuf,
}

impl SmallDisk {
    /// Starts a project's remote on a fresh disk of some megabytes.
    pub async fn start(project: &Project, megabytes: u32) -> Result<Self> {
        std::fs::create_dir(project.state())?;
        let mut command = program::cleared("unshare".as_ref());
        command
            .args(["-rm", "sh", "-c"])
            .arg(format!(
                "mount -t tmpfs -o size={megabytes}m tmpfs \"$0\" && exec \"$@\""
            ))
            .arg(project.state())
            .arg(program::bowline()?)
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--access", "off"])
            .arg("--config")
            .arg(project.folder())
            .arg("--state")
            .arg(project.state())
            .env("HOME", project.folder());
        let remote = Program::start(command).await?;
        let process = remote.id().context("the remote runs")?;
        let filler = format!("/proc/{process}/root{}/filler", project.state().display());
        Ok(Self {
            remote,
            filler: filler.into(),
        })
    }

    /// Writes until not a byte is left.
    pub fn fill(&self) -> Result<()> {
        let mut file = std::fs::File::create(&self.filler)?;
        for size in [64 * 1024, 1] {
            let chunk = vec![1; size];
            let full = loop {
                // What is left for a smaller chunk is not for this one.
                if let Err(error) = file.write_all(&chunk) {
                    break error;
                }
            };
            ensure!(full.kind() == ErrorKind::StorageFull, "{full}");
        }
        Ok(())
    }

    /// Gives the room back.
    pub fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(&self.filler)?)
    }
}
