//! Failures, in the words D1's client shows to users.

use std::time::Duration;

use rusqlite::ffi;

/// Why a call gave no results. The text goes to the Worker as `error`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum D1Error {
    /// SQLite refused or failed; the symbol is that of the primary result code.
    #[error("{message}: {symbol}")]
    Sqlite {
        message: String,
        symbol: &'static str,
        /// Set when repeating the call with the write lock taken first may succeed.
        busy: bool,
    },
    /// The request is not one a D1 client makes.
    #[error("{0}")]
    Request(String),
    /// The session header or member is no constraint and no bookmark.
    #[error("the session must start at first-primary, first-unconstrained or a bookmark")]
    SessionStart,
    /// Every statement of the call was only comments.
    #[error("No SQL statements detected.")]
    NoStatements,
    /// The number of bound values differs from the number of parameters.
    #[error("Wrong number of parameter bindings for SQL query: expected {expected}, got {given}.")]
    Bindings { expected: usize, given: usize },
    /// The results are larger than the bound.
    #[error("results are larger than {limit} bytes; read fewer rows at a time with LIMIT")]
    ResultsTooLarge { limit: usize },
    /// The queue is full.
    #[error("D1 DB is overloaded. Too many requests queued.")]
    QueueFull,
    /// The call waited too long for its turn. Nothing was applied.
    #[error("D1 DB is overloaded. Requests queued for too long.")]
    QueueTimeout,
    /// The call's time was over.
    #[error("query exceeded its time limit of {} ms and was interrupted: SQLITE_INTERRUPT", .0.as_millis())]
    TimeLimit(Duration),
    /// The call was not over long after its time. Whether it will be applied is not known.
    #[error("query did not end within its time limit and could not be interrupted; it may still be applied")]
    Stuck,
    /// There is no place for the file of a dump.
    #[error("dump: {0}")]
    Dump(std::io::Error),
    /// The database thread is gone: a defect of ours.
    #[error("internal error; the database thread has ended")]
    Gone,
}

impl From<rusqlite::Error> for D1Error {
    fn from(error: rusqlite::Error) -> Self {
        let code = error
            .sqlite_error()
            .map_or(ffi::SQLITE_ERROR, |code| code.extended_code);
        let message = match error {
            rusqlite::Error::SqlInputError { msg, offset, .. } if offset >= 0 => {
                format!("{msg} at offset {offset}")
            }
            rusqlite::Error::SqlInputError { msg, .. } => msg,
            rusqlite::Error::SqliteFailure(_, Some(message)) => message,
            rusqlite::Error::SqliteFailure(code, None) => ffi::code_to_str(code.extended_code).to_owned(),
            other => other.to_string(),
        };
        Self::Sqlite {
            message,
            symbol: symbol(code),
            busy: code & 0xff == ffi::SQLITE_BUSY,
        }
    }
}

/// The name of a primary result code (<https://sqlite.org/rescode.html>); which constraint failed is told as workerd
/// 2026-11-17 tells it.
fn symbol(code: i32) -> &'static str {
    match code {
        ffi::SQLITE_CONSTRAINT_CHECK => return "SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_CHECK)",
        ffi::SQLITE_CONSTRAINT_DATATYPE => return "SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_DATATYPE)",
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => {
            return "SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_FOREIGNKEY)";
        }
        ffi::SQLITE_CONSTRAINT_NOTNULL => return "SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_NOTNULL)",
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {
            return "SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_PRIMARYKEY)";
        }
        ffi::SQLITE_CONSTRAINT_ROWID => return "SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_ROWID)",
        ffi::SQLITE_CONSTRAINT_TRIGGER => return "SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_TRIGGER)",
        ffi::SQLITE_CONSTRAINT_UNIQUE => return "SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)",
        _ => {}
    }
    match code & 0xff {
        ffi::SQLITE_INTERNAL => "SQLITE_INTERNAL",
        ffi::SQLITE_PERM => "SQLITE_PERM",
        ffi::SQLITE_ABORT => "SQLITE_ABORT",
        ffi::SQLITE_BUSY => "SQLITE_BUSY",
        ffi::SQLITE_LOCKED => "SQLITE_LOCKED",
        ffi::SQLITE_NOMEM => "SQLITE_NOMEM",
        ffi::SQLITE_READONLY => "SQLITE_READONLY",
        ffi::SQLITE_INTERRUPT => "SQLITE_INTERRUPT",
        ffi::SQLITE_IOERR => "SQLITE_IOERR",
        ffi::SQLITE_CORRUPT => "SQLITE_CORRUPT",
        ffi::SQLITE_NOTFOUND => "SQLITE_NOTFOUND",
        ffi::SQLITE_FULL => "SQLITE_FULL",
        ffi::SQLITE_CANTOPEN => "SQLITE_CANTOPEN",
        ffi::SQLITE_PROTOCOL => "SQLITE_PROTOCOL",
        ffi::SQLITE_SCHEMA => "SQLITE_SCHEMA",
        ffi::SQLITE_TOOBIG => "SQLITE_TOOBIG",
        ffi::SQLITE_CONSTRAINT => "SQLITE_CONSTRAINT",
        ffi::SQLITE_MISMATCH => "SQLITE_MISMATCH",
        ffi::SQLITE_MISUSE => "SQLITE_MISUSE",
        ffi::SQLITE_NOLFS => "SQLITE_NOLFS",
        ffi::SQLITE_AUTH => "SQLITE_AUTH",
        ffi::SQLITE_RANGE => "SQLITE_RANGE",
        ffi::SQLITE_NOTADB => "SQLITE_NOTADB",
        _ => "SQLITE_ERROR",
    }
}
