//! Which gateways and providers there are.

use std::collections::BTreeMap;

use bowline_binding::{ConfigError, Credential, Resources, url};
use serde_json::{Map, Value};

use crate::Options;

/// Providers with a well-known address, reached with the caller's own key unless the configuration has one.
const KNOWN: [(&str, &str); 2] = [
    ("openai", "https://api.openai.com/v1"),
    ("anthropic", "https://api.anthropic.com"),
];

/// One gateway.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// What `getUrl` hands out, without a slash at the end.
    pub(crate) url: Option<String>,
    pub(crate) defaults: Options,
}

/// One provider reached by HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) url: String,
    pub(crate) credential: Option<Credential>,
}

/// The members `gateways` and `providers` of a binding's entry.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) gateways: BTreeMap<String, Settings>,
    pub(crate) providers: BTreeMap<String, Address>,
}

impl Config {
    pub(crate) fn parse(entry: &Value, resources: &Resources) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (id, settings) in objects(entry, "gateways")? {
            let place = format!("gateways.{id}");
            let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if id.is_empty() || id.len() > 64 || !id.bytes().all(safe) {
                return Err(ConfigError::new(
                    place,
                    "must be named by 1 to 64 letters, digits, `-` or `_`",
                ));
            }
            config.gateways.insert(id.clone(), gateway(settings, &place)?);
        }
        for (name, url) in KNOWN {
            let address = Address {
                url: url.to_owned(),
                credential: None,
            };
            config.providers.insert(name.to_owned(), address);
        }
        for (name, provider) in objects(entry, "providers")? {
            let place = format!("providers.{name}");
            let known = KNOWN.iter().find(|(known, _)| known == name).map(|(_, url)| *url);
            let url = match provider.get("url") {
                None => known.map(str::to_owned),
                Some(url) => Some(self::url(url, &format!("{place}.url"))?),
            };
            let url = url.ok_or_else(|| ConfigError::new(format!("{place}.url"), "is required"))?;
            let credential = Credential::read(provider, &place, resources)?;
            config.providers.insert(name.clone(), Address { url, credential });
        }
        Ok(config)
    }
}

fn gateway(settings: &Value, place: &str) -> Result<Settings, ConfigError> {
    let number = |key: &str| match settings.get(key) {
        None => Ok(None),
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| ConfigError::new(format!("{place}.{key}"), "must be a whole number")),
    };
    let mut defaults = Options::default();
    let refused = |error: crate::GatewayError| ConfigError::new(place, error.to_string());
    defaults
        .set_numbers(
            number("cache_ttl")?,
            number("request_timeout_ms")?,
            number("max_attempts")?,
            number("retry_delay_ms")?,
        )
        .map_err(refused)?;
    if let Some(backoff) = settings.get("backoff") {
        defaults
            .set_backoff(backoff.as_str().unwrap_or_default())
            .map_err(refused)?;
    }
    defaults.collect_log = match settings.get("collect_logs") {
        None => None,
        Some(Value::Bool(value)) => Some(*value),
        Some(_) => {
            return Err(ConfigError::new(
                format!("{place}.collect_logs"),
                "must be true or false",
            ));
        }
    };
    Ok(Settings {
        url: settings
            .get("url")
            .map(|url| self::url(url, &format!("{place}.url")))
            .transpose()?,
        defaults,
    })
}

/// The objects under a member; none when it is absent.
fn objects<'a>(
    entry: &'a Value,
    key: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, ConfigError> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    let members = match entry.get(key) {
        None => &*NONE,
        Some(Value::Object(members)) => members,
        Some(_) => return Err(ConfigError::new(key, "must be an object of objects")),
    };
    if let Some((name, _)) = members.iter().find(|(_, value)| !value.is_object()) {
        return Err(ConfigError::new(format!("{key}.{name}"), "must be an object"));
    }
    Ok(members.iter())
}
