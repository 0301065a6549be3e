//! Makes of each record the same: what the engine and the ABI cost alone, outputs included.
use gristmill_smartmodule::{Record, Result, smartmodule};

#[smartmodule(map)]
fn map<'a>(record: Record<'a>) -> Result<(Option<&'a [u8]>, &'a [u8])> {
    Ok((record.key(), record.value()))
}
