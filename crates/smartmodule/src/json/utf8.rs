//! Whether bytes are UTF-8, a block at a time.
//!
//! The algorithm of Keiser and Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte"
//! (2020): three table lookups by the nibbles of two neighbouring bytes find all errors of two-byte
//! sequences, and which bytes must be third or fourth ones; those are then compared with the bytes
//! two and three places before.

use super::block::{Block, LEN};

/// A lead byte where a continuation should be.
const TOO_SHORT: u8 = 1 << 0;
/// A continuation after an ASCII byte.
const TOO_LONG: u8 = 1 << 1;
/// Three bytes for what fits two.
const OVERLONG_3: u8 = 1 << 2;
/// Above U+10FFFF, first continuation 0x90 and up.
const TOO_LARGE: u8 = 1 << 3;
/// A surrogate.
const SURROGATE: u8 = 1 << 4;
/// Two bytes for what fits one.
const OVERLONG_2: u8 = 1 << 5;
/// Above U+10FFFF, first continuation 0x80 to 0x8f.
const TOO_LARGE_1000: u8 = 1 << 6;
/// Four bytes for what fits three; shares its bit, as the tables never confuse the two.
const OVERLONG_4: u8 = 1 << 6;
/// Two continuations in a row, which only the bytes before can allow.
const TWO_CONTS: u8 = 1 << 7;
/// What the low nibble of the first byte says nothing about.
const CARRY: u8 = TOO_SHORT | TOO_LONG | TWO_CONTS;

#[rustfmt::skip]
const BYTE_1_HIGH: [u8; 16] = [
    TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
    TWO_CONTS, TWO_CONTS, TWO_CONTS, TWO_CONTS,
    TOO_SHORT | OVERLONG_2,
    TOO_SHORT,
    TOO_SHORT | OVERLONG_3 | SURROGATE,
    TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4,
];

#[rustfmt::skip]
const BYTE_1_LOW: [u8; 16] = [
    CARRY | OVERLONG_2 | OVERLONG_3 | OVERLONG_4,
    CARRY | OVERLONG_2,
    CARRY,
    CARRY,
    CARRY | TOO_LARGE,
    CARRY | TOO_LARGE | TOO_LARGE_1000,
    CARRY | TOO_LARGE | TOO_LARGE_1000,
    CARRY | TOO_LARGE | TOO_LARGE_1000,
    CARRY | TOO_LARGE | TOO_LARGE_1000,
    CARRY | TOO_LARGE | TOO_LARGE_1000,
    CARRY | TOO_LARGE | TOO_LARGE_1000,
    CARRY | TOO_LARGE | TOO_LARGE_1000,
    CARRY | TOO_LARGE | TOO_LARGE_1000,
    CARRY | TOO_LARGE | TOO_LARGE_1000 | SURROGATE,
    CARRY | TOO_LARGE | TOO_LARGE_1000,
    CARRY | TOO_LARGE | TOO_LARGE_1000,
];

#[rustfmt::skip]
const BYTE_2_HIGH: [u8; 16] = [
    TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
    TOO_LONG | OVERLONG_2 | TWO_CONTS | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4,
    TOO_LONG | OVERLONG_2 | TWO_CONTS | OVERLONG_3 | TOO_LARGE,
    TOO_LONG | OVERLONG_2 | TWO_CONTS | SURROGATE | TOO_LARGE,
    TOO_LONG | OVERLONG_2 | TWO_CONTS | SURROGATE | TOO_LARGE,
    TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
];

/// The greatest last bytes of a block after which no sequence goes on.
#[rustfmt::skip]
const COMPLETE: [u8; 16] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0b1111_0000 - 1, 0b1110_0000 - 1, 0b1100_0000 - 1,
];

/// Whether `bytes` is UTF-8.
pub(super) fn is_valid(bytes: &[u8]) -> bool {
    let mut checker = Checker::new();
    let (words, tail) = bytes.as_chunks::<{ 4 * LEN }>();
    for word in words {
        let (blocks, _) = word.as_chunks::<LEN>();
        checker.take_word([0, 1, 2, 3].map(|at| Block::load(&blocks[at])));
    }
    let (blocks, tail) = tail.as_chunks::<LEN>();
    for block in blocks {
        checker.take(Block::load(block));
    }
    let mut last = [0; LEN];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    checker.take(Block::load(&last));
    checker.end()
}

struct Checker {
    errors: Block,
    before: Block,
    /// Not zero where the block before ended within a sequence.
    incomplete: Block,
}

impl Checker {
    fn new() -> Self {
        let zero = Block::splat(0);
        Self {
            errors: zero,
            before: zero,
            incomplete: zero,
        }
    }

    /// Four blocks: where all are ASCII, that is all there is to find out.
    #[inline(always)]
    fn take_word(&mut self, [a, b, c, d]: [Block; 4]) {
        if a.or(b).or(c.or(d)).high_bits() == 0 {
            self.errors = self.errors.or(self.incomplete);
            self.incomplete = Block::splat(0);
        } else {
            let errors = faults(a, self.before).or(faults(b, a));
            let errors = errors.or(faults(c, b)).or(faults(d, c));
            self.errors = self.errors.or(errors);
            self.incomplete = incomplete(d);
        }
        self.before = d;
    }

    #[inline(always)]
    fn take(&mut self, block: Block) {
        if block.high_bits() == 0 {
            self.errors = self.errors.or(self.incomplete);
            self.incomplete = Block::splat(0);
        } else {
            self.errors = self.errors.or(faults(block, self.before));
            self.incomplete = incomplete(block);
        }
        self.before = block;
    }

    fn end(self) -> bool {
        self.errors.or(self.incomplete).is_zero()
    }
}

/// Not zero where a sequence goes on after `block`.
#[inline(always)]
pub(super) fn incomplete(block: Block) -> Block {
    block.less_block(Block::load(&COMPLETE))
}

/// Not zero where `block`, which follows `before`, is no UTF-8.
#[inline(always)]
pub(super) fn faults(block: Block, before: Block) -> Block {
    let first = block.previous::<1>(before);
    let low = Block::splat(0x0f);
    let special = Block::load(&BYTE_1_HIGH)
        .lookup(first.high_nibbles())
        .and(Block::load(&BYTE_1_LOW).lookup(first.and(low)))
        .and(Block::load(&BYTE_2_HIGH).lookup(block.high_nibbles()));
    // 0x80 where a third or fourth byte must be: there, and only there, two continuations are due.
    let third = block.previous::<2>(before).less(0b1110_0000 - 0x80);
    let fourth = block.previous::<3>(before).less(0b1111_0000 - 0x80);
    third.or(fourth).and(Block::splat(0x80)).xor(special)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::is_valid;

    #[track_caller]
    fn check(bytes: &[u8]) {
        assert_eq!(
            is_valid(bytes),
            std::str::from_utf8(bytes).is_ok(),
            "{bytes:02x?}"
        );
    }

    /// Every sequence of up to three bytes, of four where the first two can start one, at places
    /// around a block's end.
    #[test]
    fn short_sequences_everywhere() {
        for place in [0, 1, 12, 13, 14, 15, 16] {
            let mut bytes = vec![b'a'; 24];
            for first in 0x70..=0xff_u8 {
                for second in [0, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff] {
                    for third in [0x41, 0x80, 0xbf, 0xc2, 0xe1] {
                        for fourth in [0x41, 0x80, 0xbf, 0xf1] {
                            bytes[place..place + 4]
                                .copy_from_slice(&[first, second, third, fourth]);
                            check(&bytes);
                            check(&bytes[..place + 1]);
                            check(&bytes[..place + 2]);
                            check(&bytes[..place + 3]);
                        }
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn as_the_standard_library(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            check(&bytes);
        }

        #[test]
        fn text_with_one_byte_changed(text in "\\PC{0,40}", at: prop::sample::Index, byte: u8) {
            check(text.as_bytes());
            let mut bytes = text.into_bytes();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
                check(&bytes);
            }
        }
    }
}
