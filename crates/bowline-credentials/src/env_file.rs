//! `.env` and `.dev.vars`, as Node's `--env-file` and npm's dotenv read them.
//!
//! Our own reader, because the kept crates expand `$NAME` from the process's environment: a secret with a dollar sign
//! would change.

/// The value of `name`, the last one if it is given twice. An unclosed quote is part of the value, as it is for Node.
pub(crate) fn value(text: &str, name: &str) -> Option<String> {
    let mut found = None;
    let mut rest = text.trim_start_matches('\u{feff}');
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = line.trim();
        let Some((key, _)) = trimmed.split_once('=').filter(|_| !trimmed.starts_with('#')) else {
            rest = after;
            continue;
        };
        let key = key.trim();
        let key = key.strip_prefix("export ").map_or(key, str::trim);
        // The value may go on over lines, so it is taken from the rest of the text.
        let start = rest.find('=').map_or(rest.len(), |at| at + 1);
        let (value, next) = one_value(&rest[start..]);
        if key == name {
            found = Some(value);
        }
        rest = next;
    }
    found
}

/// A value at the start of `text`, and what follows its line.
fn one_value(text: &str) -> (String, &str) {
    let start = text.trim_start_matches([' ', '\t']);
    let end_of_line = |from: &str| -> usize {
        let offset = text.len() - from.len();
        text[offset..].find('\n').map_or(text.len(), |at| offset + at + 1)
    };
    let quote = start
        .chars()
        .next()
        .filter(|first| ['"', '\'', '`'].contains(first));
    if let Some(quote) = quote
        && let Some(close) = start[1..].find(quote)
    {
        let inner = &start[1..=close];
        let value = if quote == '"' {
            inner.replace("\\n", "\n")
        } else {
            inner.to_owned()
        };
        return (value, &text[end_of_line(&start[close + 2..])..]);
    }
    let end = end_of_line(start);
    let line = text[..end].trim_end_matches(['\n', '\r']);
    let line = line.split('#').next().unwrap_or_default();
    (line.trim().to_owned(), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn as_node_reads_them() {
        let text = "\u{feff}# a comment with A=1\nA=plain # more\r\nexport B = 'single # kept \\n' # gone\nC=\"two\\nlines\"\n\
                    KEY=\"-----BEGIN\nA=inside\n-----END\"\nD=a=b=c\nE=\nF='unclosed\nG=`tick`\nA=last\n  H=indented\nI=$A";
        for (name, expected) in [
            ("A", Some("last")),
            ("B", Some("single # kept \\n")),
            ("C", Some("two\nlines")),
            ("KEY", Some("-----BEGIN\nA=inside\n-----END")),
            ("D", Some("a=b=c")),
            ("E", Some("")),
            ("F", Some("'unclosed")),
            ("G", Some("tick")),
            ("H", Some("indented")),
            ("I", Some("$A")),
            ("J", None),
        ] {
            assert_eq!(value(text, name).as_deref(), expected, "{name}");
        }
        assert_eq!(value("", "A"), None);
        assert_eq!(value("A=\"", "A").as_deref(), Some("\""));
    }
}
