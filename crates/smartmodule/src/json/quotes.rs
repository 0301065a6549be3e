//! Where the strings of a document begin and end, found before its grammar is looked at.
//!
//! The first stage of simdjson (Langdale and Lemire, "Parsing Gigabytes of JSON per Second", 2019),
//! with 16 bytes at a time and without what it needs a carry-less product for: 64 bytes become a
//! bit mask of quotes, the mask becomes a list of places, and the walk over the grammar takes the
//! end of a string from there instead of looking for it. Nothing of the list depends on what was
//! found before, so the processor works on many strings at once.
//!
//! All that can be wrong within strings is found here too: escapes, control characters, UTF-8. Words
//! that have any of it are rare, and looked at more closely. What is wrong and where is not told
//! exactly: the caller goes over the document again, by [`Seen`].

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use super::block::{Block, LEN};
use super::decode::decode;
use super::error::Reason::*;
use super::pass::pass;
use super::scan::{Fail, Seen, Strings, escape, plain};
use super::utf8;

/// Bytes that are looked at together: a bit each in a `u64`.
const WORD: usize = 64;
/// Bytes whose quotes are found before the walk goes on. Few where assertions are on, so that tests
/// and the fuzzer get from one window to the next.
const WINDOW: usize = if cfg!(debug_assertions) { 2 } else { 32 } * WORD;
/// Places are written so many at a time, whether or not a word has as many quotes: to guess wrong
/// costs more. Of recentchange's words 99.7 % have no more.
const STEP: usize = 12;
/// A place for each byte of a window and for one quote left of the window before, and room beyond
/// the last one.
const ROOM: usize = 1 + WINDOW + STEP;

thread_local! {
    /// Kept, since to clear it for each document would cost as much as to fill it.
    static PLACES: RefCell<[u32; ROOM]> = const { RefCell::new([0; ROOM]) };
}

/// The quotes of a document that are no part of a string, in order.
pub(super) struct Quotes<'p> {
    places: &'p mut [u32; ROOM],
    /// The next one to be used, and their number.
    next: usize,
    len: usize,
    /// The document's bytes up to here were looked at.
    scanned: usize,
    /// The place of the first backslash, `usize::MAX` before there is one.
    first_escape: usize,
    /// The last word ends with a backslash that escapes the next one's first byte.
    escaping: bool,
    /// The last word ends within a character.
    incomplete: bool,
}

/// Run `walk` with the quotes of `bytes`; `None` where to look for them ahead does not pay: in
/// short documents, in those that are laid out for people, with a control character in each line,
/// and in a guest without `simd128`.
#[inline(always)]
pub(super) fn ahead<T>(bytes: &[u8], walk: impl FnOnce(&mut Quotes<'_>) -> T) -> Option<T> {
    let slow = cfg!(all(target_arch = "wasm32", not(target_feature = "simd128")));
    if slow || bytes.len() < WORD || bytes[1] < b' ' || u32::try_from(bytes.len()).is_err() {
        return None;
    }
    PLACES.with(|places| {
        let mut places = places.try_borrow_mut().ok()?;
        Some(walk(&mut Quotes {
            places: &mut places,
            next: 0,
            len: 0,
            scanned: 0,
            first_escape: usize::MAX,
            escaping: false,
            incomplete: false,
        }))
    })
}

impl Quotes<'_> {
    /// Whether the words so far end where a character does. Within them, all are checked; beyond
    /// them is no string, or its end would have been looked for.
    pub(super) fn are_complete(&self) -> bool {
        !self.incomplete
    }

    #[inline(never)]
    fn pass_out_of_line(&mut self, bytes: &[u8], at: usize) -> usize {
        self.pass(bytes, at, |_, _| {})
    }

    /// Look on until there is a string's end.
    #[cold]
    fn find_end(&mut self, bytes: &[u8]) -> Result<(), Fail> {
        while self.next + 1 >= self.len {
            if self.scanned == bytes.len() {
                return Err((bytes.len(), EofInString));
            }
            self.window(bytes)?;
        }
        Ok(())
    }

    /// The quotes of the next window. At most one is left of the last window: a string's start.
    #[inline(never)]
    fn window(&mut self, bytes: &[u8]) -> Result<(), Fail> {
        let mut len = usize::from(self.next < self.len);
        if len == 1 {
            self.places[0] = self.places[self.next];
        }
        let mut at = self.scanned;
        let end = bytes.len().min(at + WINDOW);
        let (words, rest) = bytes[at..end].as_chunks::<WORD>();
        for word in words {
            len += self.word(bytes, at, word, 0, len)?;
            at += WORD;
        }
        // The document's last word is a whole one too, of which the first bytes were seen before.
        if !rest.is_empty()
            && let Some(word) = bytes.last_chunk::<WORD>()
        {
            len += self.word(bytes, at, word, WORD - rest.len(), len)?;
        }
        (self.next, self.len, self.scanned) = (0, len, end);
        Ok(())
    }

    /// Note the quotes of `word`, whose first `before` bytes precede `at`, after `len` others; gives
    /// their number.
    #[inline(always)]
    fn word(
        &mut self,
        bytes: &[u8],
        at: usize,
        word: &[u8; WORD],
        before: usize,
        len: usize,
    ) -> Result<usize, Fail> {
        let blocks = blocks(word);
        let mut quotes = mask(blocks, |block| block.equal(b'"')) >> before;
        if has_more_than_plain(blocks) || self.escaping || self.incomplete {
            quotes = self.closely(bytes, at, word, before, len)?;
        }
        Ok(note(&mut self.places[len..], at, quotes))
    }

    /// As [`word`](Self::word), for one that has anything but plain ASCII; gives the quotes that
    /// are not escaped.
    #[cold]
    #[inline(never)]
    fn closely(
        &mut self,
        bytes: &[u8],
        at: usize,
        word: &[u8; WORD],
        before: usize,
        len: usize,
    ) -> Result<u64, Fail> {
        let blocks = blocks(word);
        self.characters(bytes, at - before, blocks)?;
        let slashes = mask(blocks, |block| block.equal(b'\\')) >> before;
        let escaped = self.escapes(bytes, at, slashes)?;
        let quotes = mask(blocks, |block| block.equal(b'"')) >> before & !escaped;
        let control = mask(blocks, |block| block.at_most(0x1f)) >> before;
        match control & within_strings(quotes, len % 2 == 1) {
            0 => Ok(quotes),
            _ => Err((at, ControlCharacter)),
        }
    }

    /// Check the UTF-8 of a word that starts at `start`.
    #[inline(always)]
    fn characters(&mut self, bytes: &[u8], start: usize, blocks: [Block; 4]) -> Result<(), Fail> {
        let [a, b, c, d] = blocks;
        if !self.incomplete && a.or(b).or(c).or(d).high_bits() == 0 {
            return Ok(());
        }
        let faults = utf8::faults(a, block_before(bytes, start))
            .or(utf8::faults(b, a))
            .or(utf8::faults(c, b))
            .or(utf8::faults(d, c));
        self.incomplete = !utf8::incomplete(d).is_zero();
        match faults.is_zero() {
            true => Ok(()),
            false => Err((start, InvalidUtf8)),
        }
    }

    /// Check the escapes whose backslashes are in `slashes`, and those that are escaped themselves;
    /// gives the bytes that are escaped.
    #[inline(always)]
    fn escapes(&mut self, bytes: &[u8], at: usize, slashes: u64) -> Result<u64, Fail> {
        let mut escaped = u64::from(std::mem::take(&mut self.escaping));
        let mut left = slashes & !escaped;
        while left != 0 {
            let slash = left & left.wrapping_neg();
            let place = at + slash.trailing_zeros() as usize;
            escape(bytes, place)?;
            self.first_escape = self.first_escape.min(place);
            self.escaping = slash << 1 == 0;
            escaped |= slash << 1;
            left &= !(slash | slash << 1);
        }
        Ok(escaped)
    }
}

impl Strings for Quotes<'_> {
    #[inline(always)]
    fn end(&mut self, bytes: &[u8], at: usize) -> Result<usize, Fail> {
        if self.next + 1 >= self.len {
            self.find_end(bytes)?;
        }
        // Outside of strings a quote is never escaped: a backslash there ends the walk.
        debug_assert_eq!(self.places[self.next] as usize + 1, at);
        let end = self.places[self.next + 1] as usize + 1;
        self.next += 2;
        Ok(end)
    }

    #[inline(always)]
    fn key<'a>(&mut self, bytes: &'a [u8], at: usize) -> Result<(Cow<'a, [u8]>, usize), Fail> {
        let end = self.end(bytes, at)?;
        if end > self.first_escape && has_escape(bytes, at, end - 1) {
            return decode(bytes, at, &mut Seen::new());
        }
        let key = bytes.get(at..end - 1).ok_or((at, EofInString))?;
        Ok((Cow::Borrowed(key), end))
    }

    #[inline(always)]
    fn pass<'a>(
        &mut self,
        bytes: &'a [u8],
        at: usize,
        visit: impl FnMut(&'a [u8], Range<usize>),
    ) -> usize {
        let places = self.places.get(self.next..self.len).unwrap_or_default();
        let after_colon = places.get(1).and_then(|&end| bytes.get(end as usize + 2));
        let first_escape = self.first_escape;
        let left = match after_colon {
            Some(b' ') => pass::<1>(bytes, places, first_escape, visit),
            _ => pass::<0>(bytes, places, first_escape, visit),
        };
        self.next += places.len() - left.len();
        left.first().map_or(at, |&place| place as usize)
    }

    /// Only from members on whose values are strings: else it does not pay, as objects within arrays
    /// tend to be small.
    #[inline(always)]
    fn pass_unseen(&mut self, bytes: &[u8], at: usize) -> usize {
        match self.places.get(self.next..).unwrap_or_default() {
            [_, end, start, ..] if matches!(start.wrapping_sub(*end), 2 | 3) => {
                self.pass_out_of_line(bytes, at)
            }
            _ => at,
        }
    }
}

/// Whether there is a backslash in a string without its quotes.
#[cold]
#[inline(never)]
pub(super) fn has_escape(bytes: &[u8], start: usize, end: usize) -> bool {
    plain(bytes, start, &mut Seen::new()) != end
}

/// Whether a word has backslashes, control characters or bytes beyond ASCII.
#[inline(always)]
fn has_more_than_plain([a, b, c, d]: [Block; 4]) -> bool {
    let [e, f, g, h] = [a, b, c, d].map(|block| block.equal(b'\\'));
    // The difference has its high bit if the least byte is below 0x20, or above 0x9f.
    let control = a.min(b).min(c.min(d)).minus(0x20);
    let slash = e.or(f).or(g.or(h));
    slash.or(control).or(a.or(b)).or(c.or(d)).high_bits() != 0
}

/// Append the places of `quotes` in a word that starts at `at`; gives their number.
#[inline(always)]
fn note(places: &mut [u32], at: usize, mut quotes: u64) -> usize {
    let count = quotes.count_ones() as usize;
    let mut next = || {
        let place = (at as u32).wrapping_add(quotes.trailing_zeros());
        quotes &= quotes.wrapping_sub(1);
        place
    };
    match places.first_chunk_mut::<STEP>() {
        Some(room) if count <= STEP => *room = std::array::from_fn(|_| next()),
        _ => places
            .iter_mut()
            .take(count)
            .for_each(|place| *place = next()),
    }
    count
}

/// The bytes from each string's opening quote to before its closing one; `inside` if the word starts
/// within a string.
fn within_strings(mut quotes: u64, inside: bool) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        quotes ^= quotes << shift;
    }
    match inside {
        true => !quotes,
        false => quotes,
    }
}

/// The block that ends before `at`; zeros where the document does not reach.
fn block_before(bytes: &[u8], at: usize) -> Block {
    let bytes = bytes.get(..at).unwrap_or_default();
    if let Some(block) = bytes.last_chunk() {
        return Block::load(block);
    }
    let mut block = [0; LEN];
    for (to, from) in block.iter_mut().rev().zip(bytes.iter().rev()) {
        *to = *from;
    }
    Block::load(&block)
}

#[inline(always)]
fn blocks(word: &[u8; WORD]) -> [Block; 4] {
    let (blocks, _) = word.as_chunks::<LEN>();
    [0, 1, 2, 3].map(|at| Block::load(&blocks[at]))
}

/// A bit for each byte of a word.
#[inline(always)]
fn mask(blocks: [Block; 4], which: impl Fn(Block) -> Block) -> u64 {
    let [a, b, c, d] = blocks.map(|block| u64::from(which(block).high_bits()));
    a | b << 16 | c << 32 | d << 48
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All quotes that no backslash is before, one byte after the other; `None` if an escape, a
    /// control character within quotes or the UTF-8 is wrong.
    fn plainly(bytes: &[u8]) -> Option<Vec<u32>> {
        std::str::from_utf8(bytes).ok()?;
        let (mut places, mut at) = (Vec::new(), 0);
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'"' => places.push(at as u32),
                b'\\' => {
                    escape(bytes, at).ok()?;
                    at += 1;
                }
                0..0x20 if places.len() % 2 == 1 => return None,
                _ => {}
            }
            at += 1;
        }
        Some(places)
    }

    /// The same by words, window after window, as a walk would ask for them.
    fn by_words(bytes: &[u8]) -> Option<Vec<u32>> {
        ahead(bytes, |quotes| {
            let mut places = Vec::new();
            while quotes.scanned < bytes.len() {
                quotes.window(bytes).ok()?;
                let whole = quotes.len & !1;
                places.extend_from_slice(&quotes.places[..whole]);
                quotes.next = whole;
            }
            places.extend_from_slice(&quotes.places[quotes.next..quotes.len]);
            quotes.are_complete().then_some(places)
        })
        .expect("long enough")
    }

    fn bytes(pieces: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => "[a-z:,]{0,30}".prop_map(String::into_bytes),
            2 => prop::sample::select(pieces).prop_map(<[u8]>::to_vec),
        ];
        let end = "[a-z:,]{64}".prop_map(String::into_bytes);
        (end, prop::collection::vec(piece, 0..60)).prop_map(|(end, pieces)| {
            let mut bytes = pieces.concat();
            bytes.insert(0, b'{');
            bytes.insert(1, b' ');
            // No shorter than a word.
            let missing = WORD.saturating_sub(bytes.len());
            bytes.extend_from_slice(&end[..missing]);
            bytes
        })
    }

    /// Pieces of which none is wrong.
    const RIGHT: &[&[u8]] = &[
        b"\"",
        b"\"",
        b"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"",
        b"\\\\",
        b"\\\"",
        b"\\u00e9",
        "\u{e9}".as_bytes(),
    ];
    /// Pieces of which some are, by themselves or by what comes next.
    const ODD: &[&[u8]] = &[
        b"\"",
        b"\n",
        b"\0",
        b"\\n",
        b"\\",
        b"\\u12",
        "\u{65e5}\u{672c}".as_bytes(),
        "\u{1f600}".as_bytes(),
        b"\xc3",
        b"\xf0\x9f",
        b"\x80",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn quotes_as_byte_after_byte(bytes in bytes(RIGHT)) {
            prop_assert_eq!(by_words(&bytes), plainly(&bytes));
        }

        #[test]
        fn all_that_can_be_wrong(bytes in bytes(ODD)) {
            prop_assert_eq!(by_words(&bytes), plainly(&bytes));
        }
    }
}
