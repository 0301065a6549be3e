//! What a call was given, and whether what came back answers it.

use gristmill_record::{Lane, RecordRef, Records};

use crate::abi::{self, Garbage, Input};
use crate::fault::{Fault, one_line};
use crate::limits::STEP_OUTPUT_BYTES_MAX;
use crate::module::Kind;
use crate::origin::Working;

/// The records that a stage works on.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) lane: &'a Lane,
    pub(super) records: &'a Records,
    pub(super) origins: Option<&'a [u32]>,
}

impl Work<'_> {
    pub(super) fn origin(&self, index: usize) -> u32 {
        match self.origins {
            Some(origins) => origins.get(index).copied().unwrap_or(u32::MAX),
            None => index as u32,
        }
    }

    /// The index after `at` and everything else that was made from the same record.
    pub(super) fn after(&self, at: usize) -> usize {
        let origin = self.origin(at);
        (at + 1..self.records.len())
            .find(|index| self.origin(*index) != origin)
            .unwrap_or(self.records.len())
    }
}

/// Hold an output against its input.
///
/// `inputs` is filled with the index of the input record of each output record; given is the record
/// that the guest stopped at, and its words. A stock guest's `array_map` does not say which record
/// its outputs are made from (`tells_origins`): it is given one at a time.
pub(super) fn check(
    kind: Kind,
    work: &Work<'_>,
    input: &Input<'_>,
    count: usize,
    output: &abi::Output<'_>,
    tells_origins: bool,
    inputs: &mut Vec<usize>,
) -> Result<Option<(usize, String)>, Garbage> {
    if count != output.count() {
        return Err(Garbage(format!(
            "returned {count} and handed over {} records",
            output.count()
        )));
    }
    let range = input.range();
    let find = |from: usize, offset: i64| {
        (from..range.end).find(|at| work.records.get(*at).is_some_and(|r| r.offset == offset))
    };
    inputs.clear();
    let mut next = range.start;
    for record in output.records() {
        if !tells_origins {
            inputs.push(range.start);
            continue;
        }
        let offset = input.base_offset().wrapping_add(record.offset_delta);
        let at = find(next, offset).ok_or_else(|| {
            Garbage(format!(
                "a record at offset {offset}, which it was not given"
            ))
        })?;
        inputs.push(at);
        next = match kind {
            // The next output may be of the same record.
            Kind::ArrayMap => at,
            _ => at + 1,
        };
    }
    let stopped = match &output.error {
        None => None,
        Some(error) => {
            let at = find(next, error.offset).ok_or_else(|| {
                let offset = error.offset;
                Garbage(format!(
                    "an error at offset {offset}, which it was not given"
                ))
            })?;
            Some((at, one_line(&String::from_utf8_lossy(error.hint))))
        }
    };
    let end = stopped.as_ref().map_or(range.end, |(at, _)| *at);
    if matches!(kind, Kind::Map | Kind::Aggregate) && count != end - range.start {
        let given = end - range.start;
        return Err(Garbage(format!(
            "made {count} records of {given}, one each expected"
        )));
    }
    Ok(stopped)
}

/// Copy the outputs, each with its origin's offset, timestamp and headers.
pub(super) fn take(
    work: &Work<'_>,
    output: &abi::Output<'_>,
    inputs: &[usize],
    out: &mut Working,
) -> Result<(), Fault> {
    let mut bytes = out.records.bytes();
    for (record, at) in output.records().zip(inputs) {
        let headers = work.records.get(*at).map_or(0, |origin| {
            origin
                .headers
                .iter()
                .map(|(name, value)| 8 + name.len() + value.len())
                .sum()
        });
        bytes += record.key.map_or(0, <[u8]>::len) + record.value.len() + headers;
    }
    if bytes > STEP_OUTPUT_BYTES_MAX {
        return Err(Fault::Output {
            bytes: bytes as u64,
            limit_bytes: STEP_OUTPUT_BYTES_MAX,
        });
    }
    for (record, at) in output.records().zip(inputs) {
        if let Some(origin) = work.records.get(*at) {
            out.records.push(RecordRef {
                key: record.key,
                value: record.value,
                ..origin
            });
            out.origins.push(work.origin(*at));
        }
    }
    Ok(())
}
