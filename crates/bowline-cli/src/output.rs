//! The only place that writes to the terminal: results to stdout, progress and hints to stderr.

use std::io::{IsTerminal, Write};

/// One line of result on stdout, flushed: a tool may be waiting for exactly this line.
pub(crate) fn result(line: &str) {
    let mut out = std::io::stdout().lock();
    // A closed stdout means nobody wants the result; that is not our failure.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// One line of progress or advice on stderr.
pub(crate) fn notice(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Replaces the line before it, on a terminal; anything else would keep every one of them.
pub(crate) fn progress(line: &str) {
    let mut err = std::io::stderr().lock();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K{line}").and_then(|()| err.flush());
    }
}

/// Ends what [`progress`] wrote.
pub(crate) fn progress_done() {
    progress("");
}
