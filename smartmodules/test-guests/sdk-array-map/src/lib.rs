//! `stock-array-map` on our SDK.
use gristmill_smartmodule::{Keyed, Record, Result, bail, smartmodule};

#[smartmodule(array_map)]
fn array_map<'a>(record: &Record<'a>) -> Result<Vec<Keyed<'a>>> {
    let (key, value) = (record.key(), record.value());
    if value == b"bad" {
        bail!("a bad value");
    }
    let parts = value.split(|byte| *byte == b',');
    let parts = parts.filter(|part| !part.is_empty());
    Ok(parts.map(|part| (key, part)).collect())
}
