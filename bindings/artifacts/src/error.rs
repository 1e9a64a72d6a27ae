//! Refusals, as the caller sees them.

use capnweb::{Error, ErrorValue};

use crate::catalog::CatalogError;

/// What went wrong, by Cloudflare's name and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidInput,
    InvalidRepoName,
    InvalidTtl,
    InvalidUrl,
    RemoteAuthRequired,
    NotFound,
    AlreadyExists,
    ImportInProgress,
    ForkInProgress,
    Internal,
    UpstreamUnavailable,
    MemoryLimit,
}

impl Code {
    fn name(self) -> &'static str {
        self.pair().0
    }

    fn number(self) -> u32 {
        self.pair().1
    }

    fn pair(self) -> (&'static str, u32) {
        match self {
            Self::InvalidInput => ("INVALID_INPUT", 10100),
            Self::InvalidRepoName => ("INVALID_REPO_NAME", 10101),
            Self::InvalidTtl => ("INVALID_TTL", 10103),
            Self::InvalidUrl => ("INVALID_URL", 10104),
            Self::RemoteAuthRequired => ("REMOTE_AUTH_REQUIRED", 10106),
            Self::NotFound => ("NOT_FOUND", 10200),
            Self::AlreadyExists => ("ALREADY_EXISTS", 10201),
            Self::ImportInProgress => ("IMPORT_IN_PROGRESS", 10302),
            Self::ForkInProgress => ("FORK_IN_PROGRESS", 10303),
            Self::Internal => ("INTERNAL_ERROR", 10400),
            Self::UpstreamUnavailable => ("UPSTREAM_UNAVAILABLE", 10401),
            Self::MemoryLimit => ("MEMORY_LIMIT", 10402),
        }
    }
}

/// A refusal with its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidInput, message)
    }

    pub(crate) fn no_repo(name: &str) -> Self {
        Self::new(Code::NotFound, format!("Repository not found: {name}."))
    }

    /// A failure of ours: told to the log in full, to the caller in one sentence.
    pub(crate) fn internal(what: &str, error: impl std::fmt::Display) -> Self {
        tracing::error!(error.kind = "internal", error = %error, "{what}");
        Self::new(Code::Internal, what)
    }

    pub(crate) fn into_error(self) -> Error {
        ErrorValue::new("ArtifactsError", self.message)
            .with("code", self.code.name().into())
            .with("numericCode", self.code.number().into())
            .into()
    }
}

impl From<CatalogError> for Refusal {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Taken(name) => {
                Self::new(Code::AlreadyExists, format!("repo already exists: {name}"))
            }
            CatalogError::Database(error) if bowline_catalog::is_full(&error) => {
                Self::internal("the store is full; nothing was changed", error)
            }
            CatalogError::Database(error) => {
                Self::internal("the catalog of repositories could not be used", error)
            }
            CatalogError::Random(error) => Self::internal("no random bytes could be had", error),
        }
    }
}
