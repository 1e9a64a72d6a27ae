//! The parser: from text to a [`Tape`], which lists what the text holds and copies nothing of it.
//!
//! Most of a message is moved into values once and looked at once. A tree between text and value would cost an allocation
//! for each of its nodes; a tape is one allocation for all.

use std::borrow::Cow;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::Json;
use super::run::plain_run;
use crate::Text;

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

/// Parses one value and nothing after it. `max_depth` counts nested containers; the tree that comes back is walked
/// recursively, so it also bounds the stack.
pub fn parse(text: &str, max_depth: usize) -> Result<Json, ReadError> {
    Ok(Tape::read(text, max_depth)?.root().to_json())
}

/// What a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    True,
    False,
    Number,
    /// Without an escape.
    Text,
    /// With escapes.
    Escaped,
    Array,
    Object,
    /// With members of one name.
    Repeating,
}

/// One value, or the name of a member. Offsets are of 32 bits: no limit lets a message be longer.
#[derive(Debug, Clone, Copy)]
struct Token {
    kind: Kind,
    /// Where its text starts: of a text what is between the quotes.
    start: u32,
    end: u32,
    /// The token after it and all that is in it.
    next: u32,
}

/// A parsed text: every value in the order of the text, each followed by what is in it.
#[derive(Debug, Clone)]
pub(crate) struct Tape<'t> {
    text: Cow<'t, str>,
    tokens: Vec<Token>,
}

impl<'t> Tape<'t> {
    /// Reads one value and nothing after it. The reader's own stack is on the heap, so no input can overflow the program's.
    pub(crate) fn read(text: impl Into<Cow<'t, str>>, max_depth: usize) -> Result<Self, ReadError> {
        let text = text.into();
        let tokens = read(&text, max_depth)?;
        Ok(Self { text, tokens })
    }

    pub(crate) fn root(&self) -> Node<'_> {
        Node {
            text: &self.text,
            tokens: &self.tokens,
            at: 0,
        }
    }
}

/// A value on a tape.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Node<'a> {
    fn token(self) -> Token {
        // A node is made of a token's place only.
        self.tokens[self.at]
    }

    pub(crate) fn kind(self) -> Kind {
        self.token().kind
    }

    fn source(self) -> &'a str {
        let Token { start, end, .. } = self.token();
        &self.text[start as usize..end as usize]
    }

    /// The text, of a string.
    pub(crate) fn as_text(self) -> Option<Cow<'a, str>> {
        match self.kind() {
            Kind::Text => Some(Cow::Borrowed(self.source())),
            Kind::Escaped => Some(Cow::Owned(unescape(self.source()))),
            _ => None,
        }
    }

    /// The text of a string, to be kept.
    #[inline]
    pub(crate) fn to_text(self) -> Option<Text> {
        match self.kind() {
            Kind::Text => Some(Text::new(self.source())),
            Kind::Escaped => Some(unescape(self.source()).into()),
            _ => None,
        }
    }

    /// Whether it is this text.
    #[inline]
    pub(crate) fn is(self, text: &str) -> bool {
        match self.kind() {
            Kind::Text => self.source() == text,
            Kind::Escaped => unescape(self.source()) == text,
            _ => false,
        }
    }

    pub(crate) fn is_text(self) -> bool {
        matches!(self.kind(), Kind::Text | Kind::Escaped)
    }

    pub(crate) fn is_array(self) -> bool {
        self.kind() == Kind::Array
    }

    pub(crate) fn is_object(self) -> bool {
        matches!(self.kind(), Kind::Object | Kind::Repeating)
    }

    /// The number: Infinity for a literal out of range.
    pub(crate) fn as_number(self) -> Option<f64> {
        (self.kind() == Kind::Number).then(|| number(self.source()))
    }

    /// The number, if it is an integer that a double holds exactly.
    pub(crate) fn as_integer(self) -> Option<i64> {
        super::exact_integer(self.as_number()?)
    }

    /// The elements of an array; of anything else none.
    pub(crate) fn items(self) -> Children<'a> {
        self.children(self.is_array())
    }

    /// Names and values of an object in turn; of anything else none. Of members of one name all are there.
    fn pairs(self) -> Children<'a> {
        self.children(self.is_object())
    }

    fn children(self, any: bool) -> Children<'a> {
        Children {
            node: Self {
                at: self.at + 1,
                ..self
            },
            end: if any {
                self.token().next as usize
            } else {
                self.at + 1
            },
        }
    }

    /// The number of members, those of one name counted each.
    pub(crate) fn member_bound(self) -> usize {
        self.pairs().count() / 2
    }

    /// The members of an object: of those of one name the last value, at the place of the first.
    pub(crate) fn members(self) -> Members<'a> {
        if self.kind() == Kind::Repeating {
            Members::Distinct(last_of_each(Pairs(self.pairs())).into_iter())
        } else {
            Members::AsWritten(Pairs(self.pairs()))
        }
    }

    /// As a tree of its own.
    pub(crate) fn to_json(self) -> Json {
        match self.kind() {
            Kind::Null => Json::Null,
            Kind::True => Json::Bool(true),
            Kind::False => Json::Bool(false),
            Kind::Number => Json::Number(number(self.source())),
            Kind::Text | Kind::Escaped => Json::String(self.as_text().unwrap_or_default().into_owned()),
            Kind::Array => Json::Array(self.items().map(Self::to_json).collect()),
            Kind::Object | Kind::Repeating => Json::Object(
                self.members()
                    .map(|(name, value)| (name.as_text().unwrap_or_default().into_owned(), value.to_json()))
                    .collect(),
            ),
        }
    }

    /// A tape of this value alone, which outlives the message.
    pub(crate) fn to_tape(self) -> Tape<'static> {
        let Token { start, end, next, .. } = self.token();
        // A text's quotes belong to it.
        let quotes = u32::from(self.is_text());
        let (start, end) = (start - quotes, end + quotes);
        let moved = |token: &Token| Token {
            start: token.start - start,
            end: token.end - start,
            next: token.next - self.at as u32,
            ..*token
        };
        Tape {
            text: Cow::Owned(self.text[start as usize..end as usize].to_owned()),
            tokens: self.tokens[self.at..next as usize].iter().map(moved).collect(),
        }
    }
}

/// Values side by side.
#[derive(Clone)]
pub(crate) struct Children<'a> {
    node: Node<'a>,
    end: usize,
}

impl<'a> Iterator for Children<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        if self.node.at >= self.end {
            return None;
        }
        let node = self.node;
        self.node.at = node.token().next as usize;
        Some(node)
    }
}

/// Names and values of members as they are written.
pub(crate) struct Pairs<'a>(Children<'a>);

impl<'a> Iterator for Pairs<'a> {
    type Item = (Node<'a>, Node<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = (self.0.next()?, self.0.next()?);
        Some((name, value))
    }
}

/// Members, each name once.
pub(crate) enum Members<'a> {
    AsWritten(Pairs<'a>),
    Distinct(std::vec::IntoIter<(Node<'a>, Node<'a>)>),
}

impl<'a> Iterator for Members<'a> {
    type Item = (Node<'a>, Node<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::AsWritten(pairs) => pairs.next(),
            Self::Distinct(members) => members.next(),
        }
    }
}

/// Of members of one name the last value, at the place of the first.
fn last_of_each<'a>(members: Pairs<'a>) -> Vec<(Node<'a>, Node<'a>)> {
    let mut places: HashMap<Option<Cow<'a, str>>, usize> = HashMap::new();
    let mut kept: Vec<(Node<'a>, Node<'a>)> = Vec::new();
    for (name, value) in members {
        match places.entry(name.as_text()) {
            Entry::Occupied(place) => kept[*place.get()].1 = value,
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push((name, value));
            }
        }
    }
    kept
}

/// The number a literal means. Rust's parser rounds as JavaScript does and gives Infinity for what is out of range.
fn number(literal: &str) -> f64 {
    /// Digits that a double holds whatever they are.
    const EXACT_DIGITS: usize = 15;
    let (negative, digits) = match literal.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, literal),
    };
    if digits.len() <= EXACT_DIGITS {
        let mut whole: u64 = 0;
        let mut plain = true;
        for byte in digits.bytes() {
            let digit = byte.wrapping_sub(b'0');
            plain &= digit < 10;
            whole = whole.wrapping_mul(10).wrapping_add(digit.into());
        }
        if plain {
            let whole = whole as f64;
            return if negative { -whole } else { whole };
        }
    }
    // The reader has seen that it is a number.
    literal.parse().unwrap_or(f64::NAN)
}

/// Finishes a container: whether names in an object repeat.
fn object_kind(text: &str, tokens: &[Token], at: usize) -> Kind {
    /// Below this, comparing all with all is quicker than hashing.
    const FEW: usize = 16;
    let node = Node { text, tokens, at };
    let end = tokens.len();
    let names = || {
        let mut children = Children {
            node: Node { at: at + 1, ..node },
            end,
        };
        std::iter::from_fn(move || {
            let name = children.next()?;
            children.next();
            Some(name)
        })
    };
    let mut few = [""; FEW];
    for (count, name) in names().enumerate() {
        if name.kind() == Kind::Escaped || count == FEW {
            let mut seen = hashbrown::HashSet::new();
            let repeats = !names().all(|name| name.as_text().is_some_and(|name| seen.insert(name)));
            return if repeats { Kind::Repeating } else { Kind::Object };
        }
        let name = name.source();
        if few[..count].contains(&name) {
            return Kind::Repeating;
        }
        few[count] = name;
    }
    Kind::Object
}

fn read(text: &str, max_depth: usize) -> Result<Vec<Token>, ReadError> {
    let mut reader = Reader {
        bytes: text.as_bytes(),
        at: 0,
        // A guess that is right for messages of small values and costs little for others.
        tokens: Vec::with_capacity(16 + text.len() / 16),
    };
    if u32::try_from(text.len()).is_err() {
        return Err(reader.expected("less than 4 GiB"));
    }
    // Places of the containers whose end has not come yet.
    let mut open: Vec<u32> = Vec::with_capacity(16);
    loop {
        // One value, or the start of a container.
        reader.space();
        match reader.peek() {
            Some(bracket @ (b'[' | b'{')) => {
                let place = reader.tokens.len();
                let is_array = bracket == b'[';
                reader.token(if is_array { Kind::Array } else { Kind::Object }, reader.at);
                reader.at += 1;
                if !reader.closes(if is_array { b']' } else { b'}' }) {
                    if open.len() >= max_depth {
                        return Err(ReadError::TooDeep { limit: max_depth });
                    }
                    open.push(place as u32);
                    if !is_array {
                        reader.name()?;
                    }
                    continue;
                }
                reader.end(place);
            }
            _ => reader.scalar()?,
        }
        // It may end the containers it is in.
        loop {
            let Some(innermost) = open.last().map(|place| *place as usize) else {
                reader.space();
                return if reader.at == reader.bytes.len() {
                    Ok(reader.tokens)
                } else {
                    Err(reader.expected("the end"))
                };
            };
            let is_array = reader.tokens[innermost].kind == Kind::Array;
            if reader.closes(if is_array { b']' } else { b'}' }) {
                open.pop();
                if !is_array {
                    reader.tokens[innermost].kind = object_kind(text, &reader.tokens, innermost);
                }
                reader.end(innermost);
                continue;
            }
            if reader.peek() != Some(b',') {
                return Err(reader.expected("a comma or the container's end"));
            }
            reader.at += 1;
            if !is_array {
                reader.space();
                reader.name()?;
            }
            break;
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
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

    /// Notes a value that starts at `start` and ends here.
    fn token(&mut self, kind: Kind, start: usize) {
        self.tokens.push(Token {
            kind,
            start: start as u32,
            end: self.at as u32,
            next: self.tokens.len() as u32 + 1,
        });
    }

    /// A container ends here.
    fn end(&mut self, place: usize) {
        let next = self.tokens.len() as u32;
        let token = &mut self.tokens[place];
        token.next = next;
        token.end = self.at as u32;
    }

    fn name(&mut self) -> Result<(), ReadError> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("a member's name"));
        }
        self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.expected("a colon"));
        }
        self.at += 1;
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), ReadError> {
        let (word, kind): (&[u8], Kind) = match self.peek() {
            Some(b'"') => return self.string(),
            Some(b'-' | b'0'..=b'9') => return self.number(),
            Some(b'n') => (b"null", Kind::Null),
            Some(b't') => (b"true", Kind::True),
            Some(b'f') => (b"false", Kind::False),
            _ => return Err(self.expected("a value")),
        };
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.expected("a value"));
        }
        let start = self.at;
        self.at += word.len();
        self.token(kind, start);
        Ok(())
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

    fn number(&mut self) -> Result<(), ReadError> {
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
        self.token(Kind::Number, start);
        Ok(())
    }

    fn string(&mut self) -> Result<(), ReadError> {
        self.at += 1;
        let start = self.at;
        let mut kind = Kind::Text;
        loop {
            self.at += plain_run(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.token(kind, start);
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    kind = Kind::Escaped;
                    self.at += 1;
                    match self.peek() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u') => {
                            self.at += 1;
                            let digits = self.bytes.get(self.at..self.at + 4);
                            if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                                return Err(self.expected("four hex digits"));
                            }
                            self.at += 4;
                        }
                        _ => return Err(self.expected("an escape")),
                    }
                }
                _ => return Err(self.expected("the end of a text")),
            }
        }
    }
}

/// What a text with escapes means. The reader has seen that they are right.
fn unescape(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or_default();
        rest = rest.get(at + 2..).unwrap_or_default();
        text.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = unit(&mut rest);
                let low = rest.strip_prefix("\\u").and_then(|mut rest| {
                    let low = unit(&mut rest);
                    (0xdc00..0xe000).contains(&low).then_some((low, rest))
                });
                match low {
                    Some((low, after)) if (0xd800..0xdc00).contains(&high) => {
                        rest = after;
                        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                    }
                    // A surrogate alone is no character.
                    _ => char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER),
                }
            }
            plain => char::from(plain),
        });
    }
    text.push_str(rest);
    text
}

/// Takes four hex digits.
fn unit(rest: &mut &str) -> u32 {
    let Some((digits, after)) = rest.split_at_checked(4) else {
        return 0;
    };
    *rest = after;
    u32::from_str_radix(digits, 16).unwrap_or_default()
}
