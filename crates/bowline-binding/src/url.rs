//! Addresses that configurations name.

use serde_json::Value;

use crate::ConfigError;

/// An http or https URL without user information and query; the slash at its end is taken off.
pub fn url(value: &Value, place: &str) -> Result<String, ConfigError> {
    let problem = "must be an http or https URL without user, password and query";
    value
        .as_str()
        .filter(|text| text.starts_with("http://") || text.starts_with("https://"))
        .filter(|text| {
            text.parse::<http::Uri>().is_ok_and(|uri| {
                uri.query().is_none() && uri.authority().is_some_and(|host| !host.as_str().contains('@'))
            })
        })
        .map(|text| text.trim_end_matches('/').to_owned())
        .ok_or_else(|| ConfigError::new(place, problem))
}
