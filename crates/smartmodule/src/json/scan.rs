//! JSON's grammar, over bytes, without recursion and without allocation.
//!
//! Everything here takes the document and a place in it, and gives the place after what it
//! checked. The grammar is the same however the ends of strings are found ([`Strings`]); bytes
//! beyond ASCII start no token, so that outside of strings none gets by.
//!
//! Where [`Seen`] finds them, whether bytes within strings are UTF-8 is not checked here: it notes
//! whether there are any that are not ASCII, and then the whole document is looked at once more.

use std::borrow::Cow;
use std::ops::Range;

use super::block::{Block, LEN};
use super::decode::decode;
use super::error::Reason::{self, *};
use super::nest::{Frame, Nest};

/// Where and why; becomes a [`Malformed`](super::Malformed) once the document's UTF-8 is known to
/// be right.
pub(super) type Fail = (usize, Reason);

/// All bytes of strings, or-ed together.
#[derive(Clone, Copy)]
pub(super) struct Seen(Block);

impl Seen {
    pub(super) fn new() -> Self {
        Self(Block::splat(0))
    }

    #[inline(always)]
    pub(super) fn any_beyond_ascii(self) -> bool {
        self.0.high_bits() != 0
    }

    #[inline(always)]
    fn note(&mut self, block: Block) {
        self.0 = self.0.or(block);
    }

    fn note_byte(&mut self, byte: u8) {
        self.note(Block::splat(byte));
    }
}

/// How the ends of strings are found: by looking for each, as [`Seen`] does, or for all of them
/// ahead ([`Quotes`](super::quotes::Quotes)).
pub(super) trait Strings {
    /// The place after a string, from the byte after its opening quote on.
    fn end(&mut self, bytes: &[u8], at: usize) -> Result<usize, Fail>;

    /// A key, from the byte after its opening quote on, and the place after it.
    fn key<'a>(&mut self, bytes: &'a [u8], at: usize) -> Result<(Cow<'a, [u8]>, usize), Fail>;

    /// Check members and show them, keys and values, from the key whose opening quote is at `at` on:
    /// as many as there is a short way for, none if need be. Gives the opening quote of the next key.
    fn pass<'a>(
        &mut self,
        bytes: &'a [u8],
        at: usize,
        visit: impl FnMut(&'a [u8], Range<usize>),
    ) -> usize;

    /// The same for members that nobody wants to see.
    fn pass_unseen(&mut self, bytes: &[u8], at: usize) -> usize;
}

impl Strings for Seen {
    #[inline(always)]
    fn end(&mut self, bytes: &[u8], at: usize) -> Result<usize, Fail> {
        string(bytes, at, self)
    }

    #[inline(always)]
    fn key<'a>(&mut self, bytes: &'a [u8], at: usize) -> Result<(Cow<'a, [u8]>, usize), Fail> {
        let end = plain(bytes, at, self);
        match bytes.get(end) {
            Some(b'"') => Ok((Cow::Borrowed(&bytes[at..end]), end + 1)),
            _ => decode(bytes, at, self),
        }
    }

    #[inline(always)]
    fn pass<'a>(
        &mut self,
        _bytes: &'a [u8],
        at: usize,
        _visit: impl FnMut(&'a [u8], Range<usize>),
    ) -> usize {
        at
    }

    #[inline(always)]
    fn pass_unseen(&mut self, _bytes: &[u8], at: usize) -> usize {
        at
    }
}

/// The next byte that is no white space, and its place; 0 at the end, where the place tells it from
/// a NUL.
#[inline(always)]
pub(super) fn token(bytes: &[u8], at: usize) -> (usize, u8) {
    match bytes.get(at) {
        Some(&byte) if byte > b' ' => (at, byte),
        _ => token_after_space(bytes, at),
    }
}

fn token_after_space(bytes: &[u8], mut at: usize) -> (usize, u8) {
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            other => return (at, other),
        }
    }
    (bytes.len(), 0)
}

/// `end` if there is nothing at `at`, else `other`.
#[cold]
pub(super) fn fail<T>(bytes: &[u8], at: usize, end: Reason, other: Reason) -> Result<T, Fail> {
    match at < bytes.len() {
        true => Err((at, other)),
        false => Err((bytes.len(), end)),
    }
}

/// The value that starts at `at`, white space before it allowed; gives its start and end.
#[inline(always)]
pub(super) fn value<S: Strings>(
    bytes: &[u8],
    at: usize,
    strings: &mut S,
) -> Result<(usize, usize), Fail> {
    let (start, byte) = token(bytes, at);
    let end = match byte {
        b'"' => strings.end(bytes, start + 1)?,
        b'{' | b'[' => nested(bytes, start, strings)?,
        other => scalar(bytes, start, other)?,
    };
    Ok((start, end))
}

/// A value that is no string, no object and no array.
#[inline(always)]
fn scalar(bytes: &[u8], at: usize, first: u8) -> Result<usize, Fail> {
    match first {
        b'-' | b'0'..=b'9' => number(bytes, at),
        b't' => word(bytes, at, b"true"),
        b'f' => word(bytes, at, b"false"),
        b'n' => word(bytes, at, b"null"),
        _ => fail(bytes, at, EofInValue, ExpectedValue),
    }
}

/// An object or an array, which `at` is the first byte of.
fn nested<S: Strings>(bytes: &[u8], at: usize, strings: &mut S) -> Result<usize, Fail> {
    let mut nest = Nest::default();
    let (mut at, mut byte) = (at, bytes.get(at).copied().unwrap_or(0));
    loop {
        // At a value's first byte.
        at = match byte {
            b'"' => strings.end(bytes, at + 1)?,
            b'{' => {
                let (next, first) = token(bytes, at + 1);
                if first == b'}' {
                    next + 1
                } else {
                    nest.push(Frame::Object);
                    (at, byte) = member(bytes, next, first, strings)?;
                    continue;
                }
            }
            b'[' => {
                let (next, first) = token(bytes, at + 1);
                if first == b']' {
                    next + 1
                } else if next == bytes.len() {
                    return Err((next, EofInList));
                } else {
                    nest.push(Frame::List);
                    (at, byte) = (next, first);
                    continue;
                }
            }
            other => scalar(bytes, at, other)?,
        };
        // After a value: what encloses it goes on, or ends and is a value itself.
        loop {
            let Some(frame) = nest.top() else {
                return Ok(at);
            };
            let (next, follows) = token(bytes, at);
            match (follows, frame) {
                (b',', Frame::Object) => {
                    let (next, first) = token(bytes, next + 1);
                    (at, byte) = member(bytes, next, first, strings)?;
                    break;
                }
                (b',', Frame::List) => {
                    (at, byte) = token(bytes, next + 1);
                    break;
                }
                (b'}', Frame::Object) | (b']', Frame::List) => {
                    nest.pop();
                    at = next + 1;
                }
                (_, Frame::Object) => {
                    return fail(bytes, next, EofInObject, ExpectedObjectCommaOrEnd);
                }
                (_, Frame::List) => return fail(bytes, next, EofInList, ExpectedListCommaOrEnd),
            }
        }
    }
}

/// A key and its colon; gives the place and first byte of the value.
#[inline(always)]
fn member<S: Strings>(
    bytes: &[u8],
    at: usize,
    first: u8,
    strings: &mut S,
) -> Result<(usize, u8), Fail> {
    if first != b'"' {
        return fail(bytes, at, EofInObject, KeyMustBeAString);
    }
    let at = strings.pass_unseen(bytes, at);
    let end = strings.end(bytes, at + 1)?;
    Ok(token(bytes, colon(bytes, end)?))
}

/// The colon after a key.
#[inline(always)]
pub(super) fn colon(bytes: &[u8], at: usize) -> Result<usize, Fail> {
    let (at, byte) = token(bytes, at);
    match byte {
        b':' => Ok(at + 1),
        _ => fail(bytes, at, EofInObject, ExpectedColon),
    }
}

/// A string, from the byte after its opening quote on.
#[inline(always)]
fn string(bytes: &[u8], at: usize, seen: &mut Seen) -> Result<usize, Fail> {
    let end = plain(bytes, at, seen);
    match bytes.get(end) {
        Some(b'"') => Ok(end + 1),
        _ => string_with_escapes(bytes, end, seen),
    }
}

/// The first byte at or after `at` that ends a string's plain part: a quote, a backslash or a
/// control character; the document's end if there is none.
#[inline(always)]
pub(super) fn plain(bytes: &[u8], mut at: usize, seen: &mut Seen) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<LEN>) {
        let block = Block::load(chunk);
        seen.note(block);
        let special = special(block);
        if special != 0 {
            return at + special.trailing_zeros() as usize;
        }
        at += LEN;
    }
    plain_at_the_end(bytes, at, seen)
}

/// [`plain`] within the last bytes of a document: a block that ends with it is shifted to `at`.
fn plain_at_the_end(bytes: &[u8], mut at: usize, seen: &mut Seen) -> usize {
    if let (Some(chunk), Some(left)) = (bytes.last_chunk::<LEN>(), bytes.len().checked_sub(at)) {
        let block = Block::load(chunk);
        seen.note(block);
        let special = special(block) >> (LEN - left);
        return match special {
            0 => bytes.len(),
            some => at + some.trailing_zeros() as usize,
        };
    }
    while let Some(&byte) = bytes.get(at) {
        seen.note_byte(byte);
        if byte == b'"' || byte == b'\\' || byte < b' ' {
            break;
        }
        at += 1;
    }
    at
}

#[inline(always)]
fn special(block: Block) -> u32 {
    let ends = block.equal(b'"').or(block.equal(b'\\'));
    ends.or(block.at_most(0x1f)).high_bits()
}

fn string_with_escapes(bytes: &[u8], mut at: usize, seen: &mut Seen) -> Result<usize, Fail> {
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = plain(bytes, escape(bytes, at)?, seen),
            Some(_) => return Err((at, ControlCharacter)),
            None => return Err((bytes.len(), EofInString)),
        }
    }
}

/// The escape sequence whose backslash is at `at`. Surrogates are not looked at: that matters only
/// to who decodes the string.
#[inline(always)]
pub(super) fn escape(bytes: &[u8], at: usize) -> Result<usize, Fail> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => hex(bytes, at + 2).map(|_| at + 6),
        Some(_) => Err((at + 1, InvalidEscape)),
        None => Err((bytes.len(), EofInString)),
    }
}

/// The four hexadecimal digits at `at`.
#[inline(always)]
pub(super) fn hex(bytes: &[u8], at: usize) -> Result<u16, Fail> {
    let Some(digits) = bytes.get(at..at + 4) else {
        return Err((bytes.len(), EofInString));
    };
    let mut number = 0;
    for &digit in digits {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return Err((at + 3, InvalidEscape)),
        };
        number = number << 4 | u16::from(digit);
    }
    Ok(number)
}

#[inline(always)]
fn word(bytes: &[u8], at: usize, word: &'static [u8]) -> Result<usize, Fail> {
    let end = at + word.len();
    match bytes.get(at..end) {
        Some(found) if found == word => Ok(end),
        _ => other_word(bytes, at, word),
    }
}

#[cold]
fn other_word(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, Fail> {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.iter().zip(word).position(|(a, b)| a != b) {
        Some(differs) => Err((at + differs, ExpectedIdent)),
        None => Err((bytes.len(), EofInValue)),
    }
}

#[inline(always)]
fn number(bytes: &[u8], at: usize) -> Result<usize, Fail> {
    let get = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let digits = |mut at: usize| {
        while get(at).is_ascii_digit() {
            at += 1;
        }
        at
    };
    let start = at + usize::from(get(at) == b'-');
    let mut at = match get(start) {
        b'0' => start + 1,
        b'1'..=b'9' => digits(start + 1),
        _ => return Err((start, InvalidNumber)),
    };
    if get(start) == b'0' && get(at).is_ascii_digit() {
        return Err((at, InvalidNumber));
    }
    if get(at) == b'.' {
        let end = digits(at + 1);
        if end == at + 1 {
            return Err((end, InvalidNumber));
        }
        at = end;
    }
    if matches!(get(at), b'e' | b'E') {
        let sign = usize::from(matches!(get(at + 1), b'+' | b'-'));
        let end = digits(at + 1 + sign);
        if end == at + 1 + sign {
            return Err((end, InvalidNumber));
        }
        at = end;
    }
    Ok(at)
}
