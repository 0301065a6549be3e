//! Any server's bytes in, a stream that eventsource-client cannot get wrong out.
//!
//! ```text
//! wire:       BOM? (CR|LF|CRLF)-lines, bad UTF-8, `retry` alone, blocks without data, 50 MB lines
//! canonical:  data: VALUE   one line for each line of data, as it comes
//!             :cut BYTES    before an event's end, if data was left out of it
//!             event: NAME   unless unnamed
//!             id: ID        always, `id` alone when there is none: the spec's last event id
//!                           (blank line)
//!             :id ID        an id that came in a block without data
//!             :retry MS     a reconnection time
//! ```
//! WHATWG HTML, section 9.2.6, is applied here: line ends, UTF-8 replacement, field rules, the id
//! that is committed even without data. The client's decoder then has no case left that it gets
//! wrong (`docs/adr/0002-sse-decoding.md`); comments of the wire are dropped, so that ours cannot
//! be taken for the server's. Sans-io: bytes in, bytes out, memory bounded whatever comes.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// An id longer than this is ignored, as one with NUL is: it could not be sent back as a header
/// (servers accept 8 to 16 KiB of headers in all).
pub(crate) const ID_BYTES_MAX: usize = 8 << 10;
/// An event's name is cut here; it is copied into a header of every record.
pub(crate) const NAME_BYTES_MAX: usize = 1 << 10;
/// Output after which [`Sanitizer::push`] pauses. Small events that inherit a long id grow on
/// their way through, so input alone would be no bound.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Room for a field's name and colon beside `event_bytes_max` of value.
const FIELD_BYTES: usize = 16;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// State between two chunks of one response body.
#[derive(Debug)]
pub(crate) struct Sanitizer {
    event_bytes_max: usize,
    /// Bytes of a byte order mark seen so far; `None` once past the stream's start.
    bom: Option<usize>,
    /// The line before ended with CR: an LF now belongs to it.
    after_cr: bool,
    /// The start of a line whose end has not come, bounded; its full length beside it.
    line: Vec<u8>,
    line_bytes: usize,
    /// The block's event name; empty means `message`.
    name: String,
    /// Data of the block: lines seen, bytes seen (line feeds between them included), bytes let
    /// through, and whether some were not.
    data_lines: usize,
    data_bytes: usize,
    kept_bytes: usize,
    cut: bool,
    /// The last event ID buffer of the specification: set by a field, committed by a blank line.
    id: String,
    committed_id: String,
}

impl Sanitizer {
    /// For one response body. `last_event_id` is what was asked for with: until the stream gives
    /// another, it stays the last event id (section 9.2.2).
    pub(crate) fn new(event_bytes_max: usize, last_event_id: &str) -> Self {
        Self {
            event_bytes_max,
            bom: Some(0),
            after_cr: false,
            line: Vec::new(),
            line_bytes: 0,
            name: String::new(),
            data_lines: 0,
            data_bytes: 0,
            kept_bytes: 0,
            cut: false,
            id: last_event_id.to_owned(),
            committed_id: last_event_id.to_owned(),
        }
    }

    /// Take in what comes next and append to `out`; returns how much of `input` was used, which
    /// is less than all of it only if `out` is full for now.
    pub(crate) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut rest = self.skip_bom(input);
        while !rest.is_empty() && out.len() < OUTPUT_BYTES_MAX {
            if std::mem::take(&mut self.after_cr)
                && let Some(after) = rest.strip_prefix(b"\n")
            {
                rest = after;
                continue;
            }
            let Some(at) = memchr2(b'\n', b'\r', rest) else {
                self.hold(rest);
                return input.len();
            };
            self.after_cr = rest[at] == b'\r';
            let line = &rest[..at];
            rest = &rest[at + 1..];
            if self.line_bytes == 0 {
                self.line(line, line.len(), out);
                continue;
            }
            self.hold(line);
            let held = std::mem::take(&mut self.line);
            let bytes = std::mem::take(&mut self.line_bytes);
            self.line(&held, bytes, out);
            // One huge line must not keep its buffer for ever.
            if held.capacity() <= OUTPUT_BYTES_MAX {
                self.line = held;
                self.line.clear();
            }
        }
        input.len() - rest.len()
    }

    /// Strip exactly one byte order mark, also one that comes in pieces.
    fn skip_bom<'i>(&mut self, input: &'i [u8]) -> &'i [u8] {
        let Some(seen) = self.bom else { return input };
        let common = BOM[seen..]
            .iter()
            .zip(input)
            .take_while(|(a, b)| a == b)
            .count();
        let seen = seen + common;
        if seen == BOM.len() {
            self.bom = None;
            return &input[common..];
        }
        if common == input.len() {
            self.bom = Some(seen);
            return &[];
        }
        // Not a BOM after all: what looked like one is the first line's start.
        self.bom = None;
        self.hold(&BOM[..seen]);
        &input[common..]
    }

    fn hold(&mut self, bytes: &[u8]) {
        let held_max = self.event_bytes_max.max(ID_BYTES_MAX) + FIELD_BYTES;
        let room = held_max.saturating_sub(self.line.len()).min(bytes.len());
        self.line.extend_from_slice(&bytes[..room]);
        self.line_bytes += bytes.len();
    }

    /// A line without its end; `bytes` is its full length if only its start was held.
    fn line(&mut self, line: &[u8], bytes: usize, out: &mut Vec<u8>) {
        if line.is_empty() {
            return self.end_block(out);
        }
        let (name, value) = match memchr(b':', line) {
            Some(0) => return,
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let value_bytes = bytes - (line.len() - value.len());
        match name {
            b"data" => self.data(value, value_bytes, out),
            b"event" => {
                let cut = &value[..value.len().min(NAME_BYTES_MAX)];
                self.name.clear();
                self.name.push_str(&lossy(cut));
            }
            b"id" if value_bytes <= ID_BYTES_MAX && memchr(0, value).is_none() => {
                self.id.clear();
                self.id.push_str(&lossy(value));
            }
            b"retry" => {
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let ms = std::str::from_utf8(value).ok().filter(|_| digits);
                // Digits that are no u64 are still digits; a bound follows where it is applied.
                if let Some(ms) = ms.map(|ms| ms.parse().unwrap_or(u64::MAX)) {
                    out.extend_from_slice(format!(":retry {ms}\n").as_bytes());
                }
            }
            _ => {}
        }
    }

    fn data(&mut self, value: &[u8], value_bytes: usize, out: &mut Vec<u8>) {
        let line_feed = usize::from(self.data_lines > 0);
        self.data_lines += 1;
        self.data_bytes += line_feed + value_bytes;
        if self.cut {
            return;
        }
        let Some(room) = self
            .event_bytes_max
            .checked_sub(self.kept_bytes + line_feed)
        else {
            self.cut = true;
            return;
        };
        let text = lossy(value);
        let fits = text.len() <= room && value.len() == value_bytes;
        let kept = if fits {
            &*text
        } else {
            &text[..text.floor_char_boundary(room)]
        };
        self.cut = !fits;
        self.kept_bytes += line_feed + kept.len();
        put(out, "data: ", kept);
    }

    /// A blank line: dispatch, as section 9.2.6 says, the id first.
    fn end_block(&mut self, out: &mut Vec<u8>) {
        let new_id = self.committed_id != self.id;
        if new_id {
            self.committed_id.clone_from(&self.id);
        }
        if self.data_lines > 0 {
            if self.cut {
                out.extend_from_slice(format!(":cut {}\n", self.data_bytes).as_bytes());
            }
            if !self.name.is_empty() {
                put(out, "event: ", &self.name);
            }
            put(out, "id: ", &self.committed_id);
            out.push(b'\n');
        } else if new_id {
            put(out, ":id ", &self.committed_id);
        }
        self.name.clear();
        (self.data_lines, self.data_bytes, self.kept_bytes, self.cut) = (0, 0, 0, false);
    }
}

/// WHATWG's "UTF-8 decode" of one line: lines can be taken alone, as CR and LF are part of no
/// longer sequence.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn put(out: &mut Vec<u8>, field: &str, value: &str) {
    out.reserve(field.len() + value.len() + 1);
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

/// What a comment of the canonical stream says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note<'a> {
    /// The next event was cut; it had this many bytes of data.
    Cut(u64),
    /// The last event id changed without an event.
    Id(&'a str),
    /// The server's reconnection time in milliseconds.
    RetryMs(u64),
}

impl<'a> Note<'a> {
    /// Read a comment as the client gives it (without its colon).
    pub(crate) fn parse(comment: &'a str) -> Option<Self> {
        let (what, value) = comment.split_once(' ')?;
        match what {
            "cut" => value.parse().ok().map(Self::Cut),
            "id" => Some(Self::Id(value)),
            "retry" => value.parse().ok().map(Self::RetryMs),
            _ => None,
        }
    }
}

// By path, so that it is found too where fuzz/ compiles this file alone.
#[cfg(test)]
#[path = "sanitize/tests.rs"]
mod tests;
