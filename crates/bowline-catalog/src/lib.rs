//! SQLite catalogs: what is known of files beside the files themselves, as Artifacts and hosted images keep them.
//!
//! Several processes may open the same catalog.

mod reserve;

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

pub use reserve::{Full, Reserve};

/// Opens or makes a catalog; `schema` is run in one transaction, and must not mind that all of it is there already.
pub fn open(file: &Path, schema: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // What was answered is on disk.
    connection.pragma_update(None, "synchronous", "full")?;
    // A log that grows long would take the room that deletions on a full disk are to make.
    connection.pragma_update(None, "wal_autocheckpoint", 64)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {schema} COMMIT;"))?;
    Ok(connection)
}

/// Whether a statement failed because the disk, or the database by its own limit, is full.
pub fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{is_full, open};

    const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS text (text TEXT NOT NULL) STRICT;";

    #[test]
    fn a_catalog_is_opened_twice_and_says_when_it_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("catalog.sqlite");
        let connection = open(&file, SCHEMA).unwrap();
        connection.execute("INSERT INTO text VALUES ('one')", []).unwrap();
        let other = open(&file, SCHEMA).unwrap();
        let count = |connection: &Connection| -> i64 {
            connection
                .query_row("SELECT count(*) FROM text", [], |row| row.get(0))
                .unwrap()
        };
        assert_eq!(count(&other), 1);
        other.pragma_update(None, "max_page_count", 4).unwrap();
        let full = other
            .execute("INSERT INTO text VALUES (?)", ["x".repeat(1 << 20)])
            .unwrap_err();
        assert!(is_full(&full), "{full}");
        let wrong = other.execute("INSERT INTO nothing VALUES (1)", []).unwrap_err();
        assert!(!is_full(&wrong), "{wrong}");
        assert_eq!(count(&connection), 1);
    }
}
