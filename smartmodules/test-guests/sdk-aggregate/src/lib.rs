//! `stock-aggregate` on our SDK.
use gristmill_smartmodule::{Record, Result, smartmodule};

#[smartmodule(aggregate)]
fn aggregate(accumulator: &[u8], record: Record<'_>) -> Result<String> {
    let sum: i64 = match accumulator {
        b"" => 0,
        accumulator => std::str::from_utf8(accumulator)?.parse()?,
    };
    let value: i64 = record.text()?.parse()?;
    Ok((sum + value).to_string())
}
