//! What can go wrong with stored state.

use bowline_access::{DurationError, ShapeError};

/// The state of Access could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite did not do as asked.
    #[error("use the state of Access in SQLite")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL did not do as asked, or cannot be reached.
    #[error("use the state of Access in PostgreSQL")]
    Postgres(#[from] tokio_postgres::Error),
    /// The connection string cannot be used. Its text is not shown: it may hold a password.
    #[error("read the PostgreSQL connection string ({0})")]
    ConnectionString(&'static str),
    /// The system's certificate authorities cannot be used for TLS to PostgreSQL.
    #[error("prepare TLS for PostgreSQL")]
    Tls(#[source] rustls::Error),
    /// The database gave no answer in time.
    #[error("the database gave no answer within {0} s")]
    TimedOut(u64),
    /// The folder or file could not be made or protected.
    #[error("prepare the state folder {path}")]
    Folder {
        /// The folder or file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("get random bytes from the operating system")]
    Random(#[source] rand::rngs::SysError),
    /// The state was written by a newer Bowline.
    #[error("the state of Access has schema version {found}, and this Bowline knows versions up to {known}")]
    Newer {
        /// What is there.
        found: i64,
        /// What is known.
        known: i64,
    },
    /// A stored record cannot be read. Nobody passes until it is repaired or deleted.
    #[error("read {what}")]
    Record {
        /// Which record.
        what: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was to be written is not what it should be.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A lifetime cannot be read.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// There is no such record.
    #[error("{0}")]
    NotFound(String),
    /// The record is in use, or there is one already.
    #[error("{0}")]
    Conflict(String),
}

impl StoreError {
    /// Whether the caller asked for something that cannot be: not the store's fault, and trying again changes nothing.
    pub fn is_callers(&self) -> bool {
        matches!(
            self,
            Self::Shape(_) | Self::Duration(_) | Self::NotFound(_) | Self::Conflict(_)
        )
    }
}
