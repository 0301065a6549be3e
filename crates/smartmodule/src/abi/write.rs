//! Outputs, into a buffer that is kept.

use std::mem::MaybeUninit;

use super::Kind;
use crate::Error;
use crate::Record;

/// Fluvio reads the length of a text as a signed 16-bit number.
const HINT_BYTES_MAX: usize = i16::MAX as usize;

/// Attributes and deltas of a record that the host numbers itself.
pub(super) const NO_PREAMBLE: &[u8] = &[0, 0, 0];

/// Append a record.
#[inline(always)]
pub(super) fn record(out: &mut Vec<u8>, preamble: &[u8], key: Option<&[u8]>, value: &[u8]) {
    let key_len = key.map_or(0, |key| varint_len(key.len()) + key.len());
    let body = preamble.len() + 1 + key_len + varint_len(value.len()) + value.len() + 1;
    let len = varint_len(body) + body;
    out.reserve(len);
    let mut writer = Writer {
        room: out.spare_capacity_mut(),
        at: 0,
    };
    writer.varint(body);
    writer.short(preamble);
    match key {
        Some(key) => {
            writer.byte(1);
            writer.varint(key.len());
            writer.bytes(key);
        }
        None => writer.byte(0),
    }
    writer.varint(value.len());
    writer.bytes(value);
    writer.byte(0); // no headers: they stay with the host
    let written = writer.at;
    debug_assert_eq!(written, len);
    // SAFETY: `Writer` fills the spare capacity from its start without a gap, and would have
    // panicked at its end; `at` counts what it filled.
    #[allow(unsafe_code)]
    unsafe {
        out.set_len(out.len() + written);
    }
}

/// Append `Some(error)` as `SmartModuleTransformRuntimeError`.
pub(super) fn transform_error(out: &mut Vec<u8>, kind: Kind, record: &Record<'_>, error: &Error) {
    out.push(1);
    hint(out, error);
    out.extend_from_slice(&record.offset().to_be_bytes());
    out.push(kind as u8);
    data_of(out, record);
}

/// Append a `SmartModuleLookbackRuntimeError`.
pub(super) fn look_back_error(out: &mut Vec<u8>, record: &Record<'_>, error: &Error) {
    hint(out, error);
    out.extend_from_slice(&record.offset().to_be_bytes());
    data_of(out, record);
}

/// Append an error's text, cut where it is too long for the encoding.
pub(super) fn hint(out: &mut Vec<u8>, error: &Error) {
    let text = error.text();
    let text = &text[..text.floor_char_boundary(HINT_BYTES_MAX)];
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Key and value of the record at fault.
fn data_of(out: &mut Vec<u8>, record: &Record<'_>) {
    match record.key() {
        Some(key) => {
            out.push(1);
            data(out, key);
        }
        None => out.push(0),
    }
    data(out, record.value());
}

fn data(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut number = (bytes.len() as u64) << 1;
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out.extend_from_slice(bytes);
}

/// Bytes of a length, which is zigzagged as any number.
#[inline(always)]
fn varint_len(len: usize) -> usize {
    let bits = 64 - ((len as u64) << 1 | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Fills room from its start.
struct Writer<'a> {
    room: &'a mut [MaybeUninit<u8>],
    at: usize,
}

impl Writer<'_> {
    #[inline(always)]
    fn byte(&mut self, byte: u8) {
        self.room[self.at].write(byte);
        self.at += 1;
    }

    #[inline(always)]
    fn varint(&mut self, len: usize) {
        let mut number = (len as u64) << 1;
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    /// A few bytes.
    #[inline(always)]
    fn short(&mut self, bytes: &[u8]) {
        match bytes {
            [a, b, c] => [*a, *b, *c].into_iter().for_each(|byte| self.byte(byte)),
            [a, b, c, d] => {
                [*a, *b, *c, *d]
                    .into_iter()
                    .for_each(|byte| self.byte(byte));
            }
            _ => self.bytes(bytes),
        }
    }

    /// In WASM a copy of unknown length leaves the guest, which takes longer than to copy a short
    /// text: up to 64 bytes are copied here, by pieces that overlap in the middle.
    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) {
        let len = bytes.len();
        let to = &mut self.room[self.at..self.at + len];
        match len {
            0 => {}
            1..4 => {
                to[0].write(bytes[0]);
                to[len / 2].write(bytes[len / 2]);
                to[len - 1].write(bytes[len - 1]);
            }
            4..8 => ends::<4>(to, bytes),
            8..16 => ends::<8>(to, bytes),
            16..=32 => ends::<16>(to, bytes),
            33..=64 => {
                let (first, second) = (len / 2, len - len / 2);
                ends::<16>(&mut to[..second], &bytes[..second]);
                ends::<16>(&mut to[first..], &bytes[first..]);
            }
            _ => {
                to.write_copy_of_slice(bytes);
            }
        }
        self.at += len;
    }
}

/// The first and the last `N` bytes, which is all there are.
#[inline(always)]
fn ends<const N: usize>(to: &mut [MaybeUninit<u8>], bytes: &[u8]) {
    if let (Some(to), Some(bytes)) = (to.first_chunk_mut::<N>(), bytes.first_chunk::<N>()) {
        *to = bytes.map(MaybeUninit::new);
    }
    if let (Some(to), Some(bytes)) = (to.last_chunk_mut::<N>(), bytes.last_chunk::<N>()) {
        *to = bytes.map(MaybeUninit::new);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_of_every_length_are_copied(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut out = vec![7];
            record(&mut out, NO_PREAMBLE, Some(&bytes), &bytes);
            let len = bytes.len();
            prop_assert_eq!(&out[out.len() - 1 - len..out.len() - 1], &bytes[..]);
            // The key ends where the value's length starts.
            let key_end = out.len() - 1 - len - varint_len(len);
            prop_assert_eq!(&out[key_end - len..key_end], &bytes[..]);
        }
    }

    #[test]
    fn lengths_of_numbers() {
        for (len, expect) in [(0, 1), (63, 1), (64, 2), (8191, 2), (8192, 3), (1 << 31, 5)] {
            let mut out = Vec::new();
            assert_eq!(varint_len(len), expect, "{len}");
            if len < 10_000 {
                data(&mut out, &vec![0; len]);
                assert_eq!(out.len(), expect + len);
            }
        }
    }
}
