//! The running sum of integers; anything else is an error.
use fluvio_smartmodule::{RecordData, Result, SmartModuleRecord, smartmodule};

#[smartmodule(aggregate)]
pub fn aggregate(accumulator: RecordData, current: &SmartModuleRecord) -> Result<RecordData> {
    let sum: i64 = match accumulator.as_ref() {
        b"" => 0,
        _ => accumulator.as_str()?.parse()?,
    };
    let value: i64 = std::str::from_utf8(current.value().as_ref())?.parse()?;
    Ok(RecordData::from((sum + value).to_string()))
}
