//! Keys for servers behind a binding: named by the configuration, held as secrets, written into one header.

use std::os::unix::fs::PermissionsExt;

use bowline_secret::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::{ConfigError, Resources};

/// A key and the header it travels in.
#[derive(Debug, Clone)]
pub struct Credential {
    secret: Secret,
    header: HeaderName,
}

impl Credential {
    /// Reads the key an entry names by `api_key_env` (an environment variable) or `api_key_file` (a file only its owner
    /// can read, relative to the configuration). `place` leads the names in error texts.
    ///
    /// It is sent as `Authorization: Bearer`, or bare in the header `api_key_header` names.
    pub fn read(entry: &Value, place: &str, resources: &Resources) -> Result<Option<Self>, ConfigError> {
        let text = |key: &str| match entry.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.as_str())),
            Some(_) => Err(ConfigError::new(format!("{place}.{key}"), "must be a text")),
        };
        // A key in the file itself would end up in version control.
        if entry.get("api_key").is_some() {
            return Err(ConfigError::new(
                format!("{place}.api_key"),
                "does not belong into the configuration; name an environment variable in `api_key_env` or a file in `api_key_file`",
            ));
        }
        let header = match text("api_key_header")? {
            None => AUTHORIZATION,
            Some(name) => HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).map_err(|_| {
                ConfigError::new(format!("{place}.api_key_header"), "must be a header's name")
            })?,
        };
        let secret = match (text("api_key_env")?, text("api_key_file")?) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                let problem = "excludes `api_key_file`; give one of the two";
                return Err(ConfigError::new(format!("{place}.api_key_env"), problem));
            }
            (Some(name), None) => (resources.variables)(name).map(Secret::new).ok_or_else(|| {
                ConfigError::new(
                    format!("{place}.api_key_env"),
                    format!("names the environment variable {name}, which is not set"),
                )
            })?,
            (None, Some(name)) => from_file(name, place, resources)?,
        };
        let credential = Self { secret, header };
        credential.value().map_err(|_| {
            ConfigError::new(
                format!("{place}.api_key_env"),
                "holds characters that no header can carry",
            )
        })?;
        Ok(Some(credential))
    }

    /// The header it travels in.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// Writes it.
    pub fn write(&self, headers: &mut HeaderMap) {
        if let Ok(value) = self.value() {
            headers.insert(self.header.clone(), value);
        }
    }

    /// `text` with every occurrence of the key starred out: servers repeat keys in their refusals.
    pub fn scrub(&self, text: &str) -> String {
        text.replace(self.secret.expose(), "****")
    }

    fn value(&self) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
        let text = self.secret.expose();
        let mut value = if self.header == AUTHORIZATION {
            HeaderValue::from_str(&format!("Bearer {text}"))?
        } else {
            HeaderValue::from_str(text)?
        };
        value.set_sensitive(true);
        Ok(value)
    }
}

fn from_file(name: &str, place: &str, resources: &Resources) -> Result<Secret, ConfigError> {
    let field = format!("{place}.api_key_file");
    let path = resources.project.join(name);
    let failed = |error: std::io::Error| {
        let mut refused = ConfigError::new(field.clone(), format!("{} cannot be read", path.display()));
        refused.source = Some(error.into());
        refused
    };
    let mode = std::fs::metadata(&path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(ConfigError::new(
            field.clone(),
            format!("{} can be read by others; run chmod 600 on it", path.display()),
        ));
    }
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    if text.trim().is_empty() {
        return Err(ConfigError::new(
            field.clone(),
            format!("{} is empty", path.display()),
        ));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn keys_come_from_outside_and_stay_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "k3y-in-file\n").unwrap();
        let mut resources = Resources::new(folder.path());
        resources.variables = Arc::new(|name| (name == "KEY").then(|| "k3y".to_owned()));

        let read = |entry: Value| Credential::read(&entry, "x", &resources);
        let told = |entry: Value| read(entry).unwrap_err().to_string();
        assert!(read(json!({})).unwrap().is_none());
        assert!(told(json!({"api_key": "k3y"})).contains("does not belong"));
        assert!(told(json!({"api_key_env": "NO"})).contains("NO, which is not set"));
        assert!(told(json!({"api_key_env": "KEY", "api_key_file": "key"})).contains("one of the two"));
        assert!(told(json!({"api_key_file": "none"})).contains("cannot be read"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(told(json!({"api_key_file": "key"})).contains("chmod 600"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();

        let mut headers = HeaderMap::new();
        let by_file = read(json!({"api_key_file": "key"})).unwrap().unwrap();
        by_file.write(&mut headers);
        assert_eq!(headers["authorization"], "Bearer k3y-in-file");
        let own = read(json!({"api_key_env": "KEY", "api_key_header": "X-Api-Key"}))
            .unwrap()
            .unwrap();
        own.write(&mut headers);
        assert_eq!(headers["x-api-key"], "k3y");
        assert!(!format!("{own:?} {headers:?}").contains("k3y"));
        assert_eq!(own.scrub("wrong key k3y given"), "wrong key **** given");
    }
}
