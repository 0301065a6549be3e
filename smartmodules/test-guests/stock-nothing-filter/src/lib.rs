//! Keeps every record.
use fluvio_smartmodule::{Result, SmartModuleRecord, smartmodule};

#[smartmodule(filter)]
pub fn filter(_record: &SmartModuleRecord) -> Result<bool> {
    Ok(true)
}
