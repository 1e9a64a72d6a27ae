//! A database as one file: what `dump()` gives.

use std::path::Path;
use std::time::Duration;

use bowline_binding::Body;
use http_body_util::{BodyExt, StreamBody};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;
use tokio_util::io::ReaderStream;

use crate::error::D1Error;

/// A consistent copy of the database at `path`, made beside it while calls go on, and gone from the disk with the body.
///
/// Cancel safe: dropping the future interrupts the copy.
pub(crate) async fn dump(path: &Path, limit: Duration) -> Result<Body, D1Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let interrupt = Interrupt(connection.get_interrupt_handle());
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    let (sender, done) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        // Nobody may be waiting any more.
        let _ = sender.send(copy(&connection, &folder));
    });
    let file = tokio::time::timeout(limit, done)
        .await
        .map_err(|_| D1Error::TimeLimit(limit))?
        .map_err(|_| D1Error::Gone)??;
    drop(interrupt);
    let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(file), 64 * 1024);
    let frames = futures_util::StreamExt::map(stream, |chunk| {
        chunk.map(http_body::Frame::data).map_err(Into::into)
    });
    Ok(StreamBody::new(frames).boxed_unsync())
}

/// Interrupts the copy when whoever waits for it is gone. Afterwards there is nothing to interrupt.
struct Interrupt(rusqlite::InterruptHandle);

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.interrupt();
    }
}

fn copy(connection: &Connection, folder: &Path) -> Result<std::fs::File, D1Error> {
    let target = tempfile::Builder::new()
        .prefix("dump-")
        .tempfile_in(folder)
        .map_err(D1Error::Dump)?;
    let name = target
        .path()
        .to_str()
        .ok_or_else(|| D1Error::Dump(std::io::Error::other("the state folder's name is not UTF-8")))?;
    connection.execute("VACUUM INTO ?1", [name])?;
    // A second descriptor keeps the bytes; the name goes with `target`.
    target.reopen().map_err(D1Error::Dump)
}
