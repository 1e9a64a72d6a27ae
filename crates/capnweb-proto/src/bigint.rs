//! Integers of any length, as JavaScript's `BigInt(text)` reads them.

/// Decimal digits of one limb.
const LIMB_DIGITS: usize = 18;
const LIMB: u128 = 1_000_000_000_000_000_000;

/// The decimal form without leading zeros: of decimal digits with or without a sign, of hexadecimal, octal or binary ones
/// with their prefix, of nothing (zero); blanks around it are allowed. ECMA-262, StringToBigInt.
pub(crate) fn parse(text: &str) -> Option<String> {
    let text = text.trim_matches(is_space);
    if text.is_empty() {
        return Some("0".into());
    }
    for (prefixes, bits) in [(["0x", "0X"], 4), (["0o", "0O"], 3), (["0b", "0B"], 1)] {
        let digits = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
        if let Some(digits) = digits {
            return to_decimal(digits, bits);
        }
    }
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_start_matches('0');
    Some(match (significant, negative) {
        ("", _) => "0".into(),
        (digits, true) => format!("-{digits}"),
        (digits, false) => digits.into(),
    })
}

/// White space and line ends of ECMA-262.
fn is_space(c: char) -> bool {
    c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}')
}

fn to_decimal(digits: &str, bits: u32) -> Option<String> {
    if digits.is_empty() {
        return None;
    }
    // Least significant limb first.
    let mut limbs: Vec<u64> = Vec::new();
    // As many digits at a time as fit a limb.
    for chunk in digits.as_bytes().chunks(60 / bits as usize) {
        let mut carry: u128 = 0;
        for digit in chunk {
            let digit = char::from(*digit).to_digit(1 << bits)?;
            carry = carry << bits | u128::from(digit);
        }
        let shift = bits * u32::try_from(chunk.len()).ok()?;
        for limb in &mut limbs {
            let sum = (u128::from(*limb) << shift) + carry;
            // A remainder of a division by less than 2^60.
            *limb = (sum % LIMB) as u64;
            carry = sum / LIMB;
        }
        while carry > 0 {
            limbs.push((carry % LIMB) as u64);
            carry /= LIMB;
        }
    }
    let Some(most) = limbs.pop() else {
        return Some("0".into());
    };
    let mut decimal = most.to_string();
    for limb in limbs.iter().rev() {
        decimal.push_str(&format!("{limb:0LIMB_DIGITS$}"));
    }
    Some(decimal)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_bigint_reads() {
        for (text, meaning) in [
            ("12", "12"),
            ("-0012", "-12"),
            ("+12", "12"),
            ("-0", "0"),
            ("", "0"),
            (" \n\u{a0}\u{feff}5\t", "5"),
            ("0x1F", "31"),
            ("0XfF", "255"),
            ("0b101", "5"),
            ("0o17", "15"),
            ("0x0", "0"),
            (
                "0x123456789abcdef0123456789abcdef",
                "1512366075204170929049582354406559215",
            ),
            (
                "0x1000000000000000000000000000000000000000000000000",
                "6277101735386680763835789423207666416102355444464034512896",
            ),
        ] {
            assert_eq!(parse(text).as_deref(), Some(meaning), "{text}");
        }
        for text in [
            "1x", "0x", "-0x1", "+", "-", "--1", "1n", "1.0", "1 2", "\u{85}1", "0b2", "0xg", "٣",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
