//! Calls that make records of records.

use std::ops::Range;

use super::call::{Call, Handed, begin, set_count};
use super::output::{Output, Outputs, Scratch};
use super::read::{Base, Entry, Input};
use super::write;
use super::{BAD_INPUT, BAD_RECORDS, Buffers, Kind};
use crate::{Bytes, Record, Result};

/// Run `map` over the records of `input`.
pub fn map<'a, K: Bytes, V: Bytes>(
    input: &'a [u8],
    version: i32,
    buffers: &mut Buffers,
    mut map: impl FnMut(Record<'a>) -> Result<(Option<K>, V)>,
) -> Call {
    each(input, version, Kind::Map, buffers, |entry, out, _| {
        let (key, value) = map(entry.record)?;
        put(out, entry, key.as_ref(), &value);
        Ok(1)
    })
}

/// [`map`] with an [`Output`].
pub fn map_into<'a>(
    input: &'a [u8],
    version: i32,
    buffers: &mut Buffers,
    mut map: impl FnMut(Record<'a>, &mut Output<'_>) -> Result<()>,
) -> Call {
    each(input, version, Kind::Map, buffers, |entry, out, scratch| {
        let mut output = scratch.output();
        map(entry.record, &mut output)?;
        output.write(out, entry.preamble, entry.record.key());
        Ok(1)
    })
}

/// Run `filter_map` over the records of `input`.
pub fn filter_map<'a, K: Bytes, V: Bytes>(
    input: &'a [u8],
    version: i32,
    buffers: &mut Buffers,
    mut filter_map: impl FnMut(Record<'a>) -> Result<Option<(Option<K>, V)>>,
) -> Call {
    each(input, version, Kind::FilterMap, buffers, |entry, out, _| {
        let Some((key, value)) = filter_map(entry.record)? else {
            return Ok(0);
        };
        put(out, entry, key.as_ref(), &value);
        Ok(1)
    })
}

/// [`filter_map`] with an [`Output`].
pub fn filter_map_into<'a>(
    input: &'a [u8],
    version: i32,
    buffers: &mut Buffers,
    mut filter_map: impl FnMut(Record<'a>, &mut Output<'_>) -> Result<bool>,
) -> Call {
    let kind = Kind::FilterMap;
    each(input, version, kind, buffers, |entry, out, scratch| {
        let mut output = scratch.output();
        if !filter_map(entry.record, &mut output)? {
            return Ok(0);
        }
        output.write(out, entry.preamble, entry.record.key());
        Ok(1)
    })
}

/// Run `array_map` over the records of `input`.
pub fn array_map<'a, K: Bytes, V: Bytes, I: IntoIterator<Item = (Option<K>, V)>>(
    input: &'a [u8],
    version: i32,
    buffers: &mut Buffers,
    mut array_map: impl FnMut(Record<'a>) -> Result<I>,
) -> Call {
    array_map_into(input, version, buffers, |record, outputs| {
        for (key, value) in array_map(record)? {
            outputs.push(key.as_ref().map(Bytes::bytes), value);
        }
        Ok(())
    })
}

/// [`array_map`] with [`Outputs`].
pub fn array_map_into<'a>(
    input: &'a [u8],
    version: i32,
    buffers: &mut Buffers,
    mut array_map: impl FnMut(Record<'a>, &mut Outputs<'_>) -> Result<()>,
) -> Call {
    let kind = Kind::ArrayMap;
    each(input, version, kind, buffers, |entry, out, scratch| {
        let start = out.len();
        let mut outputs = scratch.outputs(out, entry.preamble);
        let made = array_map(entry.record, &mut outputs);
        let count = outputs.len();
        if made.is_err() {
            // All of a record's outputs or none.
            out.truncate(start);
        }
        made.map(|()| count as u32)
    })
}

/// Run `filter` over the records of `input`.
///
/// The records that pass are moved together where they lie: the input's records with their count
/// before them and a zero after them are the output's encoding.
pub fn filter(
    input: &mut [u8],
    version: i32,
    buffers: &mut Buffers,
    mut filter: impl FnMut(Record<'_>) -> Result<bool>,
) -> Call {
    let Some(read) = Input::read(input, version, false) else {
        return Call::failed(BAD_INPUT);
    };
    let Some((count, range)) = read.records(input) else {
        return Call::failed(BAD_RECORDS);
    };
    let base = read.base;
    let mut kept = Kept {
        count: 0,
        end: range.start,
        run: range.start..range.start,
    };
    for _ in 0..count {
        let Some(entry) = base.entry(&input[..range.end], kept.run.end) else {
            return Call::failed(BAD_RECORDS);
        };
        let end = entry.end;
        match filter(entry.record) {
            Ok(true) => {
                kept.run.end = end;
                kept.count += 1;
            }
            Ok(false) => kept.close(input, end),
            Err(error) => {
                let start = range.start - 4;
                let (record, out) = (entry.record, &mut buffers.out);
                out.clear();
                out.extend_from_slice(&input[start..kept.end]);
                out.extend_from_slice(&input[kept.run.clone()]);
                write::transform_error(out, Kind::Filter, &record, &error);
                set_count(out, kept.count);
                return Call::buffer(kept.count as i32);
            }
        }
    }
    let after = kept.run.end;
    kept.close(input, after);
    let output = range.start - 4..kept.end + 1;
    set_count(&mut input[output.start..], kept.count);
    // No error. There is room: parameters follow the records.
    input[kept.end] = 0;
    Call {
        code: kept.count as i32,
        handed: Handed::Input(output),
    }
}

/// Records that passed a filter.
struct Kept {
    count: u32,
    /// Those up to here are where they stay.
    end: usize,
    /// Those that follow without a gap, and are not moved yet.
    run: Range<usize>,
}

impl Kept {
    /// Move the run to the others; the next one starts at `next`.
    fn close(&mut self, input: &mut [u8], next: usize) {
        let run = std::mem::replace(&mut self.run, next..next);
        let len = run.len();
        if run.start != self.end && len > 0 {
            input.copy_within(run, self.end);
        }
        self.end += len;
    }
}

/// Run `one` over each record; it appends its outputs and gives their number.
#[inline(always)]
fn each<'a>(
    input: &'a [u8],
    version: i32,
    kind: Kind,
    buffers: &mut Buffers,
    mut one: impl FnMut(&Entry<'a>, &mut Vec<u8>, &mut Scratch<'_>) -> Result<u32>,
) -> Call {
    let Some(read) = Input::read(input, version, false) else {
        return Call::failed(BAD_INPUT);
    };
    let Some((count, range)) = read.records(input) else {
        return Call::failed(BAD_RECORDS);
    };
    let (out, mut scratch) = buffers.split();
    begin(out);
    let base: Base = read.base;
    let (bytes, mut at, mut made) = (&input[..range.end], range.start, 0);
    for _ in 0..count {
        let Some(entry) = base.entry(bytes, at) else {
            return Call::failed(BAD_RECORDS);
        };
        at = entry.end;
        match one(&entry, out, &mut scratch) {
            Ok(count) => made += count,
            Err(error) => {
                write::transform_error(out, kind, &entry.record, &error);
                set_count(out, made);
                return Call::buffer(made as i32);
            }
        }
    }
    out.push(0); // no error
    set_count(out, made);
    Call::buffer(made as i32)
}

#[inline(always)]
fn put<K: Bytes, V: Bytes>(out: &mut Vec<u8>, entry: &Entry<'_>, key: Option<&K>, value: &V) {
    write::record(out, entry.preamble, key.map(Bytes::bytes), value.bytes());
}
