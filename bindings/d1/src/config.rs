//! The binding's own configuration, and its limits.

use std::time::Duration;

use bowline_binding::ConfigError;
use serde_json::Value;

/// Which database a binding opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Names the file; safe as a file name.
    pub(crate) database_id: String,
}

impl Config {
    /// Reads a wrangler entry. `database_id` may be left out when there is a `database_name`, as wrangler allows for
    /// databases it has yet to create. `id` is what uploads of previews say.
    pub(crate) fn parse(entry: &Value) -> Result<Self, ConfigError> {
        let keys = ["id", "database_id"];
        let given = keys.into_iter().find(|key| entry.get(key).is_some());
        let key = given.unwrap_or("database_name");
        let problem = |problem: &str| ConfigError::new(key, problem);
        let id = entry
            .get(key)
            .ok_or_else(|| {
                ConfigError::new("database_id", "is missing; give the id or name of the database")
            })?
            .as_str()
            .ok_or_else(|| problem("must be a text"))?;
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if id.is_empty() || id.len() > 128 || id.starts_with('.') || !id.bytes().all(safe) {
            return Err(problem(
                "must be 1 to 128 letters, digits, `-`, `_` or `.`, and not start with `.`",
            ));
        }
        Ok(Self {
            database_id: id.to_owned(),
        })
    }
}

/// What one call may cost. SQLite's own limits (text, parameters, columns…) are constants of the `execute` module.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Time of all statements of one call together.
    pub(crate) call: Duration,
    /// Time a call may wait for its turn.
    pub(crate) queue_wait: Duration,
    /// Calls that may wait for their turn.
    pub(crate) queue: usize,
    /// Bytes of all results of one call together, as JSON.
    pub(crate) results: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Cloudflare's limit on one query, and on a batch as a whole.
            call: Duration::from_secs(30),
            queue_wait: Duration::from_secs(30),
            queue: 256,
            // A Worker has 128 MB for the text and the objects made of it.
            results: 32 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Config;

    #[test]
    fn ids() {
        let id = |entry| Config::parse(&entry).map(|config| config.database_id);
        assert_eq!(
            id(json!({"binding": "DB", "database_name": "a", "database_id": "b-1"})).unwrap(),
            "b-1"
        );
        assert_eq!(id(json!({"binding": "DB", "database_name": "a"})).unwrap(), "a");
        assert_eq!(
            id(json!({"binding": "DB", "database_id": "b", "id": "c"})).unwrap(),
            "c"
        );
        for (bad, field) in [
            (json!({"binding": "DB"}), "`database_id`"),
            (json!({"database_id": ""}), "`database_id`"),
            (json!({"database_id": "../x"}), "`database_id`"),
            (json!({"database_id": "a/b"}), "`database_id`"),
            (json!({"database_id": ".."}), "`database_id`"),
            (json!({"database_id": 1}), "`database_id`"),
            (json!({"database_name": "a b"}), "`database_name`"),
            (json!({"id": "../x", "database_id": "b"}), "`id`"),
        ] {
            let error = Config::parse(&bad).unwrap_err().to_string();
            assert!(error.starts_with(field), "{bad}: {error}");
        }
    }
}
