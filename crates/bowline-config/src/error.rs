//! What can be wrong with a configuration. Every message names the file.

use std::path::PathBuf;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no configuration where one was looked for.
    #[error("no wrangler.jsonc, wrangler.json or wrangler.toml in {}", .0.display())]
    NotFound(PathBuf),
    /// The file cannot be read.
    #[error("read {}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not in the language its name promises.
    #[error("{}: {problem}", .file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What the parser says, with the place.
        problem: String,
    },
    /// A member has the wrong shape.
    #[error("{}: `{key}` {problem}", .file.display())]
    Member {
        /// The file.
        file: PathBuf,
        /// The member at fault.
        key: String,
        /// What is wrong and what would be right.
        problem: String,
    },
}
