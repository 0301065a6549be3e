//! The members of one object or the elements of one array, each value checked to its end.

use std::borrow::Cow;
use std::ops::Range;

use super::error::Malformed;
use super::error::Reason::*;
use super::quotes::{self, Quotes};
use super::scan::{Fail, Seen, Strings, colon, fail, token, value};
use super::utf8;

/// What a value is called in the object or array that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name<'a> {
    /// A key, its escapes decoded. It may not be UTF-8 yet.
    Key(Cow<'a, [u8]>),
    /// An index.
    Index(usize),
}

/// Check the whole document `bytes` and show `visit` the members or elements of its outermost
/// value. What was shown counts only if the document turns out to be right; all of it may be shown
/// twice.
///
/// Gives where that value is.
#[inline(always)]
pub(super) fn document<'a>(
    bytes: &'a [u8],
    mut visit: impl FnMut(Name<'a>, Range<usize>),
) -> Result<Range<usize>, Malformed> {
    match quickly(bytes, |quotes| members(bytes, 0, quotes, &mut visit)) {
        Some(found) => Ok(found),
        None => exactly(bytes, |seen| members(bytes, 0, seen, visit)),
    }
}

/// The same without a look at members: their keys may be no text.
pub(super) fn whole(bytes: &[u8]) -> Result<Range<usize>, Malformed> {
    match quickly(bytes, |quotes| only_value(bytes, quotes)) {
        Some(found) => Ok(found),
        None => exactly(bytes, |seen| only_value(bytes, seen)),
    }
}

fn only_value(bytes: &[u8], strings: &mut impl Strings) -> Result<Range<usize>, Fail> {
    let (start, end) = value(bytes, 0, strings)?;
    Ok(start..end)
}

/// With the ends of all strings found ahead; `None` if that is not done for this document, or it is
/// malformed.
#[inline(always)]
fn quickly(
    bytes: &[u8],
    outermost: impl FnOnce(&mut Quotes<'_>) -> Result<Range<usize>, Fail>,
) -> Option<Range<usize>> {
    quotes::ahead(bytes, |quotes| {
        let found = outermost(quotes).and_then(|found| end(bytes, found));
        found.ok().filter(|_| quotes.are_complete())
    })?
}

/// Byte after byte: what is wrong, and where.
#[inline(never)]
fn exactly(
    bytes: &[u8],
    outermost: impl FnOnce(&mut Seen) -> Result<Range<usize>, Fail>,
) -> Result<Range<usize>, Malformed> {
    let mut seen = Seen::new();
    match outermost(&mut seen).and_then(|found| end(bytes, found)) {
        Ok(found) if !seen.any_beyond_ascii() || utf8::is_valid(bytes) => Ok(found),
        Ok(_) => Err(malformed(bytes, (0, InvalidUtf8))),
        Err(failed) => Err(malformed(bytes, failed)),
    }
}

/// Nothing follows the document's value.
#[inline(always)]
fn end(bytes: &[u8], found: Range<usize>) -> Result<Range<usize>, Fail> {
    let (at, _) = token(bytes, found.end);
    match at == bytes.len() {
        true => Ok(found),
        false => Err((at, TrailingCharacters)),
    }
}

/// The same for the value at `at` in a document that is known to be right.
#[inline(always)]
pub(super) fn part<'a>(
    bytes: &'a [u8],
    at: usize,
    visit: impl FnMut(Name<'a>, Range<usize>),
) -> Result<Range<usize>, Malformed> {
    members(bytes, at, &mut Seen::new(), visit).map_err(|failed| malformed(bytes, failed))
}

/// Bytes that are no UTF-8 come before anything else that is wrong.
#[cold]
pub(super) fn malformed(bytes: &[u8], (offset, reason): Fail) -> Malformed {
    match std::str::from_utf8(bytes) {
        Ok(_) => Malformed { offset, reason },
        Err(error) => Malformed {
            offset: error.valid_up_to(),
            reason: InvalidUtf8,
        },
    }
}

#[inline(always)]
fn members<'a, S: Strings>(
    bytes: &'a [u8],
    at: usize,
    strings: &mut S,
    visit: impl FnMut(Name<'a>, Range<usize>),
) -> Result<Range<usize>, Fail> {
    let (start, byte) = token(bytes, at);
    let end = match byte {
        b'{' => object(bytes, start + 1, strings, visit)?,
        b'[' => list(bytes, start + 1, strings, visit)?,
        _ => value(bytes, start, strings)?.1,
    };
    Ok(start..end)
}

#[inline(always)]
fn object<'a, S: Strings>(
    bytes: &'a [u8],
    at: usize,
    strings: &mut S,
    mut visit: impl FnMut(Name<'a>, Range<usize>),
) -> Result<usize, Fail> {
    let (mut at, mut byte) = token(bytes, at);
    if byte == b'}' {
        return Ok(at + 1);
    }
    if byte != b'"' {
        return fail(bytes, at, EofInObject, KeyMustBeAString);
    }
    loop {
        at = strings.pass(bytes, at, |key, range| {
            visit(Name::Key(Cow::Borrowed(key)), range)
        });
        let (key, end) = strings.key(bytes, at + 1)?;
        let (start, end) = value(bytes, colon(bytes, end)?, strings)?;
        visit(Name::Key(key), start..end);
        (at, byte) = token(bytes, end);
        if byte != b',' {
            break;
        }
        (at, byte) = token(bytes, at + 1);
        if byte != b'"' {
            let other = match byte {
                b'}' => TrailingComma,
                _ => KeyMustBeAString,
            };
            return fail(bytes, at, EofInValue, other);
        }
    }
    match byte {
        b'}' => Ok(at + 1),
        _ => fail(bytes, at, EofInObject, ExpectedObjectCommaOrEnd),
    }
}

#[inline(always)]
fn list<'a, S: Strings>(
    bytes: &'a [u8],
    at: usize,
    strings: &mut S,
    mut visit: impl FnMut(Name<'a>, Range<usize>),
) -> Result<usize, Fail> {
    let (mut at, mut byte) = token(bytes, at);
    if byte == b']' {
        return Ok(at + 1);
    }
    if at == bytes.len() {
        return Err((at, EofInList));
    }
    for index in 0.. {
        let (start, end) = value(bytes, at, strings)?;
        visit(Name::Index(index), start..end);
        (at, byte) = token(bytes, end);
        if byte != b',' {
            break;
        }
        (at, byte) = token(bytes, at + 1);
        if byte == b']' {
            return Err((at, TrailingComma));
        }
    }
    match byte {
        b']' => Ok(at + 1),
        _ => fail(bytes, at, EofInList, ExpectedListCommaOrEnd),
    }
}
