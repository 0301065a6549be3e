//! Pieces of an event: titles, comments, ids, times.

use std::fmt::Write as _;

use fastrand::Rng;
use jiff::Timestamp;

use super::{
    event::Kind,
    words::{MARKUP, NAMESPACES, ODD_PHRASES, PHRASES, TITLE_HEADS, TITLE_TAILS, Wiki},
};

/// The first so many of the titles' heads are plain ASCII.
const ASCII_HEADS: usize = 12;

/// A page's title, in parts.
pub(super) struct Title {
    pub(super) namespace: u32,
    pub(super) prefix: &'static str,
    pub(super) head: &'static str,
    pub(super) tail: &'static str,
}

impl Title {
    pub(super) fn draw(rng: &mut Rng, kind: Kind) -> Self {
        let (namespace, prefix) = match kind {
            Kind::Categorize => (14, "Category:"),
            _ => pick(rng, NAMESPACES),
        };
        // Five ASCII titles to one of any script: the field's share, about.
        let heads = if rng.u32(..6) == 0 {
            TITLE_HEADS
        } else {
            &TITLE_HEADS[..ASCII_HEADS]
        };
        Self {
            namespace,
            prefix,
            head: pick(rng, heads),
            tail: pick(rng, TITLE_TAILS),
        }
    }

    pub(super) fn write_json(&self, out: &mut String) {
        [self.prefix, self.head, self.tail]
            .iter()
            .for_each(|part| push_json(out, part));
    }
}

pub(super) fn write_page_url(out: &mut String, wiki: &Wiki, title: &Title) {
    put(out, format_args!(r#""https://{}/wiki/"#, wiki.host));
    for byte in [title.prefix, title.head, title.tail]
        .iter()
        .flat_map(|part| part.bytes())
    {
        match byte {
            b' ' => out.push('_'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b':' | b'(' | b')' => {
                out.push(char::from(byte));
            }
            _ => put(out, format_args!("%{byte:02X}")),
        }
    }
    out.push('"');
}

/// A comment: plain phrases, now and then an odd one in front.
pub(super) struct Comment {
    odd: Option<&'static str>,
}

impl Comment {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let odd = (rng.u32(..6) == 0).then(|| pick(rng, ODD_PHRASES));
        Self { odd }
    }

    pub(super) fn write(&self, out: &mut String, rng: &mut Rng, room: usize) {
        out.push_str(self.odd.unwrap_or_default());
        fill(out, rng, PHRASES, room);
    }

    pub(super) fn write_parsed(&self, out: &mut String, rng: &mut Rng, room: usize) {
        let end = out.len() + room;
        out.push_str(self.odd.unwrap_or_default());
        if rng.u32(..3) == 0 {
            out.push_str(pick(rng, MARKUP));
        }
        fill(out, rng, PHRASES, end.saturating_sub(out.len()));
        // The last few bytes that no phrase fits in.
        (out.len()..end).for_each(|_| out.push('.'));
    }
}

/// Appends phrases as long as they fit into `room` bytes.
fn fill(out: &mut String, rng: &mut Rng, phrases: &[&str], room: usize) {
    let end = out.len() + room;
    loop {
        let phrase = pick(rng, phrases);
        if out.len() + phrase.len() + 2 > end {
            return;
        }
        out.push_str(phrase);
        out.push_str("; ");
    }
}

/// Drawn by a `u32`, because a draw of `usize` differs between 32 and 64 bits.
pub(super) fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.u32(..from.len() as u32) as usize]
}

/// A version 4 UUID (RFC 9562) of 122 of the given 128 bits.
pub(super) fn write_uuid(out: &mut String, high: u64, low: u64) {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    put(
        out,
        format_args!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        ),
    );
}

/// ISO 8601 in UTC: whole seconds without a fraction, others with milliseconds, as both occur.
pub(super) fn write_time(out: &mut String, timestamp_ms: i64) {
    let time = Timestamp::from_millisecond(timestamp_ms).unwrap_or_default();
    if timestamp_ms % 1000 == 0 {
        put(out, format_args!("{}", time.strftime("%Y-%m-%dT%H:%M:%SZ")));
    } else {
        put(
            out,
            format_args!("{}", time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")),
        );
    }
}

pub(super) fn push_json(out: &mut String, text: &str) {
    for part in text.split_inclusive('"') {
        match part.strip_suffix('"') {
            Some(plain) => {
                out.push_str(plain);
                out.push_str("\\\"");
            }
            None => out.push_str(part),
        }
    }
}

pub(super) fn put(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(arguments);
}
