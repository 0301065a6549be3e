//! Splits a value at its commas; value `bad` is an error.
use fluvio_smartmodule::{RecordData, Result, SmartModuleRecord, eyre, smartmodule};

#[smartmodule(array_map)]
pub fn array_map(record: &SmartModuleRecord) -> Result<Vec<(Option<RecordData>, RecordData)>> {
    let value = record.value().as_ref();
    if value == b"bad" {
        return Err(eyre!("a bad value"));
    }
    Ok(value
        .split(|byte| *byte == b',')
        .filter(|part| !part.is_empty())
        .map(|part| (record.key().cloned(), RecordData::from(part)))
        .collect())
}
