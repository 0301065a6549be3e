//! `OFFSET TIMESTAMP VALUE` for every record; value `bad` is an error, a null key becomes `none`.
use fluvio_smartmodule::{RecordData, Result, SmartModuleRecord, eyre, smartmodule};

#[smartmodule(map)]
pub fn map(record: &SmartModuleRecord) -> Result<(Option<RecordData>, RecordData)> {
    if record.value().as_ref() == b"bad" {
        return Err(eyre!("a bad value"));
    }
    let mut value = format!("{} {} ", record.offset(), record.timestamp()).into_bytes();
    value.extend_from_slice(record.value());
    let key = record
        .key()
        .cloned()
        .unwrap_or_else(|| RecordData::from("none"));
    Ok((Some(key), RecordData::from(value)))
}
