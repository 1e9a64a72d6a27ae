//! The seam between what is stored and what stores it.
//!
//! Both databases run the same statements. Parameters are written `$1`, `$2`… and first occur in that order: PostgreSQL
//! numbers them, SQLite takes them for names and binds them in order of appearance.

use async_trait::async_trait;

use crate::StoreError;

/// A value of a parameter or column.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number, time or flag.
    Integer(i64),
    /// Text.
    Text(String),
    /// Bytes: hashes and key material, so never shown.
    Bytes(Vec<u8>),
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bytes(_) => f.write_str("****"),
        }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}
impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Integer(value.into())
    }
}
impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}
impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}
impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}
impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row of an answer, read from the left.
#[derive(Debug)]
pub struct Row(std::vec::IntoIter<Value>);

/// A column is not of the type it should be.
#[derive(Debug, thiserror::Error)]
#[error("a column holds {0:?}")]
pub(crate) struct ColumnError(Value);

impl ColumnError {
    pub(crate) fn of(value: Value) -> Self {
        Self(value)
    }
}

impl Row {
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }

    fn next(&mut self) -> Value {
        self.0.next().unwrap_or(Value::Null)
    }

    pub(crate) fn text(&mut self) -> Result<String, ColumnError> {
        match self.next() {
            Value::Text(text) => Ok(text),
            other => Err(ColumnError(other)),
        }
    }

    pub(crate) fn maybe_text(&mut self) -> Result<Option<String>, ColumnError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            other => Err(ColumnError(other)),
        }
    }

    pub(crate) fn integer(&mut self) -> Result<i64, ColumnError> {
        match self.next() {
            Value::Integer(number) => Ok(number),
            other => Err(ColumnError(other)),
        }
    }

    pub(crate) fn maybe_integer(&mut self) -> Result<Option<i64>, ColumnError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Integer(number) => Ok(Some(number)),
            other => Err(ColumnError(other)),
        }
    }

    pub(crate) fn maybe_bytes(&mut self) -> Result<Option<Vec<u8>>, ColumnError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes)),
            other => Err(ColumnError(other)),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, ColumnError> {
        self.maybe_bytes()?.ok_or(ColumnError(Value::Null))
    }
}

/// One statement with its parameters.
#[derive(Debug, Clone)]
pub struct Statement {
    pub(crate) sql: &'static str,
    pub(crate) parameters: Vec<Value>,
}

impl Statement {
    pub(crate) fn new(sql: &'static str, parameters: Vec<Value>) -> Self {
        Self { sql, parameters }
    }
}

/// Whether a transaction changes what gateways judge by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It only reads, and all its statements see one state.
    Read,
    /// It writes what nobody judges by (audit, last use).
    Aside,
    /// Gateways must look again. Such transactions exclude each other.
    Change,
}

/// A database that holds the state of Access.
#[async_trait]
pub trait Database: Send + Sync + std::fmt::Debug + 'static {
    /// Runs statements in one transaction and returns the rows of each. Dropping the future may leave the transaction to
    /// finish by itself or undo it; it is never half done.
    async fn transact(
        &self,
        purpose: Purpose,
        statements: Vec<Statement>,
    ) -> Result<Vec<Vec<Row>>, StoreError>;

    /// Whether anything may have changed since the last call, by anybody. Cheap: it is asked for every request. `true`
    /// also when nobody can tell.
    fn may_have_changed(&self) -> bool;
}
