//! What the code that Fluvio's `#[smartmodule]` generates does, over Fluvio's own types.

use fluvio_protocol::Decoder;
use fluvio_protocol::link::smartmodule::{SmartModuleKind, SmartModuleTransformRuntimeError};
use fluvio_protocol::record::{Record, RecordData, RecordKey};
use fluvio_smartmodule::dataplane::smartmodule::{
    SmartModuleAggregateInput, SmartModuleAggregateOutput, SmartModuleInput, SmartModuleOutput,
};
use fluvio_smartmodule::{SmartModuleRecord, eyre};

use crate::{VERSION, encoded};

pub type Made = (Option<RecordData>, RecordData);
pub type Result<T> = std::result::Result<T, String>;

/// The code that it returns and the bytes that it hands over.
pub type Ended = (i32, Option<Vec<u8>>);

fn records(input: &[u8]) -> (i64, Vec<SmartModuleRecord>) {
    let input: SmartModuleInput = Decoder::decode_from(&mut &input[..], VERSION as i16).unwrap();
    let base_offset = input.base_offset();
    let records = input.try_into_smartmodule_records(VERSION as i16).unwrap();
    (base_offset, records)
}

fn ended(output: SmartModuleOutput) -> Ended {
    (output.successes.len() as i32, Some(encoded(&output)))
}

pub fn transform(
    input: &[u8],
    kind: SmartModuleKind,
    mut one: impl FnMut(SmartModuleRecord, &mut Vec<Record>) -> Result<()>,
) -> Ended {
    let (base_offset, records) = records(input);
    let mut output = SmartModuleOutput {
        successes: Vec::with_capacity(records.len()),
        error: None,
    };
    for record in records {
        if let Err(error) = one(record.clone(), &mut output.successes) {
            let error = SmartModuleTransformRuntimeError::new(
                &record.into(),
                base_offset,
                kind,
                eyre!(error),
            );
            output.error = Some(without_backtrace(error));
            break;
        }
    }
    ended(output)
}

pub fn filter(input: &[u8], f: impl Fn(&SmartModuleRecord) -> Result<bool>) -> Ended {
    transform(input, SmartModuleKind::Filter, |record, out| {
        if f(&record)? {
            out.push(record.into());
        }
        Ok(())
    })
}

pub fn map(input: &[u8], f: impl Fn(&SmartModuleRecord) -> Result<Made>) -> Ended {
    transform(input, SmartModuleKind::Map, |mut record, out| {
        (record.key, record.value) = f(&record)?;
        out.push(record.into());
        Ok(())
    })
}

pub fn filter_map(input: &[u8], f: impl Fn(&SmartModuleRecord) -> Result<Option<Made>>) -> Ended {
    transform(input, SmartModuleKind::FilterMap, |mut record, out| {
        if let Some(made) = f(&record)? {
            (record.key, record.value) = made;
            out.push(record.into());
        }
        Ok(())
    })
}

pub fn array_map(input: &[u8], f: impl Fn(&SmartModuleRecord) -> Result<Vec<Made>>) -> Ended {
    transform(input, SmartModuleKind::ArrayMap, |record, out| {
        for (key, value) in f(&record)? {
            out.push(Record::new_key_value(RecordKey::from_option(key), value));
        }
        Ok(())
    })
}

pub fn aggregate(
    input: &[u8],
    f: impl Fn(RecordData, &SmartModuleRecord) -> Result<RecordData>,
) -> Ended {
    let input: SmartModuleAggregateInput =
        Decoder::decode_from(&mut &input[..], VERSION as i16).unwrap();
    let base_offset = input.base.base_offset();
    let mut accumulator = input.accumulator;
    let records = input
        .base
        .try_into_smartmodule_records(VERSION as i16)
        .unwrap();
    let mut base = SmartModuleOutput::new(Vec::new());
    for mut record in records {
        match f(RecordData::from(accumulator.clone()), &record) {
            Ok(value) => {
                accumulator = value.to_vec();
                record.value = value;
                base.successes.push(record.into());
            }
            Err(error) => {
                let error = SmartModuleTransformRuntimeError::new(
                    &record.into(),
                    base_offset,
                    SmartModuleKind::Aggregate,
                    eyre!(error),
                );
                base.error = Some(without_backtrace(error));
                break;
            }
        }
    }
    let count = base.successes.len() as i32;
    (
        count,
        Some(encoded(&SmartModuleAggregateOutput::new(base, accumulator))),
    )
}

/// A guest has none, this process may.
fn without_backtrace(
    mut error: SmartModuleTransformRuntimeError,
) -> SmartModuleTransformRuntimeError {
    let end = error.hint.find("\n\nStack backtrace");
    error.hint.truncate(end.unwrap_or(error.hint.len()));
    error
}
