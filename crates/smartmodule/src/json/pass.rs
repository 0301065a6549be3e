//! The second stage's short way: members as programs write them, several at once.

use std::ops::Range;

use super::block::{Block, LEN};
use super::quotes::has_escape;

const TRUE: u32 = u32::from_le_bytes(*b"true");
const NULL: u32 = u32::from_le_bytes(*b"null");
const FALS: u32 = u32::from_le_bytes(*b"fals");

/// Check members of an object and show them to `visit`, for as long as they are written without
/// white space but `SPACES` after each colon and comma, and are strings, natural numbers, words, or
/// objects of only those, with another member after them. `places` are the document's quotes from
/// the first key on; gives those from the first key that is left to the ordinary way.
///
/// With the quotes known, a member is a few comparisons: where its value ends the next key must
/// start. Few variables, as each one beyond the processor's registers is stored and loaded.
#[inline(always)]
pub(super) fn pass<'a, 'p, const SPACES: usize>(
    bytes: &'a [u8],
    places: &'p [u32],
    first_escape: usize,
    mut visit: impl FnMut(&'a [u8], Range<usize>),
) -> &'p [u32] {
    let mut left = places;
    let mut rest = places;
    // Within an object that is a member's value, and whose members are not shown.
    let mut inside = false;
    while let Some(head) = rest.first_chunk::<5>() {
        let [key, key_end, third, fourth, fifth] = head.map(|place| place as usize);
        let start = key_end + 2 + SPACES;
        let Some(&first) = bytes.get(start) else {
            break;
        };
        if !is_gap::<SPACES>(bytes, key_end + 1, b':')
            || key_end > first_escape && has_escape(bytes, key + 1, key_end)
        {
            break;
        }
        let (mut end, next) = match first {
            b'"' => {
                rest = &rest[4..];
                (fourth + 1, fifth)
            }
            b'{' if !inside && third == start + 1 => {
                rest = &rest[2..];
                inside = true;
                continue;
            }
            _ => match scalar(bytes, start) {
                Some(end) => {
                    rest = &rest[2..];
                    (end, third)
                }
                None => break,
            },
        };
        match bytes.get(end) {
            Some(b',') if next == end + 1 + SPACES && is_gap::<SPACES>(bytes, end, b',') => {
                if inside {
                    continue;
                }
            }
            Some(b'}')
                if inside && next == end + 2 + SPACES && is_gap::<SPACES>(bytes, end + 1, b',') =>
            {
                end += 1;
                inside = false;
            }
            _ => break,
        }
        let &[key, key_end, ..] = left else {
            break;
        };
        let (key, key_end) = (key as usize, key_end as usize);
        let Some(name) = bytes.get(key + 1..key_end) else {
            break;
        };
        visit(name, key_end + 2 + SPACES..end);
        left = rest;
    }
    left
}

/// Whether `sign` is at `at`, and the spaces after it.
#[inline(always)]
fn is_gap<const SPACES: usize>(bytes: &[u8], at: usize, sign: u8) -> bool {
    bytes.get(at) == Some(&sign) && (SPACES == 0 || bytes.get(at + 1) == Some(&b' '))
}

/// The end of a natural number of up to 16 digits, or of `true`, `false` or `null`, at `start`. What
/// follows it is for the caller to look at, so that `1.5` is none.
#[inline(always)]
fn scalar(bytes: &[u8], start: usize) -> Option<usize> {
    let chunk = bytes.get(start..)?.first_chunk::<LEN>()?;
    let [a, b, c, d, e, ..] = *chunk;
    if a.is_ascii_digit() {
        let digits = Block::load(chunk).minus(b'0').at_most(9).high_bits();
        let len = (!digits).trailing_zeros() as usize;
        return (len == 1 || a != b'0').then_some(start + len);
    }
    let word = u32::from_le_bytes([a, b, c, d]);
    let long = (word == FALS) & (e == b'e');
    ((word == TRUE) | (word == NULL) | long).then_some(start + 4 + usize::from(long))
}
