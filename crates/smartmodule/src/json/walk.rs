//! The members of one object or the elements of one array, each value checked to its end.

use std::borrow::Cow;
use std::ops::Range;

use super::decode::decode;
use super::error::Malformed;
use super::error::Reason::*;
use super::scan::{Fail, Seen, colon, fail, plain, token, value};
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
/// value. What was shown counts only if the document turns out to be right.
///
/// Gives where that value is.
#[inline(always)]
pub(super) fn document<'a>(
    bytes: &'a [u8],
    visit: impl FnMut(Name<'a>, Range<usize>),
) -> Result<Range<usize>, Malformed> {
    checked(bytes, |seen| members(bytes, 0, seen, visit))
}

/// The same without a look at members: their keys may be no text.
pub(super) fn whole(bytes: &[u8]) -> Result<Range<usize>, Malformed> {
    checked(bytes, |seen| {
        let (start, end) = value(bytes, 0, seen)?;
        Ok(start..end)
    })
}

#[inline(always)]
fn checked(
    bytes: &[u8],
    outermost: impl FnOnce(&mut Seen) -> Result<Range<usize>, Fail>,
) -> Result<Range<usize>, Malformed> {
    let mut seen = Seen::new();
    let checked = outermost(&mut seen).and_then(|found| {
        let (at, _) = token(bytes, found.end);
        match at == bytes.len() {
            true => Ok(found),
            false => Err((at, TrailingCharacters)),
        }
    });
    match checked {
        Ok(found) if !seen.any_beyond_ascii() || utf8::is_valid(bytes) => Ok(found),
        Ok(_) => Err(malformed(bytes, (0, InvalidUtf8))),
        Err(failed) => Err(malformed(bytes, failed)),
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
fn members<'a>(
    bytes: &'a [u8],
    at: usize,
    seen: &mut Seen,
    visit: impl FnMut(Name<'a>, Range<usize>),
) -> Result<Range<usize>, Fail> {
    let (start, byte) = token(bytes, at);
    let end = match byte {
        b'{' => object(bytes, start + 1, seen, visit)?,
        b'[' => list(bytes, start + 1, seen, visit)?,
        _ => value(bytes, start, seen)?.1,
    };
    Ok(start..end)
}

#[inline(always)]
fn object<'a>(
    bytes: &'a [u8],
    at: usize,
    seen: &mut Seen,
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
        let (key, end) = key(bytes, at + 1, seen)?;
        let (start, end) = value(bytes, colon(bytes, end)?, seen)?;
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
fn list<'a>(
    bytes: &'a [u8],
    at: usize,
    seen: &mut Seen,
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
        let (start, end) = value(bytes, at, seen)?;
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

/// A key, from the byte after its opening quote on, and the place after it.
#[inline(always)]
fn key<'a>(bytes: &'a [u8], at: usize, seen: &mut Seen) -> Result<(Cow<'a, [u8]>, usize), Fail> {
    let end = plain(bytes, at, seen);
    match bytes.get(end) {
        Some(b'"') => Ok((Cow::Borrowed(&bytes[at..end]), end + 1)),
        _ => decode(bytes, at, seen),
    }
}
