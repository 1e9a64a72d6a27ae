//! When a call is made again.

use std::time::Duration;

use crate::ApiError;

/// Attempts in all.
const ATTEMPTS: usize = 3;
/// A longer wait than this is the caller's decision.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether another attempt may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// No: the same request would get the same answer.
    Never,
    /// Yes, at any time.
    Soon,
    /// Yes, but not before this has passed.
    After(Duration),
}

/// Makes a unit of calls again while its error allows: at most three attempts, at once and then after one second. What
/// the API asks for with `Retry-After` is obeyed, plus up to a second so that many clients do not come back together; asked
/// for more than a minute, it gives up at once. Cancel safe.
pub async fn retrying<T, F>(mut unit: impl FnMut() -> F) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let mut attempt = 0;
    loop {
        let error = match unit().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        attempt += 1;
        let jitter = Duration::from_millis(rand::random_range(0..=1000));
        let Some(wait) = pause(attempt, error.retry(), jitter) else {
            return Err(error);
        };
        tracing::debug!(attempt, error = %error, wait_ms = wait.as_millis(), "API call failed, trying again");
        tokio::time::sleep(wait).await;
    }
}

/// The wait after attempt number `attempt` (from 1), or `None` when that was the last.
fn pause(attempt: usize, retry: Retry, jitter: Duration) -> Option<Duration> {
    if attempt >= ATTEMPTS {
        return None;
    }
    match retry {
        Retry::Never => None,
        Retry::Soon if attempt == 1 => Some(Duration::ZERO),
        Retry::Soon => Some(Duration::from_secs(1)),
        Retry::After(after) if after > LONGEST => None,
        Retry::After(after) => Some(after + jitter),
    }
}

/// `Retry-After`: seconds, or a date.
pub(crate) fn retry_after(value: &[u8], now: jiff::Timestamp) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let seconds = at.as_second().saturating_sub(now.as_second());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_as_wrangler_does() {
        let (none, half) = (Duration::ZERO, Duration::from_millis(500));
        assert_eq!(pause(1, Retry::Soon, half), Some(none));
        assert_eq!(pause(2, Retry::Soon, half), Some(Duration::from_secs(1)));
        assert_eq!(pause(3, Retry::Soon, half), None);
        assert_eq!(pause(1, Retry::Never, half), None);
        let asked = |seconds| Retry::After(Duration::from_secs(seconds));
        assert_eq!(pause(1, asked(2), half), Some(Duration::from_millis(2500)));
        assert_eq!(pause(1, asked(60), none), Some(Duration::from_secs(60)));
        assert_eq!(pause(1, asked(61), none), None);
        assert_eq!(pause(3, asked(1), none), None);
    }

    #[test]
    fn seconds_or_a_date() {
        let now = "2026-11-28T00:00:00Z".parse().unwrap();
        for (value, seconds) in [
            ("0", Some(0)),
            (" 17 ", Some(17)),
            ("Sat, 28 Nov 2026 00:00:30 GMT", Some(30)),
            ("Fri, 27 Nov 2026 00:00:30 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("99999999999999999999", None),
        ] {
            let parsed = retry_after(value.as_bytes(), now).map(|after| after.as_secs());
            assert_eq!(parsed, seconds, "{value}");
        }
    }
}
