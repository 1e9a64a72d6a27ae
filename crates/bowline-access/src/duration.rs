//! Go duration text (`8760h`, `2h45m`, `300ms`), the form Access uses for lifetimes and sessions.

use std::time::Duration;

/// A duration could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration such as 8760h, 2h45m or 300ms (units h, m, s, ms, us, ns)")]
pub struct DurationError {
    /// What was written.
    pub text: String,
}

/// Units, longest spelling first where one begins another. Both spellings of micro are Go's (U+00B5 and U+03BC).
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
];

/// Reads what Go's `time.ParseDuration` reads, but for a sign: no lifetime is negative.
pub fn go_duration(text: &str) -> Result<Duration, DurationError> {
    let bad = || DurationError {
        text: text.to_owned(),
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut total) = (text, 0u128);
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let whole = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let mut after = &rest[whole..];
        let mut fraction = "";
        if let Some(digits) = after.strip_prefix('.') {
            let end = digits.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
            (fraction, after) = digits.split_at(end);
        }
        if whole == 0 && fraction.is_empty() {
            return Err(bad());
        }
        let (unit, scale) = UNITS
            .iter()
            .find(|(unit, _)| after.starts_with(unit))
            .ok_or_else(bad)?;
        let count = match &rest[..whole] {
            "" => 0,
            digits => digits.parse::<u64>().map_err(|_| bad())?,
        };
        let mut part = u128::from(count) * scale;
        let mut place = *scale;
        for digit in fraction.bytes() {
            place /= 10;
            part += u128::from(digit - b'0') * place;
        }
        total += part;
        rest = &after[unit.len()..];
    }
    // Go keeps nanoseconds in 63 bits, about 292 years.
    let nanos = i64::try_from(total).map_err(|_| bad())?;
    Ok(Duration::from_nanos(nanos.unsigned_abs()))
}

/// Seconds of a token's lifetime, at least one; `None` for `forever`. Expiry is kept in whole seconds, so a part of one
/// counts as one.
pub fn parse_duration(text: &str) -> Result<Option<i64>, DurationError> {
    if text == "forever" {
        return Ok(None);
    }
    let bad = || DurationError {
        text: text.to_owned(),
    };
    match whole_seconds(go_duration(text)?) {
        0 => Err(bad()),
        seconds => Ok(Some(seconds)),
    }
}

/// A duration in seconds, rounded up.
pub(crate) fn whole_seconds(duration: Duration) -> i64 {
    let up = u64::from(duration.subsec_nanos() > 0);
    i64::try_from(duration.as_secs().saturating_add(up)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        assert_eq!(parse_duration("8760h"), Ok(Some(31_536_000)));
        assert_eq!(parse_duration("2h45m1s"), Ok(Some(9_901)));
        assert_eq!(parse_duration("300ms"), Ok(Some(1)));
        assert_eq!(parse_duration("1.5h"), Ok(Some(5_400)));
        assert_eq!(parse_duration("forever"), Ok(None));
        for bad in [
            "",
            "0s",
            "0",
            "h",
            "5",
            "5d",
            "-1h",
            "99999999999999999h",
            "1h é",
            ".s",
            "1.h2",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn go_durations() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("1ns", 1),
            ("1us", 1_000),
            ("1µs", 1_000),
            ("1μs", 1_000),
            (".5ms", 500_000),
            ("1.5s", 1_500_000_000),
            ("1m1ms", 60_001_000_000),
        ] {
            assert_eq!(go_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        assert!(go_duration("2562048h").is_err(), "more than Go can hold");
    }
}
