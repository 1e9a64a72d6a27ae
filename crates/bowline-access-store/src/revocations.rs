//! What was revoked: application tokens that still verify and no longer count.

use bowline_access::UnixSeconds;

use crate::database::{Row, Statement};
use crate::store::unreadable;
use crate::{AccessStore, StoreError};

/// The longest a session can last (a month, as the documentation bounds it): later a revocation says nothing any more.
const LONGEST_SESSION: i64 = 31 * 24 * 3600;

impl AccessStore {
    /// Revokes every session of `subject` that was issued until `now`. Subjects are `app:AUD`, `user:SUB` and
    /// `token:CLIENT_ID`.
    pub async fn revoke(&self, subject: &str, now: UnixSeconds) -> Result<(), StoreError> {
        let forget = Statement::new("DELETE FROM revocation WHERE forget_at < $1", vec![now.into()]);
        let note = Statement::new(
            "INSERT INTO revocation (subject, revoked_at, forget_at) VALUES ($1, $2, $3) \
             ON CONFLICT (subject) DO UPDATE SET revoked_at = excluded.revoked_at, forget_at = excluded.forget_at",
            vec![
                subject.into(),
                now.into(),
                now.saturating_add(LONGEST_SESSION).into(),
            ],
        );
        self.change(vec![forget, note]).await?;
        Ok(())
    }
}

pub(crate) const LIST: &str = "SELECT subject, revoked_at FROM revocation";

pub(crate) fn read(rows: Vec<Row>) -> Result<Vec<(String, UnixSeconds)>, StoreError> {
    rows.into_iter()
        .map(|mut row| Ok((row.text()?, row.integer()?)))
        .map(|row| row.map_err(unreadable("a revocation")))
        .collect()
}
