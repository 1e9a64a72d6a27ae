//! Why a Worker does not run.

use std::path::PathBuf;

use crate::ToolchainError;

/// A Worker that could not be started, or that ended. What workerd printed is in the text, for the cause is there.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// The project cannot be run as it is.
    #[error("run {}: {problem}", .file.display())]
    Project {
        /// The file at fault.
        file: PathBuf,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// There is no workerd to run.
    #[error("find workerd")]
    Toolchain(#[from] ToolchainError),
    /// The operating system refused something.
    #[error("{operation}")]
    System {
        /// What was being done.
        operation: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// workerd ended before it listened: it does not like the configuration or the Worker's code.
    #[error("start workerd: {status}{}", said(.stderr))]
    Rejected {
        /// How it ended.
        status: String,
        /// The last lines it printed on standard error.
        stderr: Vec<String>,
    },
    /// workerd ended after it was ready.
    #[error("keep workerd running: {status}{}", said(.stderr))]
    Exited {
        /// How it ended.
        status: String,
        /// The last lines it printed on standard error.
        stderr: Vec<String>,
    },
    /// workerd did not listen in time.
    #[error("start workerd: not ready within {seconds} s{}", said(.stderr))]
    NotReady {
        /// How long it was given, in seconds.
        seconds: u64,
        /// The last lines it printed on standard error.
        stderr: Vec<String>,
    },
}

impl RunnerError {
    pub(crate) fn system(operation: impl Into<String>, source: std::io::Error) -> Self {
        Self::System {
            operation: operation.into(),
            source,
        }
    }
}

fn said(stderr: &[String]) -> String {
    if stderr.is_empty() {
        "; it printed nothing".into()
    } else {
        format!("; it printed:\n{}", stderr.join("\n"))
    }
}
