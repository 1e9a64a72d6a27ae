//! Where a value came from, so that a message can say it.

use std::fmt;
use std::path::PathBuf;

/// The source of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The environment.
    Environment {
        /// The variable.
        name: String,
    },
    /// A `.env` or `.dev.vars` of the project.
    EnvFile {
        /// The file.
        file: PathBuf,
        /// The variable.
        name: String,
    },
    /// A settings file, under the host it was asked for.
    Settings {
        /// The file.
        file: PathBuf,
        /// The host as the file spells it.
        host: String,
    },
    /// A token file in cloudflared's folder.
    TokenFile {
        /// The file.
        file: PathBuf,
    },
    /// The calling program itself, which says what it is.
    Given(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment { name } => write!(f, "{name} in the environment"),
            Self::EnvFile { file, name } => write!(f, "{name} in {}", file.display()),
            Self::Settings { file, host } => write!(f, "\"{host}\" in {}", file.display()),
            Self::TokenFile { file } => write!(f, "the login stored in {}", file.display()),
            Self::Given(what) => f.write_str(what),
        }
    }
}
