//! Running one call on the connection.

use std::cell::RefCell;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::limits::Limit;
use rusqlite::types::{Null, ValueRef};
use rusqlite::{Batch, Connection, OpenFlags, StatementStatus};

use crate::authorizer::{Policy, RESET};
use crate::bookmark::Bookmark;
use crate::cost::{Cost, Costs};
use crate::error::D1Error;
use crate::store::{Answer, Call, Meta, Outcome, Param, ResultsFormat, Statement};

/// Limits inside SQLite, as Cloudflare documents them (<https://developers.cloudflare.com/d1/platform/limits/>).
const SQLITE_LIMITS: [(Limit, i32); 6] = [
    (Limit::SQLITE_LIMIT_LENGTH, 2_000_000),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
    (Limit::SQLITE_LIMIT_COLUMN, 100),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, 32),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50),
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 100),
];

/// The largest database, in bytes.
const MAX_SIZE: i64 = 10_000_000_000;

/// How long to wait for another process that holds the write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Compiled statements that are kept.
const KEPT_STATEMENTS: usize = 128;

/// What a statement that may be kept compiled starts with. Pragmas are not among them: the authorizer sees a change of
/// settings only while a statement is compiled.
const KEPT_KEYWORDS: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"];

/// Steps of SQLite's virtual machine between two looks at the clock: some tens of microseconds.
const STEPS_PER_CHECK: i32 = 2_000;

/// The connection of one database with everything its hooks share.
pub(crate) struct Executor {
    connection: Connection,
    policy: Arc<Policy>,
    deadline: Arc<Mutex<Option<Instant>>>,
    time_limit: Duration,
    results_limit: usize,
    database: u64,
    page_size: i64,
    costs: RefCell<Costs>,
}

impl Executor {
    /// Opens (or creates) the file and sets it up.
    pub(crate) fn open(
        path: &Path,
        database: u64,
        time_limit: Duration,
        results_limit: usize,
    ) -> Result<Self, rusqlite::Error> {
        // Without SQLITE_OPEN_URI: a path is a path, whatever it looks like.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // FULL: a commit is on disk before it is acknowledged.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let page_size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        connection.pragma_update_and_check(
            None,
            "max_page_count",
            MAX_SIZE / page_size.max(1),
            |_| Ok(()),
        )?;
        connection.set_prepared_statement_cache_capacity(KEPT_STATEMENTS);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        for (limit, value) in SQLITE_LIMITS {
            connection.set_limit(limit, value)?;
        }

        let policy = Arc::new(Policy::default());
        let deadline = Arc::new(Mutex::new(None::<Instant>));
        connection.authorizer(Some(Arc::clone(&policy).hook()))?;
        let clock = Arc::clone(&deadline);
        let trust = Arc::clone(&policy);
        connection.progress_handler(
            STEPS_PER_CHECK,
            Some(move || {
                let deadline = *clock.lock().unwrap_or_else(PoisonError::into_inner);
                !trust.is_trusted() && deadline.is_some_and(|deadline| Instant::now() >= deadline)
            }),
        )?;
        Ok(Self {
            connection,
            policy,
            deadline,
            time_limit,
            results_limit,
            database,
            page_size,
            costs: RefCell::default(),
        })
    }

    /// Runs `call` in one transaction; on an error everything is rolled back.
    pub(crate) fn run(&mut self, call: &Call) -> Result<Answer, D1Error> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Instant::now() + self.time_limit);
        let result = match self.transaction("BEGIN", call) {
            // A read turned write while another process wrote: its snapshot is stale, so take the lock first.
            Err(D1Error::Sqlite { busy: true, .. }) => self.transaction("BEGIN IMMEDIATE", call),
            result => result,
        };
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if self.policy.take_settings_changed() {
            self.own(|connection| connection.execute_batch(RESET))?;
        }
        result
    }

    fn transaction(&self, begin: &str, call: &Call) -> Result<Answer, D1Error> {
        self.policy.take_refusal();
        self.own(|connection| connection.prepare_cached(begin)?.execute(()))?;
        let result = self.statements(call).and_then(|(outcomes, wrote)| {
            let bookmark = self.bookmark(wrote)?;
            self.own(|connection| connection.prepare_cached("COMMIT")?.execute(()))?;
            Ok(Answer { outcomes, bookmark })
        });
        // A failed COMMIT leaves the transaction open; some failures (ON CONFLICT ROLLBACK) end it by themselves.
        if result.is_err() && !self.connection.is_autocommit() {
            self.own(|connection| connection.execute_batch("ROLLBACK"))?;
        }
        result
    }

    /// Runs the statements and says whether any of them may have written.
    fn statements(&self, call: &Call) -> Result<(Vec<Outcome>, bool), D1Error> {
        let mut outcomes = Vec::with_capacity(call.statements.len());
        let mut room = self.results_limit;
        let mut wrote = false;
        for statement in &call.statements {
            if let Some((outcome, writes)) = self.statement(statement, call.format, room)? {
                room -= outcome.results.as_ref().map_or(0, Vec::len).min(room);
                wrote |= writes;
                outcomes.push(outcome);
            }
        }
        if outcomes.is_empty() {
            return Err(D1Error::NoStatements);
        }
        Ok((outcomes, wrote))
    }

    /// Runs one element of the request. `None` when its text is only comments.
    fn statement(
        &self,
        statement: &Statement,
        format: ResultsFormat,
        room: usize,
    ) -> Result<Option<(Outcome, bool)>, D1Error> {
        if statement.sql.contains('\0') {
            return Err(D1Error::Request(
                "SQL text must not contain NUL characters".to_owned(),
            ));
        }
        let before = self.counters()?;
        let started = Instant::now();
        let mut element = Element {
            statement,
            format,
            room,
            bound: false,
            writes: false,
            results: None,
            meta: Meta::default(),
        };
        if !self.run_kept(&mut element, before.schema)? {
            let mut batch = Batch::new(&self.connection, &statement.sql);
            loop {
                self.policy.take_touched();
                let Some(mut prepared) = batch.next().map_err(|error| self.explain(error))? else {
                    break;
                };
                let touched = self.policy.take_touched();
                let cost = self.own(|connection| Costs::once(&touched, connection))?;
                self.run_one(&mut element, &mut prepared, cost)?;
            }
        }
        let Element {
            bound,
            writes,
            results,
            mut meta,
            ..
        } = element;
        let Some(results) = results else {
            return Ok(None);
        };
        if !bound && !statement.params.is_empty() {
            let given = statement.params.len();
            return Err(D1Error::Bindings { expected: 0, given });
        }
        meta.duration_ms = started.elapsed().as_secs_f64() * 1_000.0;
        let after = self.counters()?;
        meta.changes = after.changes - before.changes;
        meta.last_row_id = after.last_row_id;
        meta.size_after = after.size;
        meta.changed_db = (after.changes, after.last_row_id, after.size, after.schema)
            != (before.changes, before.last_row_id, before.size, before.schema);
        Ok(Some((Outcome { results, meta }, writes)))
    }

    /// Runs an element that is one plain statement, compiled once and kept. False when it is not, and nothing was run.
    fn run_kept(&self, element: &mut Element<'_>, schema: i64) -> Result<bool, D1Error> {
        let sql = element.statement.sql.trim();
        let keyword = sql
            .split(|c: char| !c.is_ascii_alphabetic())
            .next()
            .unwrap_or_default();
        if !KEPT_KEYWORDS
            .iter()
            .any(|kept| keyword.eq_ignore_ascii_case(kept))
        {
            return Ok(false);
        }
        let mut costs = self.costs.borrow_mut();
        let known = costs.known(sql, schema, &self.connection);
        self.policy.take_touched();
        // Two statements, a second one that needs the first, an error: all are for the slower way to tell apart.
        let Ok(mut prepared) = self.connection.prepare_cached(sql) else {
            self.policy.take_refusal();
            return Ok(false);
        };
        let cost = match known {
            Some(cost) => cost,
            None => {
                let touched = self.policy.take_touched();
                self.own(|connection| costs.learn(sql, &touched, connection))?
            }
        };
        drop(costs);
        self.run_one(element, &mut prepared, cost)?;
        Ok(true)
    }

    /// Binds one compiled statement of an element and runs it.
    fn run_one(
        &self,
        element: &mut Element<'_>,
        prepared: &mut rusqlite::Statement<'_>,
        cost: Cost,
    ) -> Result<(), D1Error> {
        let expected = prepared.parameter_count();
        if expected > 0 {
            let given = if element.bound {
                0
            } else {
                element.statement.params.len()
            };
            if given != expected {
                return Err(D1Error::Bindings { expected, given });
            }
            bind(prepared, &element.statement.params).map_err(|error| self.explain(error))?;
            element.bound = true;
        }
        element.writes |= !prepared.readonly();
        let changes = self.connection.total_changes();
        let (text, read) = self.step(prepared, element.format, element.room)?;
        let changed = self.connection.total_changes() - changes;
        if cost.reads {
            element.meta.rows_read += read;
        }
        element.meta.rows_written += changed * cost.writes_per_change;
        element.results = Some(text);
        Ok(())
    }

    /// Steps through the rows and writes them. Returns the text and the rows read.
    fn step(
        &self,
        prepared: &mut rusqlite::Statement<'_>,
        format: ResultsFormat,
        room: usize,
    ) -> Result<(Option<Vec<u8>>, u64), D1Error> {
        let mut columns = Vec::with_capacity(prepared.column_count());
        for name in prepared.column_names() {
            columns.push(json(name));
        }
        let changes = self.connection.total_changes();
        prepared.reset_status(StatementStatus::FullscanStep);
        let mut rows = prepared.raw_query();
        let mut writer = RowWriter::new(format, &columns);
        let mut returned = 0u64;
        while let Some(row) = rows.next().map_err(|error| self.explain(error))? {
            returned += 1;
            writer.row(row, &columns).map_err(|error| self.explain(error))?;
            if writer.text.len() > room {
                return Err(D1Error::ResultsTooLarge {
                    limit: self.results_limit,
                });
            }
        }
        drop(rows);
        let changed = self.connection.total_changes() - changes;
        // The counter has one step less than the scan has rows.
        let steps = u64::try_from(prepared.get_status(StatementStatus::FullscanStep)).unwrap_or(0);
        let scanned = if steps == 0 { 0 } else { steps + 1 };
        let touched = if prepared.readonly() {
            returned
        } else {
            returned.max(changed)
        };
        let read = scanned.max(touched);
        Ok((writer.finish(), read))
    }

    /// The point in history the transaction ends in. A commit that wrote is counted in the file header, in two fields
    /// SQLite leaves to applications: the count commits and rolls back together with the data.
    fn bookmark(&self, wrote: bool) -> Result<Bookmark, D1Error> {
        self.own(|connection| {
            let (high, low) = (
                header_field(connection, "PRAGMA application_id")?,
                header_field(connection, "PRAGMA user_version")?,
            );
            let mut commits = u64::from(high) << 32 | u64::from(low);
            if wrote {
                commits += 1;
                let (new_high, new_low) = ((commits >> 32) as u32, (commits & 0xffff_ffff) as u32);
                connection.pragma_update(None, "user_version", new_low.cast_signed())?;
                if new_high != high {
                    connection.pragma_update(None, "application_id", new_high.cast_signed())?;
                }
            }
            Ok(Bookmark {
                commits,
                schema: header_field(connection, "PRAGMA schema_version")?,
                database: self.database,
            })
        })
    }

    fn counters(&self) -> Result<Counters, D1Error> {
        self.own(|connection| {
            let pages = i64::from(header_field(connection, "PRAGMA page_count")?);
            Ok(Counters {
                changes: connection.total_changes(),
                last_row_id: connection.last_insert_rowid(),
                size: (pages * self.page_size).unsigned_abs(),
                schema: i64::from(header_field(connection, "PRAGMA schema_version")?),
            })
        })
    }

    /// Runs a statement of ours, outside the policy and the clock.
    fn own<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, D1Error> {
        Ok(self.policy.trusted(|| work(&self.connection))?)
    }

    /// SQLite only says "not authorized" and "interrupted"; we know why.
    fn explain(&self, error: rusqlite::Error) -> D1Error {
        let refusal = self.policy.take_refusal();
        match (D1Error::from(error), refusal) {
            (
                D1Error::Sqlite {
                    symbol: "SQLITE_INTERRUPT",
                    ..
                },
                _,
            ) => D1Error::TimeLimit(self.time_limit),
            (D1Error::Sqlite { .. }, Some(message)) => D1Error::Sqlite {
                message,
                symbol: "SQLITE_AUTH",
                busy: false,
            },
            (error, _) => error,
        }
    }
}

/// One element of a request while it is run.
struct Element<'a> {
    statement: &'a Statement,
    format: ResultsFormat,
    room: usize,
    /// Whether the values went to a statement.
    bound: bool,
    /// Whether a statement may have written.
    writes: bool,
    /// The last statement's rows; absent until one was run.
    results: Option<Option<Vec<u8>>>,
    meta: Meta,
}

#[derive(Clone, Copy)]
struct Counters {
    changes: u64,
    last_row_id: i64,
    size: u64,
    schema: i64,
}

/// A 32-bit number of the file header.
fn header_field(connection: &Connection, pragma: &str) -> rusqlite::Result<u32> {
    let mut prepared = connection.prepare_cached(pragma)?;
    prepared
        .query_row((), |row| row.get::<_, i64>(0))
        .map(|value| value as u32)
}

fn bind(prepared: &mut rusqlite::Statement<'_>, params: &[Param]) -> rusqlite::Result<()> {
    for (index, param) in (1..).zip(params) {
        match param {
            Param::Null => prepared.raw_bind_parameter(index, Null),
            Param::Real(value) => prepared.raw_bind_parameter(index, value),
            Param::Text(value) => prepared.raw_bind_parameter(index, value),
            Param::Blob(value) => prepared.raw_bind_parameter(index, value),
        }?;
    }
    Ok(())
}

/// Writes rows as JSON text while they are read, so that no second copy of a result exists.
struct RowWriter {
    format: ResultsFormat,
    text: Vec<u8>,
    first: bool,
}

impl RowWriter {
    fn new(format: ResultsFormat, columns: &[Vec<u8>]) -> Self {
        let mut text = Vec::new();
        match format {
            ResultsFormat::None => {}
            ResultsFormat::ArrayOfObjects => text.push(b'['),
            ResultsFormat::RowsAndColumns => {
                text.extend_from_slice(b"{\"columns\":[");
                text.extend_from_slice(&columns.join(&b','));
                text.extend_from_slice(b"],\"rows\":[");
            }
        }
        Self {
            format,
            text,
            first: true,
        }
    }

    fn row(&mut self, row: &rusqlite::Row<'_>, columns: &[Vec<u8>]) -> rusqlite::Result<()> {
        let objects = match self.format {
            ResultsFormat::None => return Ok(()),
            ResultsFormat::ArrayOfObjects => true,
            ResultsFormat::RowsAndColumns => false,
        };
        if !std::mem::take(&mut self.first) {
            self.text.push(b',');
        }
        self.text.push(if objects { b'{' } else { b'[' });
        for (index, name) in columns.iter().enumerate() {
            if index > 0 {
                self.text.push(b',');
            }
            if objects {
                self.text.extend_from_slice(name);
                self.text.push(b':');
            }
            write_value(&mut self.text, row.get_ref(index)?);
        }
        self.text.push(if objects { b'}' } else { b']' });
        Ok(())
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        match self.format {
            ResultsFormat::None => return None,
            ResultsFormat::ArrayOfObjects => self.text.push(b']'),
            ResultsFormat::RowsAndColumns => self.text.extend_from_slice(b"]}"),
        }
        Some(self.text)
    }
}

fn write_value(text: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => text.extend_from_slice(b"null"),
        ValueRef::Integer(value) => write_json(text, &value),
        // As JSON.stringify: a whole number has no fraction, so that a client can read 7 as an integer, and what JSON
        // cannot hold is null.
        ValueRef::Real(value) if value.is_finite() => {
            text.extend_from_slice(ryu_js::Buffer::new().format_finite(value).as_bytes());
        }
        ValueRef::Real(_) => text.extend_from_slice(b"null"),
        ValueRef::Text(value) => write_json(text, &String::from_utf8_lossy(value)),
        ValueRef::Blob(value) => {
            text.push(b'[');
            for (index, byte) in value.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                write!(text, "{comma}{byte}").expect("writing to memory");
            }
            text.push(b']');
        }
    }
}

fn write_json(text: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(text, value).expect("numbers and texts are always JSON");
}

fn json(value: &str) -> Vec<u8> {
    let mut text = Vec::new();
    write_json(&mut text, value);
    text
}
