//! A D1 database, as `env.NAME` is in a Worker.
//!
//! Source of the wire: the D1 client inside workerd.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderValue, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Binding, Error, ErrorKind};

/// Carries a session's start or bookmark there, and its new bookmark back.
const SESSION: &str = "x-cf-d1-session-commit-token";

/// A value bound to a parameter.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Param {
    /// `NULL`
    Null,
    /// An integer. JavaScript callers of the same database lose precision beyond 2^53.
    Integer(i64),
    /// A double; finite.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

macro_rules! param {
    ($($from:ty => $variant:ident),* $(,)?) => {
        $(impl From<$from> for Param {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}
param!(i64 => Integer, i32 => Integer, u32 => Integer, bool => Integer, f64 => Real, f32 => Real, &str => Text, String => Text, Vec<u8> => Blob, &[u8] => Blob);

impl<T: Into<Self>> From<Option<T>> for Param {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// SQL and the values of its parameters, in order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statement {
    sql: String,
    params: Vec<Param>,
}

impl Statement {
    /// A statement without parameters.
    pub fn new(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            params: Vec::new(),
        }
    }

    /// Binds the next parameter.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Param>) -> Self {
        self.params.push(value.into());
        self
    }
}

impl From<&str> for Statement {
    fn from(sql: &str) -> Self {
        Self::new(sql)
    }
}

/// What running a statement did. Remotes leave out what they do not know.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// Milliseconds spent on it.
    pub duration: f64,
    /// Rows inserted, updated and deleted, by triggers as well.
    pub changes: i64,
    /// The row id of the last inserted row.
    pub last_row_id: i64,
    /// Whether the database changed.
    pub changed_db: bool,
    /// Bytes of the database afterwards.
    pub size_after: u64,
    /// Rows looked at.
    pub rows_read: u64,
    /// Rows written.
    pub rows_written: u64,
}

/// The rows of one statement. Blobs are arrays of byte values.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The columns' names, in order.
    pub columns: Vec<String>,
    /// The rows, each with a value for every column.
    pub rows: Vec<Vec<Value>>,
    /// What running the statement did.
    pub meta: Meta,
}

impl Rows {
    /// The rows as values of a type whose fields are columns. Of two columns of one name, the last counts.
    pub fn typed<T: DeserializeOwned>(self) -> Result<Vec<T>, serde_json::Error> {
        let Self { columns, rows, .. } = self;
        let object = |row: Vec<Value>| Value::Object(columns.iter().cloned().zip(row).collect::<Map<_, _>>());
        rows.into_iter()
            .map(|row| serde_json::from_value(object(row)))
            .collect()
    }
}

/// A database by the name of its binding, or a session with it. Cheap to clone; clones of a session share its bookmark.
#[derive(Debug, Clone)]
pub struct D1 {
    binding: Binding,
    /// Where a session stands; absent outside sessions.
    bookmark: Option<Arc<Mutex<String>>>,
}

impl D1 {
    /// The database behind a binding.
    pub fn new(binding: Binding) -> Self {
        Self {
            binding,
            bookmark: None,
        }
    }

    /// A session whose calls see each other's changes, in order. `start` is `first-primary`, `first-unconstrained` or
    /// the [bookmark](Self::bookmark) of an earlier session.
    #[must_use]
    pub fn session(&self, start: impl Into<String>) -> Self {
        Self {
            binding: self.binding.clone(),
            bookmark: Some(Arc::new(Mutex::new(start.into()))),
        }
    }

    /// Where a session stands: what it was started with, until its first answer. `None` outside sessions.
    pub fn bookmark(&self) -> Option<String> {
        let bookmark = self.bookmark.as_ref()?;
        Some(bookmark.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Runs a statement and returns its rows.
    pub async fn query(&self, statement: impl Into<Statement>) -> Result<Rows, Error> {
        let mut answers = self.run("query", &[statement.into()]).await?;
        self.one("query", &mut answers)
    }

    /// Runs a statement and returns its rows as values of a type whose fields are columns.
    pub async fn query_as<T: DeserializeOwned>(
        &self,
        statement: impl Into<Statement>,
    ) -> Result<Vec<T>, Error> {
        let mut answers = self.run("query_as", &[statement.into()]).await?;
        let rows = self.one("query_as", &mut answers)?;
        rows.typed().map_err(|error| {
            self.binding
                .fails("query_as", ErrorKind::Answer(error.to_string()))
        })
    }

    /// Runs a statement for what it does.
    pub async fn execute(&self, statement: impl Into<Statement>) -> Result<Meta, Error> {
        let mut answers = self.run("execute", &[statement.into()]).await?;
        Ok(self.one("execute", &mut answers)?.meta)
    }

    /// Runs statements in one transaction: all of them, or none when one fails.
    pub async fn batch(&self, statements: &[Statement]) -> Result<Vec<Rows>, Error> {
        if statements.is_empty() {
            let text = "a batch needs at least one statement";
            return Err(self.binding.fails("batch", ErrorKind::Invalid(text.to_owned())));
        }
        let answers = self.run("batch", statements).await?;
        answers
            .into_iter()
            .map(|answer| self.rows("batch", answer))
            .collect()
    }

    async fn run(&self, operation: &'static str, statements: &[Statement]) -> Result<Vec<Answer>, Error> {
        let invalid = |text: String| self.binding.fails(operation, ErrorKind::Invalid(text));
        let mut params = statements.iter().flat_map(|statement| &statement.params);
        if params.any(|param| matches!(param, Param::Real(number) if !number.is_finite())) {
            // JSON would turn it into NULL.
            return Err(invalid("a bound number is not finite".to_owned()));
        }
        let url = "http://d1/query?resultsFormat=ROWS_AND_COLUMNS";
        let body = serde_json::to_vec(statements).map_err(|error| invalid(error.to_string()))?;
        let mut headers = Vec::new();
        if let Some(bookmark) = self.bookmark() {
            let value = HeaderValue::from_str(&bookmark)
                .map_err(|_| invalid("a bookmark has characters that no header can carry".to_owned()))?;
            headers.push((SESSION, value));
        }
        let content = Some(("application/json", body.into()));
        let (response, body) = self.binding.call(operation, url, content, &headers).await?;
        let status = response.status();
        if let Ok(Refusal { error: Some(error) }) = serde_json::from_slice(&body) {
            return Err(self.binding.refused(operation, status, None, error));
        }
        if status != StatusCode::OK {
            let said = String::from_utf8_lossy(&body[..body.len().min(1024)]);
            return Err(self.binding.refused(operation, status, None, said));
        }
        self.advance(response.headers().get(SESSION));
        // A remote may answer a lone statement without a list around it.
        if body.trim_ascii_start().starts_with(b"{") {
            return Ok(vec![self.binding.read(operation, &body)?]);
        }
        self.binding.read(operation, &body)
    }

    /// Bookmarks sort by time; answers may overtake each other.
    fn advance(&self, answered: Option<&HeaderValue>) {
        let (Some(bookmark), Some(Ok(answered))) = (&self.bookmark, answered.map(HeaderValue::to_str)) else {
            return;
        };
        let mut bookmark = bookmark.lock().unwrap_or_else(PoisonError::into_inner);
        if bookmark.starts_with("first-") || bookmark.as_str() < answered {
            answered.clone_into(&mut bookmark);
        }
    }

    fn one(&self, operation: &'static str, answers: &mut Vec<Answer>) -> Result<Rows, Error> {
        match answers.pop() {
            Some(answer) => self.rows(operation, answer),
            None => {
                let text = "an empty list".to_owned();
                Err(self.binding.fails(operation, ErrorKind::Answer(text)))
            }
        }
    }

    fn rows(&self, operation: &'static str, answer: Answer) -> Result<Rows, Error> {
        let Table { columns, rows } = answer.results.unwrap_or_default();
        if rows.iter().any(|row| row.len() != columns.len()) {
            let text = "a row has another number of values than there are columns";
            return Err(self.binding.fails(operation, ErrorKind::Answer(text.to_owned())));
        }
        Ok(Rows {
            columns,
            rows,
            meta: answer.meta,
        })
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    meta: Meta,
    results: Option<Table>,
}

#[derive(Deserialize, Default)]
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}
