//! What workerd and the Worker print.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

/// One line, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output<'a> {
    /// From standard output: `console.log` and the like.
    Out(&'a str),
    /// From standard error: `console.error`, and what workerd has to say itself.
    Err(&'a str),
}

/// Takes lines as they come. Called from a task; must not block.
pub type OutputSink = Arc<dyn Fn(Output<'_>) + Send + Sync>;

/// A longer line is cut, and the rest of it dropped.
const LONGEST_LINE: usize = 8 * 1024;
/// How many lines an error quotes.
const KEPT_LINES: usize = 30;

/// The last lines of standard error.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    pub(crate) fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }
}

/// Hands on every line of `reader` until it ends. A reader that fails has ended.
pub(crate) async fn lines(mut reader: impl AsyncRead + Unpin, mut each: impl FnMut(&str)) {
    let mut buffer = [0; 4096];
    let mut line = Vec::new();
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        for byte in &buffer[..count] {
            if *byte == b'\n' {
                each(String::from_utf8_lossy(&line).trim_end_matches('\r'));
                line.clear();
            } else if line.len() < LONGEST_LINE {
                line.push(*byte);
            }
        }
    }
    if !line.is_empty() {
        each(&String::from_utf8_lossy(&line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_split_and_cut() {
        let text = [b"one\r\n\n".as_slice(), &[b'x'; 20_000], b"\nlast \xff"].concat();
        let mut seen = Vec::new();
        lines(text.as_slice(), |line| seen.push(line.to_owned())).await;
        assert_eq!(
            seen,
            ["one", "", "x".repeat(LONGEST_LINE).as_str(), "last \u{fffd}"]
        );
    }

    #[test]
    fn a_tail_is_bounded() {
        let tail = Tail::default();
        for number in 0..100 {
            tail.push(&number.to_string());
        }
        assert_eq!(tail.lines().len(), KEPT_LINES);
        assert_eq!(tail.lines().last().unwrap(), "99");
    }
}
