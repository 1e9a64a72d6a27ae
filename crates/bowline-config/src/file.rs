//! From a file to a JSON value, whatever language the file is in.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::ConfigError;

/// wrangler's own order of preference.
const NAMES: [&str; 3] = ["wrangler.json", "wrangler.jsonc", "wrangler.toml"];
/// Larger files are no configurations.
const LARGEST: u64 = 4 * 1024 * 1024;

/// The configuration at `path`, a file or a folder.
pub(crate) fn find(path: &Path) -> Result<PathBuf, ConfigError> {
    let absolute = path.canonicalize().map_err(|source| ConfigError::Unreadable {
        file: path.to_owned(),
        source,
    })?;
    if !absolute.is_dir() {
        return Ok(absolute);
    }
    NAMES
        .iter()
        .map(|name| absolute.join(name))
        .find(|file| file.is_file())
        .ok_or(ConfigError::NotFound(absolute))
}

/// The configuration at `path`, a file or the folder of one, as it is written: its absolute path and its members.
///
/// # Errors
/// There is none, it cannot be read, or it is not in the language its name says.
pub fn document(path: &Path) -> Result<(PathBuf, Map<String, Value>), ConfigError> {
    let file = find(path)?;
    let members = read(&file)?;
    Ok((file, members))
}

/// The members of a file that exists.
pub(crate) fn read(file: &Path) -> Result<Map<String, Value>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        file: file.to_owned(),
        source,
    };
    let size = std::fs::metadata(file).map_err(unreadable)?.len();
    if size > LARGEST {
        let problem = format!("{size} bytes is too large for a configuration (at most {LARGEST})");
        return Err(ConfigError::Syntax {
            file: file.to_owned(),
            problem,
        });
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    parse(file, &text)
}

fn parse(file: &Path, text: &str) -> Result<Map<String, Value>, ConfigError> {
    let syntax = |problem: String| ConfigError::Syntax {
        file: file.to_owned(),
        problem,
    };
    let value = if file.extension().is_some_and(|extension| extension == "toml") {
        toml::from_str::<Value>(text).map_err(|error| syntax(error.to_string()))?
    } else {
        jsonc_parser::parse_to_serde_value::<Value>(text, &jsonc_parser::ParseOptions::default())
            .map_err(|error| syntax(error.to_string()))?
    };
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(syntax("a configuration is an object".into())),
    }
}
