//! The binding's own configuration.

use std::collections::HashSet;

use bowline_binding::{ConfigError, ConnectAddress};
use serde_json::Value;

/// The addresses that may be reached.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) allow: HashSet<ConnectAddress>,
}

impl Config {
    pub(crate) fn parse(entry: &Value) -> Result<Self, ConfigError> {
        let shape = || {
            ConfigError::new(
                "allow",
                "must be a list of \"host:port\" texts, the addresses a Worker may reach",
            )
        };
        let list = match entry.get("allow") {
            None => &Vec::new(),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(shape()),
        };
        let allow = list
            .iter()
            .map(|item| item.as_str().and_then(ConnectAddress::parse).ok_or_else(shape))
            .collect::<Result<_, _>>()?;
        Ok(Self { allow })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Config;

    #[test]
    fn lists() {
        assert_eq!(Config::parse(&json!({})).unwrap().allow.len(), 0);
        assert_eq!(
            Config::parse(&json!({"allow": ["a:1", "A:1", "[::1]:2"]}))
                .unwrap()
                .allow
                .len(),
            2
        );
        for bad in [
            json!({"allow": "a:1"}),
            json!({"allow": ["a"]}),
            json!({"allow": [1]}),
        ] {
            assert!(
                Config::parse(&bad)
                    .unwrap_err()
                    .to_string()
                    .starts_with("`allow`"),
                "{bad}"
            );
        }
    }
}
