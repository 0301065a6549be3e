//! Calls, and those that make no records: `init`, `look_back`; and `aggregate`.

use std::ops::Range;

use super::read::{self, Input};
use super::write;
use super::{
    BAD_INPUT, BAD_RECORDS, Buffers, INIT_BAD_INPUT, INIT_REFUSED, Kind, LOOK_BACK_BAD_INPUT,
    LOOK_BACK_BAD_RECORDS, LOOK_BACK_REFUSED,
};
use crate::{Bytes, Params, Record, Result};

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What the export returns: the number of successes, or what went wrong.
    pub code: i32,
    /// What is handed to `copy_records`.
    pub handed: Handed,
}

/// Where the output of a call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handed {
    /// There is none.
    Nothing,
    /// In [`Buffers::out`].
    Buffer,
    /// In the input, where a filter's records are already.
    Input(Range<usize>),
}

impl Call {
    /// The output.
    pub fn output<'b>(&self, input: &'b [u8], buffers: &'b Buffers) -> Option<&'b [u8]> {
        match &self.handed {
            Handed::Nothing => None,
            Handed::Buffer => Some(&buffers.out),
            Handed::Input(range) => input.get(range.clone()),
        }
    }

    pub(super) fn failed(code: i32) -> Self {
        Self {
            code,
            handed: Handed::Nothing,
        }
    }

    pub(super) fn buffer(code: i32) -> Self {
        Self {
            code,
            handed: Handed::Buffer,
        }
    }
}

/// Start an output: room for the count of its records.
pub(super) fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0; 4]);
}

/// The count of its records, now that it is known.
pub(super) fn set_count(out: &mut [u8], count: u32) {
    if let Some(place) = out.first_chunk_mut() {
        *place = count.to_be_bytes();
    }
}

/// Run `init`.
pub fn init(
    input: &[u8],
    module: &'static str,
    buffers: &mut Buffers,
    init: impl FnOnce(Params) -> Result<()>,
) -> Call {
    let Some(pairs) = read::init_params(input) else {
        return Call::failed(INIT_BAD_INPUT);
    };
    match init(Params::new(module, pairs)) {
        Ok(()) => Call::failed(0),
        Err(error) => {
            buffers.out.clear();
            write::hint(&mut buffers.out, &error);
            Call::buffer(INIT_REFUSED)
        }
    }
}

/// Show the records of `input` to `look_back`.
pub fn look_back<'a>(
    input: &'a [u8],
    version: i32,
    buffers: &mut Buffers,
    mut look_back: impl FnMut(Record<'a>) -> Result<()>,
) -> Call {
    let Some(read) = Input::read(input, version, false) else {
        return Call::failed(LOOK_BACK_BAD_INPUT);
    };
    let Some((count, range)) = read.records(input) else {
        return Call::failed(LOOK_BACK_BAD_RECORDS);
    };
    let (bytes, mut at) = (&input[..range.end], range.start);
    for _ in 0..count {
        let Some(entry) = read.base.entry(bytes, at) else {
            return Call::failed(LOOK_BACK_BAD_RECORDS);
        };
        at = entry.end;
        if let Err(error) = look_back(entry.record) {
            buffers.out.clear();
            write::look_back_error(&mut buffers.out, &entry.record, &error);
            return Call::buffer(LOOK_BACK_REFUSED);
        }
    }
    Call::failed(0)
}

/// Run `aggregate` over the records of `input`, one after the other.
pub fn aggregate<'a, V: Bytes>(
    input: &'a [u8],
    version: i32,
    buffers: &mut Buffers,
    mut aggregate: impl FnMut(&[u8], Record<'a>) -> Result<V>,
) -> Call {
    let Some(read) = Input::read(input, version, true) else {
        return Call::failed(BAD_INPUT);
    };
    let Some((count, range)) = read.records(input) else {
        return Call::failed(BAD_RECORDS);
    };
    let (out, _) = buffers.split();
    begin(out);
    let mut accumulator: Option<V> = None;
    let (bytes, mut at, mut done) = (&input[..range.end], range.start, 0);
    let mut failed = None;
    while done < count {
        let Some(entry) = read.base.entry(bytes, at) else {
            return Call::failed(BAD_RECORDS);
        };
        at = entry.end;
        let so_far = match &accumulator {
            Some(accumulator) => accumulator.bytes(),
            None => read.accumulator,
        };
        match aggregate(so_far, entry.record) {
            Ok(new) => {
                write::record(out, entry.preamble, entry.record.key(), new.bytes());
                accumulator = Some(new);
                done += 1;
            }
            Err(error) => {
                failed = Some((entry.record, error));
                break;
            }
        }
    }
    match failed {
        Some((record, error)) => write::transform_error(out, Kind::Aggregate, &record, &error),
        None => out.push(0),
    }
    let last = match &accumulator {
        Some(accumulator) => accumulator.bytes(),
        None => read.accumulator,
    };
    out.extend_from_slice(&(last.len() as u32).to_be_bytes());
    out.extend_from_slice(last);
    set_count(out, done);
    Call::buffer(done as i32)
}
