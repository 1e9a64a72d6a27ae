//! What a call asks of the gateway: the `cf-aig-*` headers, the `gateway` member of `AI.run`, and a gateway's own defaults.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use crate::GatewayError;

/// The prefix of every header that is for the gateway and not for the provider.
pub(crate) const PREFIX: &str = "cf-aig-";

const SKIP_CACHE: HeaderName = HeaderName::from_static("cf-aig-skip-cache");
const CACHE_TTL: HeaderName = HeaderName::from_static("cf-aig-cache-ttl");
const CACHE_KEY: HeaderName = HeaderName::from_static("cf-aig-cache-key");
const METADATA: HeaderName = HeaderName::from_static("cf-aig-metadata");
const COLLECT_LOG: HeaderName = HeaderName::from_static("cf-aig-collect-log");
const EVENT_ID: HeaderName = HeaderName::from_static("cf-aig-event-id");
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("cf-aig-request-timeout");
const MAX_ATTEMPTS: HeaderName = HeaderName::from_static("cf-aig-max-attempts");
const RETRY_DELAY: HeaderName = HeaderName::from_static("cf-aig-retry-delay");
const BACKOFF: HeaderName = HeaderName::from_static("cf-aig-backoff");

/// The documented bounds of a cached answer's life.
const CACHE_SECONDS: std::ops::RangeInclusive<u64> = 60..=31 * 24 * 3600;
const ATTEMPTS: std::ops::RangeInclusive<u64> = 1..=5;
const METADATA_ENTRIES: usize = 5;
/// A longer wait would outlive the caller's.
const LONGEST_DELAY_MS: u64 = 60_000;
const LONGEST_TEXT: usize = 1024;

/// How the wait between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backoff {
    Constant,
    Linear,
    Exponential,
}

impl Backoff {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "constant" => Some(Self::Constant),
            "linear" => Some(Self::Linear),
            "exponential" => Some(Self::Exponential),
            _ => None,
        }
    }

    /// The wait before attempt `next` (2 for the first repetition).
    pub(crate) fn wait(self, delay: Duration, next: u32) -> Duration {
        let repetition = next.saturating_sub(1).max(1);
        match self {
            Self::Constant => delay,
            Self::Linear => delay.saturating_mul(repetition),
            Self::Exponential => delay.saturating_mul(1 << (repetition - 1).min(16)),
        }
    }
}

/// What a call asks of the gateway. What is absent is decided by whoever is asked next: a step, then the call, then the
/// gateway.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    pub(crate) skip_cache: Option<bool>,
    pub(crate) cache_ttl: Option<Duration>,
    pub(crate) cache_key: Option<String>,
    pub(crate) metadata: Option<Map<String, Value>>,
    pub(crate) collect_log: Option<bool>,
    pub(crate) event_id: Option<String>,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) retry_delay: Option<Duration>,
    pub(crate) backoff: Option<Backoff>,
}

impl Options {
    /// Reads the `cf-aig-*` headers. Headers of that prefix that are not known are let pass.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, GatewayError> {
        let refuse = |name: &HeaderName, must: &str| GatewayError::Invalid(format!("{name} must be {must}"));
        let text = |name: &HeaderName| match headers.get(name) {
            None => Ok(None),
            Some(value) => std::str::from_utf8(value.as_bytes())
                .ok()
                .filter(|text| text.len() <= LONGEST_TEXT)
                .map(|text| Some(text.trim().to_owned()))
                .ok_or_else(|| refuse(name, "a short text")),
        };
        let flag = |name: &HeaderName| match text(name)?.as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(refuse(name, "true or false")),
        };
        let number = |name: &HeaderName| match text(name)? {
            None => Ok(None),
            Some(text) => text
                .parse::<u64>()
                .map(Some)
                .map_err(|_| refuse(name, "a whole number")),
        };
        let mut options = Self {
            skip_cache: flag(&SKIP_CACHE)?,
            cache_key: text(&CACHE_KEY)?,
            collect_log: flag(&COLLECT_LOG)?,
            event_id: text(&EVENT_ID)?,
            ..Self::default()
        };
        options.set_numbers(
            number(&CACHE_TTL)?,
            number(&REQUEST_TIMEOUT)?,
            number(&MAX_ATTEMPTS)?,
            number(&RETRY_DELAY)?,
        )?;
        if let Some(text) = text(&BACKOFF)? {
            options.set_backoff(&text)?;
        }
        if let Some(text) = text(&METADATA)? {
            let value = serde_json::from_str(&text).unwrap_or(Value::Null);
            options.set_metadata(value)?;
        }
        Ok(options)
    }

    /// Reads the `gateway` member of `AI.run`'s options. Unknown members are let pass.
    pub fn from_json(gateway: &Map<String, Value>) -> Result<Self, GatewayError> {
        let member = |name: &str| gateway.get(name).filter(|value| !value.is_null());
        let refuse = |name: &str, must: &str| GatewayError::Invalid(format!("gateway.{name} must be {must}"));
        let flag = |name: &str| match member(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(refuse(name, "true or false")),
        };
        let text = |name: &str| match member(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= LONGEST_TEXT => Ok(Some(text.clone())),
            Some(_) => Err(refuse(name, "a short text")),
        };
        // JavaScript may write a whole number as 5.0.
        let number = |name: &str, value: Option<&Value>| match value {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_f64()
                .filter(|number| *number >= 0.0 && number.fract() == 0.0 && *number < 1e15)
                .map(|number| Some(number as u64))
                .ok_or_else(|| refuse(name, "a whole number")),
        };
        let retries = match member("retries") {
            None => &Map::new(),
            Some(Value::Object(retries)) => retries,
            Some(_) => return Err(refuse("retries", "an object")),
        };
        let mut options = Self {
            skip_cache: flag("skipCache")?,
            cache_key: text("cacheKey")?,
            collect_log: flag("collectLog")?,
            event_id: text("eventId")?,
            ..Self::default()
        };
        options.set_numbers(
            number("cacheTtl", member("cacheTtl"))?,
            number("requestTimeoutMs", member("requestTimeoutMs"))?,
            number("retries.maxAttempts", retries.get("maxAttempts"))?,
            number("retries.retryDelayMs", retries.get("retryDelayMs"))?,
        )?;
        match retries.get("backoff") {
            None | Some(Value::Null) => {}
            Some(value) => options.set_backoff(value.as_str().unwrap_or_default())?,
        }
        if let Some(metadata) = member("metadata") {
            options.set_metadata(metadata.clone())?;
        }
        Ok(options)
    }

    /// These options, and where they are silent, `other`'s.
    #[must_use]
    pub(crate) fn over(self, other: &Self) -> Self {
        Self {
            skip_cache: self.skip_cache.or(other.skip_cache),
            cache_ttl: self.cache_ttl.or(other.cache_ttl),
            cache_key: self.cache_key.or_else(|| other.cache_key.clone()),
            metadata: self.metadata.or_else(|| other.metadata.clone()),
            collect_log: self.collect_log.or(other.collect_log),
            event_id: self.event_id.or_else(|| other.event_id.clone()),
            request_timeout: self.request_timeout.or(other.request_timeout),
            max_attempts: self.max_attempts.or(other.max_attempts),
            retry_delay: self.retry_delay.or(other.retry_delay),
            backoff: self.backoff.or(other.backoff),
        }
    }

    pub(crate) fn set_numbers(
        &mut self,
        cache_ttl_s: Option<u64>,
        timeout_ms: Option<u64>,
        attempts: Option<u64>,
        delay_ms: Option<u64>,
    ) -> Result<(), GatewayError> {
        let within = |what: &str, value: Option<u64>, range: std::ops::RangeInclusive<u64>| match value {
            Some(value) if !range.contains(&value) => Err(GatewayError::Invalid(format!(
                "{what} must be from {} to {}",
                range.start(),
                range.end()
            ))),
            value => Ok(value),
        };
        // 0 is how a caller says that a gateway's default shall not apply.
        self.cache_ttl = match cache_ttl_s {
            Some(0) => Some(Duration::ZERO),
            value => {
                within("the cache's time to live in seconds", value, CACHE_SECONDS)?.map(Duration::from_secs)
            }
        };
        self.request_timeout =
            within("the request's timeout in ms", timeout_ms, 1..=u64::MAX)?.map(Duration::from_millis);
        self.max_attempts = within("the number of attempts", attempts, ATTEMPTS)?
            .and_then(|attempts| u32::try_from(attempts).ok());
        self.retry_delay = within("the delay between attempts in ms", delay_ms, 0..=LONGEST_DELAY_MS)?
            .map(Duration::from_millis);
        Ok(())
    }

    pub(crate) fn set_backoff(&mut self, text: &str) -> Result<(), GatewayError> {
        let backoff = Backoff::parse(text).ok_or_else(|| {
            GatewayError::Invalid("the back-off must be constant, linear or exponential".into())
        })?;
        self.backoff = Some(backoff);
        Ok(())
    }

    fn set_metadata(&mut self, value: Value) -> Result<(), GatewayError> {
        self.metadata = Some(metadata(value)?);
        Ok(())
    }
}

/// Checks metadata: a flat object of few entries.
pub(crate) fn metadata(value: Value) -> Result<Map<String, Value>, GatewayError> {
    let flat = |value: &Value| !value.is_object() && !value.is_array();
    match value {
        Value::Object(entries) if entries.len() <= METADATA_ENTRIES && entries.values().all(flat) => {
            Ok(entries)
        }
        _ => Err(GatewayError::Invalid(format!(
            "metadata must be an object of at most {METADATA_ENTRIES} texts, numbers or booleans"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn headers_and_json_say_the_same() {
        let by_header = Options::from_headers(&headers(&[
            ("cf-aig-skip-cache", "true"),
            ("cf-aig-cache-ttl", "60"),
            ("cf-aig-cache-key", "ck"),
            ("cf-aig-metadata", r#"{"u":1}"#),
            ("cf-aig-collect-log", "false"),
            ("cf-aig-event-id", "ev"),
            ("cf-aig-request-timeout", "1000"),
            ("cf-aig-max-attempts", "2"),
            ("cf-aig-retry-delay", "100"),
            ("cf-aig-backoff", "linear"),
            ("cf-aig-unheard-of", "x"),
        ]))
        .unwrap();
        // As captured from both miniflares (reference: captures, `ai.run.gateway`).
        let captured = json!({"id":"gw","skipCache":true,"cacheTtl":60,"cacheKey":"ck","metadata":{"u":1},"collectLog":false,
            "eventId":"ev","requestTimeoutMs":1000,"retries":{"maxAttempts":2,"retryDelayMs":100,"backoff":"linear"}});
        assert_eq!(
            Options::from_json(captured.as_object().unwrap()).unwrap(),
            by_header
        );
        assert_eq!(by_header.metadata.unwrap()["u"], 1);
    }

    #[test]
    fn out_of_bounds_is_refused() {
        for (name, value) in [
            ("cf-aig-cache-ttl", "59"),
            ("cf-aig-cache-ttl", "2678401"),
            ("cf-aig-cache-ttl", "-1"),
            ("cf-aig-max-attempts", "0"),
            ("cf-aig-max-attempts", "6"),
            ("cf-aig-request-timeout", "0"),
            ("cf-aig-retry-delay", "60001"),
            ("cf-aig-backoff", "quadratic"),
            ("cf-aig-skip-cache", "1"),
            ("cf-aig-metadata", "{"),
            ("cf-aig-metadata", r#"{"a":{}}"#),
            ("cf-aig-metadata", r#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}"#),
        ] {
            assert!(
                Options::from_headers(&headers(&[(name, value)])).is_err(),
                "{name}: {value}"
            );
        }
        assert_eq!(
            Options::from_headers(&headers(&[("cf-aig-cache-ttl", "0")]))
                .unwrap()
                .cache_ttl,
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn waits_grow_as_named() {
        let delay = Duration::from_millis(100);
        let waits = |backoff: Backoff| [2, 3, 4].map(|next| backoff.wait(delay, next).as_millis());
        assert_eq!(waits(Backoff::Constant), [100, 100, 100]);
        assert_eq!(waits(Backoff::Linear), [100, 200, 300]);
        assert_eq!(waits(Backoff::Exponential), [100, 200, 400]);
    }

    #[test]
    fn the_nearer_wins() {
        let step = Options {
            max_attempts: Some(3),
            ..Options::default()
        };
        let call = Options {
            max_attempts: Some(2),
            skip_cache: Some(true),
            ..Options::default()
        };
        let both = step.over(&call);
        assert_eq!((both.max_attempts, both.skip_cache), (Some(3), Some(true)));
    }
}
