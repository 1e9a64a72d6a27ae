//! What is known of hosted images beside their bytes, in SQLite.
//!
//! Several processes may open the same catalog: nothing is cached.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline_catalog::Full;
use rand::TryRng;
use rand::rngs::SysRng;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

/// How long a draft is kept after its link has expired.
const DRAFT_KEPT: i64 = 24 * 3600 * 1000;

/// The catalog did not do as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogError {
    #[error("there is an image {0} already; delete it first, or leave the id out")]
    Taken(String),
    #[error("there are as many images as may be stored here, {0}; delete some")]
    TooMany(i64),
    #[error(
        "the images would take more than the {0} bytes they may; delete some, or raise `max_stored_bytes`"
    )]
    TooLarge(i64),
    #[error("use the catalog")]
    Database(#[from] rusqlite::Error),
    #[error("get random bytes from the operating system")]
    Random(#[from] rand::rngs::SysError),
}

impl Full for CatalogError {
    fn is_full(&self) -> bool {
        matches!(self, Self::Database(error) if bowline_catalog::is_full(error))
    }
}

/// One image. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Image {
    pub(crate) id: String,
    /// The name of the file with its bytes; `None` while it is a draft.
    pub(crate) file: Option<String>,
    pub(crate) size: i64,
    pub(crate) filename: Option<String>,
    pub(crate) uploaded: i64,
    pub(crate) signed_only: bool,
    /// A JSON object.
    pub(crate) meta: String,
    pub(crate) creator: Option<String>,
}

/// The one upload that a link allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// The SHA-256 of the link's secret: all that is kept of it.
    pub(crate) hash: [u8; 32],
    pub(crate) expires_at: i64,
}

/// What became of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LinkState {
    Unknown,
    Open,
    Used,
    Expired,
}

/// What changes in an image; `None` leaves it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) signed_only: Option<bool>,
    pub(crate) meta: Option<String>,
    pub(crate) creator: Option<String>,
}

/// The place of an image in the order of [`Catalog::page`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) uploaded: i64,
    pub(crate) id: String,
}

/// What all images together may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) images: i64,
    pub(crate) bytes: i64,
}

// `usage` saves adding all sizes up for each upload.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS image (
        id              TEXT PRIMARY KEY,
        file            TEXT UNIQUE,
        size            INTEGER NOT NULL,
        filename        TEXT,
        uploaded        INTEGER NOT NULL,
        signed_only     INTEGER NOT NULL,
        meta            TEXT NOT NULL,
        creator         TEXT,
        link_hash       BLOB UNIQUE CHECK (length(link_hash) = 32),
        link_expires_at INTEGER
    ) STRICT;
    CREATE INDEX IF NOT EXISTS image_age ON image (uploaded, id);
    CREATE TABLE IF NOT EXISTS usage (images INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
    INSERT INTO usage SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM usage);
    CREATE TRIGGER IF NOT EXISTS image_added AFTER INSERT ON image BEGIN
        UPDATE usage SET images = images + 1, bytes = bytes + new.size;
    END;
    CREATE TRIGGER IF NOT EXISTS image_filled AFTER UPDATE OF size ON image BEGIN
        UPDATE usage SET bytes = bytes - old.size + new.size;
    END;
    CREATE TRIGGER IF NOT EXISTS image_removed AFTER DELETE ON image BEGIN
        UPDATE usage SET images = images - 1, bytes = bytes - old.size;
    END;
    CREATE TABLE IF NOT EXISTS signing_key (secret BLOB NOT NULL CHECK (length(secret) = 32)) STRICT;
    PRAGMA user_version = 1;
";

const IMAGE: &str = "id, file, size, filename, uploaded, signed_only, meta, creator";

/// The catalog of hosted images. Cheap to clone. Calls block for the length of one small transaction.
#[derive(Clone)]
pub(crate) struct Catalog(Arc<Mutex<Connection>>);

impl Catalog {
    pub(crate) fn open(file: &Path) -> Result<Self, CatalogError> {
        let connection = bowline_catalog::open(file, SCHEMA)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held cannot leave SQLite half-way: statements are atomic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of signed URLs, made when it is first asked for.
    pub(crate) fn signing_key(&self) -> Result<[u8; 32], CatalogError> {
        let mut made = [0; 32];
        SysRng.try_fill_bytes(&mut made)?;
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT INTO signing_key SELECT ? WHERE NOT EXISTS (SELECT 1 FROM signing_key)",
            [made],
        )?;
        let key = transaction.query_row("SELECT secret FROM signing_key", [], |row| row.get(0))?;
        transaction.commit()?;
        Ok(key)
    }

    /// Adds an image, or a draft with its link. Drafts whose links expired long ago make room.
    pub(crate) fn add(
        &self,
        image: &Image,
        link: Option<Link>,
        room: Room,
        now: i64,
    ) -> Result<(), CatalogError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "DELETE FROM image WHERE file IS NULL AND link_expires_at < ?",
            [now - DRAFT_KEPT],
        )?;
        let added = transaction.execute(
            &format!(
                "INSERT INTO image ({IMAGE}, link_hash, link_expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
                 ON CONFLICT (id) DO NOTHING"
            ),
            params![
                image.id,
                image.file,
                image.size,
                image.filename,
                image.uploaded,
                image.signed_only,
                image.meta,
                image.creator,
                link.map(|link| link.hash),
                link.map(|link| link.expires_at),
            ],
        )?;
        if added == 0 {
            return Err(CatalogError::Taken(image.id.clone()));
        }
        fits(&transaction, room)?;
        Ok(transaction.commit()?)
    }

    /// Whether a link is good for an upload.
    pub(crate) fn link(&self, hash: [u8; 32], now: i64) -> Result<LinkState, CatalogError> {
        let connection = self.lock();
        state(&connection, hash, now)
    }

    /// Makes an image of the draft behind a link, if it is still good for it: one upload only, whoever comes first.
    /// The image's id goes with [`LinkState::Open`].
    pub(crate) fn fill(
        &self,
        hash: [u8; 32],
        file: &str,
        size: i64,
        filename: Option<&str>,
        room: Room,
        now: i64,
    ) -> Result<(LinkState, Option<String>), CatalogError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let state = state(&transaction, hash, now)?;
        if state != LinkState::Open {
            return Ok((state, None));
        }
        let id = transaction.query_row(
            "UPDATE image SET file = ?2, size = ?3, filename = coalesce(?4, filename) WHERE link_hash = ?1 RETURNING id",
            params![hash, file, size, filename],
            |row| row.get(0),
        )?;
        fits(&transaction, room)?;
        transaction.commit()?;
        Ok((state, Some(id)))
    }

    pub(crate) fn find(&self, id: &str) -> Result<Option<Image>, CatalogError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!("SELECT {IMAGE} FROM image WHERE id = ?"))?;
        Ok(statement.query_row([id], read).optional()?)
    }

    /// Changes an image; as it is now, `None` when there is none.
    pub(crate) fn update(&self, id: &str, change: &Change) -> Result<Option<Image>, CatalogError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!(
            "UPDATE image SET signed_only = coalesce(?2, signed_only), meta = coalesce(?3, meta), \
             creator = coalesce(?4, creator) WHERE id = ?1 RETURNING {IMAGE}"
        ))?;
        let mut rows = statement.query(params![id, change.signed_only, change.meta, change.creator])?;
        let image = rows.next()?.map(read).transpose()?;
        // To the end: the change is kept when the statement is done, not when it is left.
        rows.next()?;
        Ok(image)
    }

    /// Forgets an image; as it was, if there was one.
    pub(crate) fn remove(&self, id: &str) -> Result<Option<Image>, CatalogError> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached(&format!("DELETE FROM image WHERE id = ? RETURNING {IMAGE}"))?;
        let mut rows = statement.query([id])?;
        let image = rows.next()?.map(read).transpose()?;
        rows.next()?;
        Ok(image)
    }

    /// Images after a place, oldest first or newest first.
    pub(crate) fn page(
        &self,
        after: Option<&Place>,
        descending: bool,
        creator: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Image>, CatalogError> {
        let (compare, order, start) = match descending {
            false => (">", "ASC", (i64::MIN, "")),
            true => ("<", "DESC", (i64::MAX, "")),
        };
        let start = after.map_or(start, |place| (place.uploaded, place.id.as_str()));
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {IMAGE} FROM image WHERE (uploaded, id) {compare} (?1, ?2) AND (?3 IS NULL OR creator = ?3) \
             ORDER BY uploaded {order}, id {order} LIMIT ?4"
        ))?;
        let images = statement
            .query_map(params![start.0, start.1, creator, limit], read)?
            .collect::<Result<_, _>>()?;
        Ok(images)
    }

    /// Whether some image's bytes are in this file.
    pub(crate) fn has_file(&self, file: &str) -> Result<bool, CatalogError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached("SELECT 1 FROM image WHERE file = ?")?;
        Ok(statement.exists([file])?)
    }
}

fn state(connection: &Connection, hash: [u8; 32], now: i64) -> Result<LinkState, CatalogError> {
    let found: Option<(bool, i64)> = connection
        .prepare_cached("SELECT file IS NOT NULL, link_expires_at FROM image WHERE link_hash = ?")?
        .query_row([hash], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(match found {
        None => LinkState::Unknown,
        Some((true, _)) => LinkState::Used,
        Some((false, expires_at)) if expires_at <= now => LinkState::Expired,
        Some(_) => LinkState::Open,
    })
}

/// Fails, and so undoes the transaction, when there is more than may be.
fn fits(transaction: &Transaction, room: Room) -> Result<(), CatalogError> {
    let (images, bytes): (i64, i64) =
        transaction.query_row("SELECT images, bytes FROM usage", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if images > room.images {
        Err(CatalogError::TooMany(room.images))
    } else if bytes > room.bytes {
        Err(CatalogError::TooLarge(room.bytes))
    } else {
        Ok(())
    }
}

fn read(row: &Row) -> rusqlite::Result<Image> {
    Ok(Image {
        id: row.get(0)?,
        file: row.get(1)?,
        size: row.get(2)?,
        filename: row.get(3)?,
        uploaded: row.get(4)?,
        signed_only: row.get(5)?,
        meta: row.get(6)?,
        creator: row.get(7)?,
    })
}
