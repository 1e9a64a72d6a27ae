//! Server-sent events, read as they come. Our own, because the crates for it have no bound on the length of a line.

/// The longest event, in bytes.
const LONGEST: usize = 1 << 20;

/// Takes chunks of a stream of events (HTML standard, section 9.2), gives the `data` of those they complete. Other fields
/// do not matter to anyone here.
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    /// A line ended with CR: an LF right after it belongs to it.
    after_cr: bool,
}

/// An event is longer than events may be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {LONGEST} bytes")]
pub struct EventTooLong;

impl Events {
    /// Reads a chunk and gives the events it completes.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Vec<Vec<u8>>, EventTooLong> {
        let mut events = Vec::new();
        for byte in chunk {
            match byte {
                b'\n' if std::mem::take(&mut self.after_cr) => {}
                b'\n' | b'\r' => {
                    self.after_cr = *byte == b'\r';
                    events.extend(self.end_line()?);
                }
                byte => {
                    self.after_cr = false;
                    if self.line.len() == LONGEST {
                        return Err(EventTooLong);
                    }
                    self.line.push(*byte);
                }
            }
        }
        Ok(events)
    }

    /// The event, when the line ends one.
    fn end_line(&mut self) -> Result<Option<Vec<u8>>, EventTooLong> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return Ok(self.data.take());
        }
        if let Some(value) = line.strip_prefix(b"data:") {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut self.data {
                None => self.data = Some(value.to_vec()),
                Some(data) if data.len() + value.len() < LONGEST => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                Some(_) => return Err(EventTooLong),
            }
        }
        Ok(None)
    }
}

/// One event with one line of `data`, as it is sent.
pub fn event(data: &str) -> bytes::Bytes {
    format!("data: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_events() {
        let text = b": comment\r\nevent: x\r\ndata: {\"a\":1}\r\n\r\ndata:two\ndata: lines\n\n\n\rid: 1\r\rdata\xc3\xa9: no\n\ndata: [DONE]\n\n";
        let whole = Events::default().push(text).unwrap();
        assert_eq!(whole, [&b"{\"a\":1}"[..], b"two\nlines", b"[DONE]"]);
        for size in 1..text.len() {
            let mut parser = Events::default();
            let cut: Vec<_> = text
                .chunks(size)
                .flat_map(|chunk| parser.push(chunk).unwrap())
                .collect();
            assert_eq!(cut, whole, "{size}");
        }
    }

    #[test]
    fn endless_lines_end() {
        let mut parser = Events::default();
        let chunk = vec![b'x'; 1 << 16];
        assert!((0..32).any(|_| parser.push(&chunk).is_err()));
        let mut parser = Events::default();
        let lines = b"data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".repeat(1 << 10);
        assert!((0..32).any(|_| parser.push(&lines).is_err()));
    }
}
