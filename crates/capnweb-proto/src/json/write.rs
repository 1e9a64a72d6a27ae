//! The writer: what `JSON.stringify` writes, without blanks.

use std::fmt::Write;

use super::Json;
use super::run::plain_run;

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
    out.reserve(text.len() + 2);
    out.push('"');
    let mut rest = text;
    loop {
        // A run ends before an ASCII byte, so it is whole characters.
        let (plain, special) = rest.split_at(plain_run(rest.as_bytes()));
        out.push_str(plain);
        let Some(byte) = special.bytes().next() else { break };
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "\\u{byte:04x}")),
        }
        rest = &special[1..];
    }
    out.push('"');
}

/// Appends an id or a count.
pub(crate) fn write_integer(out: &mut String, number: impl itoa::Integer) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// A number as JavaScript writes it (ECMA-262, Number::toString): shortest digits that read back the same; plain from
/// 1e-6 to below 1e21, with an exponent outside.
pub(crate) fn write_number(out: &mut String, number: f64) {
    // Most numbers are small integers. Converting there and back is two instructions, `fract` the call of a function.
    let whole = number as i64;
    if whole as f64 == number && whole.unsigned_abs() < 1_000_000_000_000_000 {
        write_integer(out, whole);
    } else if !number.is_finite() {
        out.push_str("null");
    } else if !write_hundredths(out, number) {
        out.push_str(ryu_js::Buffer::new().format_finite(number));
    }
}

/// Writes a number of up to two decimals, as amounts of money are; `false` for any other.
///
/// A double tells all decimals of 15 digits apart, so one that reads back the same is the shortest. Reading it is one
/// division, which rounds correctly, as both its sides are exact.
fn write_hundredths(out: &mut String, number: f64) -> bool {
    let hundredths = (number.abs() * 100.0 + 0.5) as u64;
    if hundredths >= 1_000_000_000_000_000 || hundredths as f64 / 100.0 != number.abs() {
        return false;
    }
    if number < 0.0 {
        out.push('-');
    }
    write_integer(out, hundredths / 100);
    out.push('.');
    let (tenths, rest) = (hundredths / 10 % 10, hundredths % 10);
    write_integer(out, tenths);
    if rest > 0 {
        write_integer(out, rest);
    }
    true
}
