//! What a statement costs: rows read and written, as far as SQLite lets us see.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;
use rusqlite::hooks::AuthAction;

/// Statements whose facts are kept. More distinct texts than this are made, not written.
const MOST_KEPT: usize = 256;

/// What SQLite said about a statement while it compiled it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Touched {
    reads: bool,
    writes: Vec<Write>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Write {
    Insert(String),
    Update(String, String),
    Delete(String),
}

impl Touched {
    /// Takes note of one action.
    pub(crate) fn note(&mut self, action: &AuthAction<'_>) {
        let write = match *action {
            // A recursion reads what it has queued.
            AuthAction::Read { .. } | AuthAction::Recursive => {
                self.reads = true;
                return;
            }
            AuthAction::Insert { table_name } => Write::Insert(table_name.to_owned()),
            AuthAction::Update {
                table_name,
                column_name,
            } => Write::Update(table_name.to_owned(), column_name.to_owned()),
            AuthAction::Delete { table_name } => Write::Delete(table_name.to_owned()),
            _ => return,
        };
        if !self.writes.contains(&write) {
            self.writes.push(write);
        }
    }
}

/// The price of one statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Whether it reads any table.
    pub(crate) reads: bool,
    /// Rows written for each row changed: the row itself, and its entries in indexes.
    pub(crate) writes_per_change: u64,
}

impl Cost {
    /// Measured against workerd 2026-11-17: an insert writes the row and an entry in each index, an update the row and the
    /// indexes of what changes, a delete the row alone. Where a statement writes to several tables (by a trigger) or in
    /// several ways (by an upsert), which change was which is not seen, and each counts one.
    fn of(touched: &Touched, connection: &Connection) -> rusqlite::Result<Self> {
        let mut weight = 1;
        let mut changed = Vec::new();
        let mut tables = HashSet::new();
        let mut ways = HashSet::new();
        for write in &touched.writes {
            let table = match write {
                Write::Insert(table) | Write::Delete(table) => table,
                Write::Update(table, column) => {
                    changed.push(column.as_str());
                    table
                }
            };
            tables.insert(table.as_str());
            ways.insert(std::mem::discriminant(write));
        }
        if let (1, 1, Some(first)) = (tables.len(), ways.len(), touched.writes.first()) {
            weight += match first {
                Write::Insert(table) => indexes(connection, table)?
                    .iter()
                    .filter(|index| !index.is_table)
                    .count() as u64,
                Write::Update(table, _) => {
                    let moved = key_changes(connection, table, &changed)?;
                    let hit = |index: &Index| {
                        moved
                            || index
                                .columns
                                .iter()
                                .any(|column| changed.contains(&column.as_str()))
                    };
                    indexes(connection, table)?
                        .iter()
                        .filter(|index| !index.is_table && hit(index))
                        .count() as u64
                }
                Write::Delete(_) => 0,
            };
        }
        Ok(Self {
            reads: touched.reads,
            writes_per_change: weight,
        })
    }
}

struct Index {
    /// The primary key of a table without rowids is the table itself.
    is_table: bool,
    columns: Vec<String>,
}

fn indexes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Index>> {
    let rowids: bool = connection
        .prepare_cached("SELECT NOT coalesce(max(wr), 0) FROM pragma_table_list(?1) WHERE schema = 'main'")?
        .query_row([table], |row| row.get(0))?;
    let mut columns =
        connection.prepare_cached("SELECT name FROM pragma_index_info(?1) WHERE name NOT NULL")?;
    connection
        .prepare_cached("SELECT name, origin FROM pragma_index_list(?1)")?
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .map(|index: rusqlite::Result<(String, String)>| {
            let (name, origin) = index?;
            Ok(Index {
                is_table: !rowids && origin == "pk",
                columns: columns
                    .query_map([&name], |row| row.get(0))?
                    .collect::<rusqlite::Result<_>>()?,
            })
        })
        .collect()
}

/// Whether one of the columns is (part of) the primary key, by which every index finds its row.
fn key_changes(connection: &Connection, table: &str, changed: &[&str]) -> rusqlite::Result<bool> {
    let mut keys = connection.prepare_cached("SELECT name FROM pragma_table_info(?1) WHERE pk > 0")?;
    let keys: Vec<String> = keys
        .query_map([table], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(keys.iter().any(|key| changed.contains(&key.as_str())))
}

/// Costs of statements seen before, for as long as the schema stays as it is.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    schema: i64,
    kept: HashMap<String, Cost>,
}

impl Costs {
    /// What is known about `sql`. When the schema has changed, or too much is known, all is forgotten, compiled statements
    /// included: an authorizer is asked only while a statement is compiled.
    pub(crate) fn known(&mut self, sql: &str, schema: i64, connection: &Connection) -> Option<Cost> {
        if self.schema != schema || self.kept.len() >= MOST_KEPT {
            self.schema = schema;
            self.kept.clear();
            connection.flush_prepared_statement_cache();
        }
        self.kept.get(sql).copied()
    }

    /// Reckons the cost of a statement just compiled.
    pub(crate) fn learn(
        &mut self,
        sql: &str,
        touched: &Touched,
        connection: &Connection,
    ) -> rusqlite::Result<Cost> {
        let cost = Cost::of(touched, connection)?;
        self.kept.insert(sql.to_owned(), cost);
        Ok(cost)
    }

    /// Reckons the cost of a statement that is compiled anew each time.
    pub(crate) fn once(touched: &Touched, connection: &Connection) -> rusqlite::Result<Cost> {
        Cost::of(touched, connection)
    }
}
