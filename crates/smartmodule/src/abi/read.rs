//! Inputs, where they lie. Every length is checked: a host may be wrong.

use std::ops::Range;

use crate::Record;

/// `SmartModuleInput`, or `SmartModuleAggregateInput` with its accumulator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) base: Base,
    pub(super) accumulator: &'a [u8],
    /// Where the records' bytes are in the input: their count, and then they.
    raw: (usize, usize),
}

/// What the deltas of records count from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base {
    offset: i64,
    timestamp_ms: i64,
}

/// A record and what it is written as.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) record: Record<'a>,
    /// Attributes and deltas, as they are written: an output keeps them.
    pub(super) preamble: &'a [u8],
    /// The place after the record.
    pub(super) end: usize,
}

impl<'a> Input<'a> {
    pub(super) fn read(bytes: &'a [u8], version: i32, aggregate: bool) -> Option<Self> {
        if version < super::VERSION_MIN {
            return None;
        }
        let mut reader = Reader { bytes, at: 0 };
        let offset = i64::from_be_bytes(reader.array()?);
        let raw_len = reader.len_u32()?;
        let raw = (reader.at, reader.at + raw_len);
        reader.take(raw_len)?;
        reader.params()?;
        reader.lookback(version)?;
        let join_len = reader.len_u32()?;
        reader.take(join_len)?;
        let timestamp_ms = match version {
            22.. => i64::from_be_bytes(reader.array()?),
            _ => 0,
        };
        let accumulator = match aggregate {
            true => {
                let len = reader.len_u32()?;
                reader.take(len)?
            }
            false => &[],
        };
        Some(Self {
            base: Base {
                offset,
                timestamp_ms,
            },
            accumulator,
            raw,
        })
    }

    /// Number of records, and where they are in the input.
    pub(super) fn records(&self, bytes: &[u8]) -> Option<(u32, Range<usize>)> {
        let (start, end) = self.raw;
        let mut reader = Reader {
            bytes: bytes.get(..end)?,
            at: start,
        };
        let count = reader.len_u32()? as u32;
        Some((count, reader.at..end))
    }
}

impl Base {
    /// The record at `at`, of which `bytes` ends with the last one.
    #[inline(always)]
    pub(super) fn entry<'a>(self, bytes: &'a [u8], at: usize) -> Option<Entry<'a>> {
        let mut reader = Reader { bytes, at };
        let len = usize::try_from(reader.varint()?).ok()?;
        let start = reader.at;
        reader.take(1)?; // attributes
        let timestamp_delta = reader.varint()?;
        let offset_delta = reader.varint()?;
        let preamble = bytes.get(start..reader.at)?;
        let key = match reader.take(1)? {
            [0] => None,
            [1] => Some(reader.data()?),
            _ => return None,
        };
        let value = reader.data()?;
        reader.varint()?; // header count, which Fluvio follows with nothing
        if reader.at - start != len {
            return None;
        }
        Some(Entry {
            record: Record::of(
                key,
                value,
                self.offset.wrapping_add(offset_delta),
                self.timestamp_ms.wrapping_add(timestamp_delta),
            ),
            preamble,
            end: reader.at,
        })
    }
}

/// The pairs of a `SmartModuleInitInput`.
pub(super) fn init_params(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut reader = Reader { bytes, at: 0 };
    let count = reader.len_u16()?;
    (0..count)
        .map(|_| Some((reader.string()?, reader.string()?)))
        .collect()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    #[inline(always)]
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    /// The length of a `Vec`, where a negative one is none.
    fn len_u32(&mut self) -> Option<usize> {
        usize::try_from(i32::from_be_bytes(self.array()?).max(0)).ok()
    }

    fn len_u16(&mut self) -> Option<usize> {
        self.array().map(|len| usize::from(u16::from_be_bytes(len)))
    }

    fn string(&mut self) -> Option<String> {
        let len = self.len_u16()?;
        String::from_utf8(self.take(len)?.to_vec()).ok()
    }

    /// `RecordData`.
    #[inline(always)]
    fn data(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.take(len)
    }

    #[inline(always)]
    fn varint(&mut self) -> Option<i64> {
        let first = *self.bytes.get(self.at)?;
        self.at += 1;
        let number = match first {
            0..0x80 => u64::from(first),
            _ => self.varint_rest(u64::from(first & 0x7f))?,
        };
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    #[inline(always)]
    fn varint_rest(&mut self, mut number: u64) -> Option<u64> {
        for shift in (7..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// Parameters that old hosts sent with every call.
    fn params(&mut self) -> Option<()> {
        for _ in 0..self.len_u16()? {
            for _ in 0..2 {
                let len = self.len_u16()?;
                self.take(len)?;
            }
        }
        Some(())
    }

    /// `Option<Lookback>`, which goes with them.
    fn lookback(&mut self, version: i32) -> Option<()> {
        if version < 20 || self.take(1)? == [0] {
            return Some(());
        }
        self.take(8)?;
        if version >= 21 && self.take(1)? != [0] {
            self.take(8 + 4)?;
        }
        Some(())
    }
}
