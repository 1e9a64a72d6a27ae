//! What a backing store must do: run one call, whole or not at all.

use bowline_binding::Body;

use crate::bookmark::Bookmark;
use crate::error::D1Error;

/// One bound value. Every number is a REAL, as JavaScript's are: a column with INTEGER affinity makes an integer of it, a
/// TEXT column `1.0` (so does workerd 2026-11-17).
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Param {
    Null,
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// One element of a request. `sql` may hold several SQL statements; the last one's rows are the results, and the
/// values go to the one statement that has parameters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) params: Vec<Param>,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResultsFormat {
    /// `[{"column": value}]`
    ArrayOfObjects,
    /// `{"columns": […], "rows": [[…]]}`
    RowsAndColumns,
    /// Rows are stepped through, not written.
    None,
}

/// The statements of one call, in order, in one transaction.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) statements: Vec<Statement>,
    pub(crate) format: ResultsFormat,
}

/// Facts about one statement. See the crate's page for what is counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Meta {
    pub(crate) duration_ms: f64,
    pub(crate) changes: u64,
    pub(crate) last_row_id: i64,
    pub(crate) changed_db: bool,
    pub(crate) size_after: u64,
    pub(crate) rows_read: u64,
    pub(crate) rows_written: u64,
}

/// What one statement gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The rows as JSON text in the format asked for; absent for [`ResultsFormat::None`].
    pub(crate) results: Option<Vec<u8>>,
    pub(crate) meta: Meta,
}

/// What a call gave.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) outcomes: Vec<Outcome>,
    /// The point in history right after the call.
    pub(crate) bookmark: Bookmark,
}

/// A database.
#[async_trait::async_trait]
pub(crate) trait Store: Send + Sync + 'static {
    /// Runs `call` in one transaction. On an error nothing was applied.
    ///
    /// Cancel safe: a call whose future is dropped before its turn is not run; one that has begun is completed.
    async fn run(&self, call: Call) -> Result<Answer, D1Error>;

    /// The database as one SQLite file, consistent and of one moment, while calls go on.
    async fn dump(&self) -> Result<Body, D1Error>;
}
