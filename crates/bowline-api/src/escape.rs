//! Percent-encoding.

/// `text` as one segment of a path, or as one value of a form or a query.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_leaves_its_place() {
        assert_eq!(escape("a-Z_0.~"), "a-Z_0.~");
        assert_eq!(escape("a/../b?c&d=é "), "a%2F..%2Fb%3Fc%26d%3D%C3%A9%20");
    }
}
