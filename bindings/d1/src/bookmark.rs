//! Session bookmarks: points in a database's history that sort as text.

use std::fmt;

/// A point in the history of one database.
///
/// Four hyphen-joined groups of hex digits: the count of commits (two groups of eight), the schema cookie (eight) and
/// a fingerprint of the database id (sixteen). The count leads and never goes back, so that the client, which keeps
/// the greatest text, keeps the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bookmark {
    pub(crate) commits: u64,
    pub(crate) schema: u32,
    pub(crate) database: u64,
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (high, low) = (self.commits >> 32, self.commits & 0xffff_ffff);
        write!(
            f,
            "{high:08x}-{low:08x}-{:08x}-{:016x}",
            self.schema, self.database
        )
    }
}

/// A number that stands for `database_id` (FNV-1a).
pub(crate) fn fingerprint(database_id: &str) -> u64 {
    database_id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Whether `text` is something a client may send in the session header: a constraint, or a bookmark.
///
/// There is one copy of each database, which is always at its latest point, so every bookmark and constraint is
/// satisfied at once and the value is not looked at beyond its form.
pub(crate) fn is_session_start(text: &[u8]) -> bool {
    if matches!(text, b"first-primary" | b"first-unconstrained") {
        return true;
    }
    let group = |group: &[u8]| (1..=32).contains(&group.len()) && group.iter().all(u8::is_ascii_hexdigit);
    let groups: Vec<_> = text.split(|byte| *byte == b'-').collect();
    groups.len() == 4 && groups.into_iter().all(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_is_greater_as_text() {
        let at = |commits| {
            Bookmark {
                commits,
                schema: 7,
                database: 1,
            }
            .to_string()
        };
        let texts: Vec<_> = [0, 1, 9, 10, 255, 256, 0xffff_ffff, 0x1_0000_0000, u64::MAX]
            .map(at)
            .into();
        assert!(texts.is_sorted() && texts.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(texts.iter().all(|text| is_session_start(text.as_bytes())));
    }

    #[test]
    fn forms() {
        for good in [
            "first-primary",
            "first-unconstrained",
            "00000001-00000002-00004f4f-abc",
        ] {
            assert!(is_session_start(good.as_bytes()), "{good}");
        }
        for bad in ["", "first-replica", "1-2-3", "1-2-3-", "1-2-3-x", "1-2-3-4-5"] {
            assert!(!is_session_start(bad.as_bytes()), "{bad}");
        }
    }
}
