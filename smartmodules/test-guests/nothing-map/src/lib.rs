//! Makes of each record the same: what the engine and the ABI cost alone, outputs included.
use gristmill_smartmodule::{Keyed, Record, Result, smartmodule};

#[smartmodule(map)]
fn map<'a>(record: Record<'a>) -> Result<Keyed<'a>> {
    Ok((record.key(), record.value()))
}
