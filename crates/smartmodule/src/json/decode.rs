//! Strings and their escapes, both ways.

use std::borrow::Cow;

use super::error::Reason::*;
use super::scan::{Fail, Seen, hex, plain};

/// The string from the byte after its opening quote on, and the place after it. A `\u` that stands
/// for no character is an error here: there is no text that it could become.
pub(super) fn decode<'a>(
    bytes: &'a [u8],
    start: usize,
    seen: &mut Seen,
) -> Result<(Cow<'a, [u8]>, usize), Fail> {
    let mut decoded = Vec::new();
    let mut at = start;
    loop {
        let end = plain(bytes, at, seen);
        let piece = &bytes[at..end];
        match bytes.get(end) {
            Some(b'"') if at == start => return Ok((Cow::Borrowed(piece), end + 1)),
            Some(b'"') => {
                decoded.extend_from_slice(piece);
                return Ok((Cow::Owned(decoded), end + 1));
            }
            Some(b'\\') => {
                decoded.extend_from_slice(piece);
                let character;
                (character, at) = escape(bytes, end + 1)?;
                let mut buffer = [0; 4];
                decoded.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
            }
            Some(_) => return Err((end, ControlCharacter)),
            None => return Err((bytes.len(), EofInString)),
        }
    }
}

/// The character that the escape after a backslash stands for, and the place after it.
fn escape(bytes: &[u8], at: usize) -> Result<(char, usize), Fail> {
    let simple = match bytes.get(at) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(bytes, at + 1),
        Some(_) => return Err((at, InvalidEscape)),
        None => return Err((bytes.len(), EofInString)),
    };
    Ok((simple, at + 1))
}

fn unicode(bytes: &[u8], at: usize) -> Result<(char, usize), Fail> {
    let first = hex(bytes, at)?;
    if let Some(character) = char::from_u32(u32::from(first)) {
        return Ok((character, at + 4));
    }
    if first >= 0xdc00 {
        return Err((at + 3, LoneSurrogate));
    }
    for (place, expected) in [(at + 4, b'\\'), (at + 5, b'u')] {
        match bytes.get(place) {
            Some(byte) if *byte == expected => {}
            Some(_) => return Err((place, UnexpectedEndOfEscape)),
            None => return Err((bytes.len(), EofInString)),
        }
    }
    let second = hex(bytes, at + 6)?;
    match char::decode_utf16([first, second]).next() {
        Some(Ok(character)) => Ok((character, at + 10)),
        _ => Err((at + 9, LoneSurrogate)),
    }
}

/// Append `text` to `out` as a JSON string, quotes included.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
    {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        write_escape(out, special[0]);
        rest = &special[1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x8 => b'b',
        0xc => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([byte >> 4, byte & 15].map(|digit| HEX[usize::from(digit)]));
            return;
        }
    };
    out.extend([b'\\', short]);
}
