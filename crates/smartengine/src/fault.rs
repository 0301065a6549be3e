//! How a call into a guest can go wrong, short of an orderly error.

use crate::abi::Garbage;

/// A call that did not end in an orderly answer. The instance is not to be used again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("exceeded the time limit of {limit_ms} ms a call")]
    Time { limit_ms: u64 },
    #[error("exceeded the memory limit of {limit_bytes} bytes")]
    Memory { limit_bytes: usize },
    #[error("output of {bytes} bytes exceeds the limit of {limit_bytes}")]
    Output { bytes: u64, limit_bytes: usize },
    #[error("trapped: {0}")]
    Trap(String),
    #[error("returned {code} ({meaning})")]
    Code { code: i32, meaning: &'static str },
    #[error("answered nonsense: {0}")]
    Garbage(#[from] Garbage),
}

impl Fault {
    /// What a negative return value of a transform means (`SmartModuleTransformErrorStatus`).
    pub(crate) fn transform_code(code: i32) -> Self {
        let meaning = match code {
            -1 => "unknown error",
            -11 => "the guest could not decode its input",
            -22 => "the guest could not decode the records",
            -33 => "the guest could not encode its output",
            -44 => "the guest could not parse its parameters",
            -55 => "undefined right record of a join",
            _ => "no known status",
        };
        Self::Code { code, meaning }
    }
}

/// A guest's text on one line and of bounded length, fit for a reason or a log line.
pub(crate) fn one_line(text: &str) -> String {
    /// Long enough for an error with its causes, short enough for a header.
    const CHARS_MAX: usize = 1_000;
    let mut line = String::with_capacity(text.len().min(CHARS_MAX));
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let mut chars = 0;
    for word in words.filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
            chars += 1;
        }
        for c in word.chars() {
            if chars == CHARS_MAX {
                line.push('…');
                return line;
            }
            line.push(c);
            chars += 1;
        }
    }
    line
}
