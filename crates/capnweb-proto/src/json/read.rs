//! The parser. Its own stack is on the heap, so no input can overflow the program's.

use hashbrown::{HashMap, HashSet};

use super::Json;

/// Why a text is not JSON, or too deep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not JSON.
    #[error("{expected} expected at byte {at} of the message")]
    Syntax {
        /// What would have been right.
        expected: &'static str,
        /// Where.
        at: usize,
    },
    /// Nested deeper than asked for.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
}

/// A container whose end has not come yet.
enum Open {
    Array(Vec<Json>),
    Object(Vec<(String, Json)>, String),
}

/// Parses one value and nothing after it. `max_depth` counts nested containers.
pub fn parse(text: &str, max_depth: usize) -> Result<Json, ReadError> {
    let mut reader = Reader {
        text,
        bytes: text.as_bytes(),
        at: 0,
    };
    let mut open: Vec<Open> = Vec::new();
    loop {
        // One value, or the start of a container.
        reader.space();
        let mut value = match reader.peek() {
            Some(b'[') => {
                reader.at += 1;
                if !reader.closes(b']') {
                    push(&mut open, Open::Array(Vec::new()), max_depth)?;
                    continue;
                }
                Json::Array(Vec::new())
            }
            Some(b'{') => {
                reader.at += 1;
                if !reader.closes(b'}') {
                    let key = reader.key()?;
                    push(&mut open, Open::Object(Vec::new(), key), max_depth)?;
                    continue;
                }
                Json::Object(Vec::new())
            }
            _ => reader.scalar()?,
        };
        // Hand it to the innermost container, and that to the next as long as they end here.
        loop {
            let Some(innermost) = open.last_mut() else {
                reader.space();
                return if reader.at == reader.bytes.len() {
                    Ok(value)
                } else {
                    Err(reader.expected("the end"))
                };
            };
            let close = match innermost {
                Open::Array(items) => {
                    items.push(value);
                    b']'
                }
                Open::Object(members, key) => {
                    members.push((std::mem::take(key), value));
                    b'}'
                }
            };
            if reader.closes(close) {
                value = match open.pop() {
                    Some(Open::Array(items)) => Json::Array(items),
                    Some(Open::Object(members, _)) => Json::Object(last_of_each(members)),
                    None => return Err(reader.expected("a value")),
                };
                continue;
            }
            if reader.peek() != Some(b',') {
                return Err(reader.expected("a comma or the container's end"));
            }
            reader.at += 1;
            if let Some(Open::Object(_, key)) = open.last_mut() {
                reader.space();
                *key = reader.key()?;
            }
            break;
        }
    }
}

/// Of members of one name the last value, at the place of the first.
fn last_of_each(members: Vec<(String, Json)>) -> Vec<(String, Json)> {
    /// Below this, looking at all is quicker than hashing.
    const FEW: usize = 16;
    let repeats = if members.len() < FEW {
        members
            .iter()
            .enumerate()
            .any(|(at, (name, _))| members[..at].iter().any(|(earlier, _)| earlier == name))
    } else {
        let mut names = HashSet::with_capacity(members.len());
        !members.iter().all(|(name, _)| names.insert(name.as_str()))
    };
    if !repeats {
        return members;
    }
    let mut places: HashMap<String, usize> = HashMap::with_capacity(members.len());
    let mut kept: Vec<(String, Json)> = Vec::with_capacity(members.len());
    for (name, value) in members {
        match places.get(&name) {
            Some(place) => kept[*place].1 = value,
            None => {
                places.insert(name.clone(), kept.len());
                kept.push((name, value));
            }
        }
    }
    kept
}

fn push(open: &mut Vec<Open>, container: Open, max_depth: usize) -> Result<(), ReadError> {
    if open.len() >= max_depth {
        return Err(ReadError::TooDeep { limit: max_depth });
    }
    open.push(container);
    Ok(())
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn expected(&self, expected: &'static str) -> ReadError {
        ReadError::Syntax {
            expected,
            at: self.at,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Skips white space, and `byte` if it comes next.
    fn closes(&mut self, byte: u8) -> bool {
        self.space();
        let closes = self.peek() == Some(byte);
        self.at += usize::from(closes);
        closes
    }

    fn key(&mut self) -> Result<String, ReadError> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("a member's name"));
        }
        let key = self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.expected("a colon"));
        }
        self.at += 1;
        Ok(key)
    }

    fn scalar(&mut self) -> Result<Json, ReadError> {
        match self.peek() {
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, value) in [
                    ("null", Json::Null),
                    ("true", Json::Bool(true)),
                    ("false", Json::Bool(false)),
                ] {
                    if self.bytes[self.at..].starts_with(word.as_bytes()) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.expected("a value"))
            }
        }
    }

    fn digits(&mut self) -> Result<(), ReadError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.expected("a digit"));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Json, ReadError> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1
        } else {
            self.digits()?
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        // Rust's parser rounds as JavaScript does and gives Infinity for what is out of range.
        let text = self.text.get(start..self.at).unwrap_or_default();
        text.parse()
            .map(Json::Number)
            .map_err(|_| self.expected("a number"))
    }

    fn string(&mut self) -> Result<String, ReadError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let start = self.at;
            let rest = &self.bytes[start..];
            let length = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            // Without a branch a byte, so that it is done many bytes at a time.
            let has_control = rest[..length]
                .iter()
                .fold(false, |found, byte| found | (*byte < 0x20));
            if has_control {
                self.at += rest.iter().take_while(|byte| **byte >= 0x20).count();
                return Err(self.expected("the end of a text"));
            }
            self.at += length;
            // A run ends before an ASCII byte, so it is whole characters.
            text.push_str(self.text.get(start..self.at).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                _ => return Err(self.expected("the end of a text")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ReadError> {
        let byte = self.peek().ok_or_else(|| self.expected("an escape"))?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                if !(0xd800..0xdc00).contains(&unit) {
                    // A low surrogate alone is no character.
                    return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                let before = self.at;
                if self.bytes[self.at..].starts_with(b"\\u") {
                    self.at += 2;
                    let low = self.unit()?;
                    if (0xdc00..0xe000).contains(&low) {
                        let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                        return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    // What follows is a character of its own.
                    self.at = before;
                }
                char::REPLACEMENT_CHARACTER
            }
            _ => {
                self.at -= 1;
                return Err(self.expected("an escape"));
            }
        })
    }

    fn unit(&mut self) -> Result<u32, ReadError> {
        let digits = self
            .bytes
            .get(self.at..self.at + 4)
            .ok_or_else(|| self.expected("four hex digits"))?;
        let mut unit = 0;
        for digit in digits {
            unit = unit * 16
                + char::from(*digit)
                    .to_digit(16)
                    .ok_or_else(|| self.expected("four hex digits"))?;
        }
        self.at += 4;
        Ok(unit)
    }
}
