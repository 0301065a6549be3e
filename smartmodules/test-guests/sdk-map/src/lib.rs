//! `stock-map` on our SDK, in the form that writes.
use std::io::Write;

use gristmill_smartmodule::{Output, Record, Result, bail, smartmodule};

#[smartmodule(map)]
fn map(record: Record<'_>, output: &mut Output<'_>) -> Result<()> {
    write!(output, "{} {} ", record.offset(), record.timestamp_ms())?;
    output.push(record.value());
    output.set_key(Some(record.key().unwrap_or(b"none")));
    if record.value() == b"bad" {
        bail!("a bad value");
    }
    Ok(())
}
