//! Close reasons fit into a control frame.

/// `text` cut to the 123 bytes of UTF-8 a close frame has room for (RFC 6455 §5.5), at a character boundary.
pub fn close_reason(text: &str) -> &str {
    &text[..text.floor_char_boundary(123)]
}

#[cfg(test)]
mod tests {
    use super::close_reason;

    #[test]
    fn cut_at_a_character() {
        assert_eq!(close_reason("short"), "short");
        let long = format!("{}é tail", "x".repeat(122));
        assert_eq!(close_reason(&long), "x".repeat(122));
    }
}
