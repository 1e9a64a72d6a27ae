//! The writer: what `JSON.stringify` writes, without blanks.

use std::fmt::Write;

use super::Json;

/// The text of a value. Numbers that are not finite are written `null`, as JavaScript does.
pub fn to_text(json: &Json) -> String {
    let mut out = String::new();
    write(&mut out, json);
    out
}

/// The text JavaScript's `String(value)` gives.
pub fn javascript_text(json: &Json) -> String {
    match json {
        Json::Null => "null".into(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) if number.is_nan() => "NaN".into(),
        Json::Number(number) if number.is_infinite() => {
            if *number > 0.0 { "Infinity" } else { "-Infinity" }.into()
        }
        Json::Number(number) => {
            let mut out = String::new();
            write_number(&mut out, *number);
            out
        }
        Json::String(text) => text.clone(),
        Json::Array(items) => {
            let texts: Vec<String> = items
                .iter()
                .map(|item| match item {
                    Json::Null => String::new(),
                    item => javascript_text(item),
                })
                .collect();
            texts.join(",")
        }
        Json::Object(_) => "[object Object]".into(),
    }
}

/// Appends the text of a value.
// Recursive: a value to be written was built by our own encoder or read by our parser, both of which bound its depth.
pub(crate) fn write(out: &mut String, json: &Json) {
    match json {
        Json::Null => out.push_str("null"),
        Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Json::Number(number) => write_number(out, *number),
        Json::String(text) => write_string(out, text),
        Json::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(out, item);
            }
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(out, name);
                out.push(':');
                write(out, value);
            }
            out.push('}');
        }
    }
}

pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut plain = 0;
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|byte| needs_escape(*byte)) {
        at += found;
        let byte = bytes[at];
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x0c => "\\f",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            _ => "",
        };
        out.push_str(&text[plain..at]);
        at += 1;
        plain = at;
        if escape.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// A number as JavaScript writes it (ECMA-262, Number::toString): shortest digits that read back the same; plain from
/// 1e-6 to below 1e21, with an exponent outside.
pub(crate) fn write_number(out: &mut String, number: f64) {
    if !number.is_finite() {
        out.push_str("null");
        return;
    }
    // Most numbers are small integers.
    if number.fract() == 0.0 && number.abs() < 1e15 {
        let _ = write!(out, "{}", number as i64);
        return;
    }
    // Rust's `{:e}` has the same shortest digits: d[.ddd]e±n.
    let scientific = format!("{:e}", number.abs());
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if number < 0.0 {
        out.push('-');
    }
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or_default());
    // `point` digits stand before the decimal point.
    let point = exponent + 1;
    if count <= point && point <= 21 {
        let _ = write!(out, "{digits}{}", zeros(point - count));
    } else if 0 < point && point <= 21 {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or_default());
        let _ = write!(out, "{whole}.{fraction}");
    } else if -6 < point && point <= 0 {
        let _ = write!(out, "0.{}{digits}", zeros(-point));
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        let fraction = if digits.len() > 1 {
            format!(".{}", &digits[1..])
        } else {
            String::new()
        };
        let _ = write!(out, "{}{fraction}e{sign}{}", &digits[..1], exponent.abs());
    }
}
