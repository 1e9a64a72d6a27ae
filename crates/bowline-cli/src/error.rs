//! What a command can end with, and the exit codes, which are documented API.

use std::process::ExitCode;

/// Who is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A command line that asks for the impossible. Exit code 2, as for flags that do not parse.
    User,
    /// A configuration file. Exit code 3.
    Config,
    /// Credentials. Exit code 4.
    Auth,
    /// The remote or workerd. Exit code 5.
    Remote,
    /// Bowline itself or the operating system. Exit code 1.
    Internal,
}

/// A failed command: what happened, and what to do next.
#[derive(Debug)]
pub(crate) struct CliError {
    kind: Kind,
    error: anyhow::Error,
    hints: Vec<String>,
}

impl CliError {
    /// A failure of `kind`.
    pub(crate) fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self {
            kind,
            error: error.into(),
            hints: Vec::new(),
        }
    }

    /// A failure told in words alone.
    pub(crate) fn message(kind: Kind, text: impl Into<String>) -> Self {
        Self::new(kind, anyhow::Error::msg(text.into()))
    }

    /// Adds what the user could do.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The exit code of this kind.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Internal => 1,
            Kind::User => 2,
            Kind::Config => 3,
            Kind::Auth => 4,
            Kind::Remote => 5,
        })
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Kind::Internal, error)
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error: {}", self.error)?;
        for cause in self.error.chain().skip(1) {
            write!(f, "\n  caused by: {cause}")?;
        }
        for hint in &self.hints {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}
