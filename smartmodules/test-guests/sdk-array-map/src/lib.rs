//! `stock-array-map` on our SDK.
use gristmill_smartmodule::{Record, Result, bail, smartmodule};

type Part<'a> = (Option<&'a [u8]>, &'a [u8]);

#[smartmodule(array_map)]
fn array_map<'a>(record: &Record<'a>) -> Result<Vec<Part<'a>>> {
    let (key, value) = (record.key(), record.value());
    if value == b"bad" {
        bail!("a bad value");
    }
    let parts = value.split(|byte| *byte == b',');
    let parts = parts.filter(|part| !part.is_empty());
    Ok(parts.map(|part| (key, part)).collect())
}
