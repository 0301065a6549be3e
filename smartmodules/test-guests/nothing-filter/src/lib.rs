//! Keeps every record: what the engine and the ABI cost alone.
use gristmill_smartmodule::{Record, Result, smartmodule};

#[smartmodule(filter)]
fn filter(_record: Record<'_>) -> Result<bool> {
    Ok(true)
}
