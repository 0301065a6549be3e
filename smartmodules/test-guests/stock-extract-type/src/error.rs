//! What is wrong with a document, and where.

use std::fmt;

/// A value that is not one whole JSON document in UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Byte at which it went wrong, counted from 0; the value's length when it just ends.
    pub offset: usize,
    /// Why, in the parser's words.
    pub reason: String,
}

impl Malformed {
    /// From `serde_json`'s error on `json`, which counts lines and columns.
    pub(crate) fn json(json: &str, error: &serde_json::Error) -> Self {
        let line_start = match error.line() {
            0 | 1 => 0,
            line => json
                .bytes()
                .enumerate()
                .filter(|(_, byte)| *byte == b'\n')
                .nth(line - 2)
                .map_or(0, |(at, _)| at + 1),
        };
        let offset = if error.is_eof() {
            json.len()
        } else {
            line_start + error.column().saturating_sub(1)
        };
        let reason = error.to_string();
        // The position is told as an offset already.
        let reason = match reason.rfind(" at line ") {
            Some(end) => reason[..end].to_owned(),
            None => reason,
        };
        Self { offset, reason }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed JSON at byte {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for Malformed {}
