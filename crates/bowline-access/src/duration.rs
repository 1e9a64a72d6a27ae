//! Go duration text, the form Access uses for token lifetimes (`8760h`, `2h45m`).

/// A duration could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration such as 8760h or 2h45m (units h, m, s), nor `forever`")]
pub struct DurationError {
    /// What was written.
    pub text: String,
}

/// Seconds of a duration text; `None` for `forever`. Units are h, m and s: Go's smaller units make no sense for the
/// life of a token, which is kept in whole seconds.
pub fn parse_duration(text: &str) -> Result<Option<i64>, DurationError> {
    let bad = || DurationError {
        text: text.to_owned(),
    };
    if text == "forever" {
        return Ok(None);
    }
    let mut rest = text;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let count: i64 = rest[..digits].parse().map_err(|_| bad())?;
        let unit = match rest.as_bytes()[digits] {
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return Err(bad()),
        };
        total = count
            .checked_mul(unit)
            .and_then(|seconds| total.checked_add(seconds))
            .ok_or_else(bad)?;
        rest = &rest[digits + 1..];
    }
    if total == 0 { Err(bad()) } else { Ok(Some(total)) }
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("8760h"), Ok(Some(31_536_000)));
        assert_eq!(parse_duration("2h45m1s"), Ok(Some(9_901)));
        assert_eq!(parse_duration("forever"), Ok(None));
        for bad in [
            "",
            "0s",
            "h",
            "5",
            "5d",
            "-1h",
            "99999999999999999h",
            "1h é",
            "1ms",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
