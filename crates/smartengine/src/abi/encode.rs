//! From records to the bytes that a guest is called with.

use std::collections::BTreeMap;
use std::ops::Range;

use gristmill_record::{RecordRef, Records};

use crate::Lookback;

/// A range of records as one call's input (`SmartModuleInput`, or `SmartModuleAggregateInput` if
/// there is an accumulator).
#[derive(Debug, Clone)]
pub(crate) struct Input<'a> {
    records: &'a Records,
    range: Range<usize>,
    base: Base,
    accumulator: Option<&'a [u8]>,
    raw_bytes: usize,
}

/// What the deltas of a call's records count from.
#[derive(Debug, Clone, Copy)]
struct Base {
    offset: i64,
    timestamp_ms: i64,
}

impl<'a> Input<'a> {
    /// The longest input from `range.start` on that ends at or before `range.end`, holds at most
    /// `bytes_max` bytes (but always one record) and whose deltas survive a stock guest.
    ///
    /// `fluvio-protocol` zigzags with `num >> 31`: a delta beyond 32 bits comes back as another
    /// number. So a call never spans more than that.
    pub(crate) fn of(
        records: &'a Records,
        range: Range<usize>,
        bytes_max: usize,
        accumulator: Option<&'a [u8]>,
    ) -> Self {
        let first = records.get(range.start);
        let base = Base {
            offset: first.map_or(0, |record| record.offset),
            timestamp_ms: first.map_or(0, |record| record.timestamp_ms),
        };
        let mut raw_bytes = 4;
        let mut end = range.start;
        while end < range.end {
            let Some(record) = records.get(end) else {
                break;
            };
            let Some((offset, timestamp)) = base.deltas(&record) else {
                break;
            };
            let body = body_len(&record, offset, timestamp);
            let whole = varint_len(body as i64) + body;
            if end > range.start && raw_bytes + whole > bytes_max {
                break;
            }
            raw_bytes += whole;
            end += 1;
        }
        Self {
            records,
            range: range.start..end,
            base,
            accumulator,
            raw_bytes,
        }
    }

    /// Indices of the records that the input holds.
    pub(crate) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// What the first record's deltas count from: its offset.
    pub(crate) fn base_offset(&self) -> i64 {
        self.base.offset
    }

    /// Bytes that [`write`](Self::write) fills.
    pub(crate) fn len(&self) -> usize {
        // base_offset, raw_bytes, params, lookback, join_record, base_timestamp, accumulator
        8 + 4 + self.raw_bytes + 2 + 1 + 4 + 8 + self.accumulator.map_or(0, |a| 4 + a.len())
    }

    /// Fill `buffer`, which is [`len`](Self::len) bytes long.
    pub(crate) fn write(&self, buffer: &mut [u8]) {
        let mut w = Writer { rest: buffer };
        w.put(&self.base.offset.to_be_bytes());
        w.put(&(self.raw_bytes as u32).to_be_bytes());
        w.put(&(self.range.len() as u32).to_be_bytes());
        for index in self.range.clone() {
            let Some(record) = self.records.get(index) else {
                break;
            };
            let Some((offset, timestamp)) = self.base.deltas(&record) else {
                break;
            };
            w.varint(body_len(&record, offset, timestamp) as i64);
            w.put(&[0]); // attributes
            w.varint(timestamp);
            w.varint(offset);
            match record.key {
                Some(key) => {
                    w.put(&[1]);
                    w.bytes(key);
                }
                None => w.put(&[0]),
            }
            w.bytes(record.value);
            w.put(&[0]); // no headers: they stay with the host
        }
        w.put(&[0; 2 + 1 + 4]); // no params, no lookback, no join record
        w.put(&self.base.timestamp_ms.to_be_bytes());
        if let Some(accumulator) = self.accumulator {
            w.put(&(accumulator.len() as u32).to_be_bytes());
            w.put(accumulator);
        }
        debug_assert!(w.rest.is_empty());
    }
}

impl Base {
    /// Offset and timestamp of `record` from here, if both fit 32 bits.
    fn deltas(self, record: &RecordRef<'_>) -> Option<(i64, i64)> {
        let fits = |to: i64, from: i64| {
            let delta = to.checked_sub(from)?;
            i32::try_from(delta).is_ok().then_some(delta)
        };
        Some((
            fits(record.offset, self.offset)?,
            fits(record.timestamp_ms, self.timestamp_ms)?,
        ))
    }
}

/// Parameters of a module: `with:` in the manifest.
pub(crate) type Params = BTreeMap<String, String>;

/// `SmartModuleInitInput`: parameters and the look-back that is configured.
///
/// # Errors
/// A count or a text beyond 65,535, which the encoding cannot hold.
pub(crate) fn encode_init(params: &Params, lookback: Option<&Lookback>) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let len = |what: &str, len: usize| {
        u16::try_from(len)
            .map(u16::to_be_bytes)
            .map_err(|_| format!("{what} is {len} long; Fluvio's encoding ends at 65535"))
    };
    out.extend_from_slice(&len("the list of parameters", params.len())?);
    for (name, value) in params {
        for text in [name, value] {
            out.extend_from_slice(&len(&format!("parameter `{name}`"), text.len())?);
            out.extend_from_slice(text.as_bytes());
        }
    }
    match lookback {
        None => out.push(0),
        Some(lookback) => {
            out.push(1);
            out.extend_from_slice(&(lookback.last as u64).to_be_bytes());
            match lookback.age {
                None => out.push(0),
                Some(age) => {
                    out.push(1);
                    out.extend_from_slice(&age.as_secs().to_be_bytes());
                    out.extend_from_slice(&age.subsec_nanos().to_be_bytes());
                }
            }
        }
    }
    Ok(out)
}

/// Bytes of a record after its length.
fn body_len(record: &RecordRef<'_>, offset_delta: i64, timestamp_delta: i64) -> usize {
    let bytes_len = |bytes: &[u8]| varint_len(bytes.len() as i64) + bytes.len();
    1 + varint_len(timestamp_delta)
        + varint_len(offset_delta)
        + 1
        + record.key.map_or(0, bytes_len)
        + bytes_len(record.value)
        + 1
}

fn varint_len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Fills a buffer from front to back; never beyond its end.
struct Writer<'a> {
    rest: &'a mut [u8],
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        if let Some((here, rest)) = std::mem::take(&mut self.rest).split_at_mut_checked(bytes.len())
        {
            here.copy_from_slice(bytes);
            self.rest = rest;
        }
    }

    fn varint(&mut self, value: i64) {
        let mut rest = zigzag(value);
        let mut bytes = [0; 10];
        let mut len = 0;
        while rest >= 0x80 {
            bytes[len] = rest as u8 | 0x80;
            rest >>= 7;
            len += 1;
        }
        bytes[len] = rest as u8;
        self.put(&bytes[..=len]);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as i64);
        self.put(bytes);
    }
}
