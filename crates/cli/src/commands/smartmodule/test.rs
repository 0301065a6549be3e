//! `gristmill smartmodule test`: a few records through the real WASM.

use std::io::BufReader;

use gristmill_flow::Transform;
use gristmill_record::{Batch, Lane, Position, RecordRef, Records};

use crate::args::SmartModuleTestArgs;
use crate::{Outcome, output};

/// Records that go through the module at once: as many as a stage takes, so that a file of any
/// size is shown as it is read.
const BATCH: usize = 512;

pub(super) fn run(args: &SmartModuleTestArgs) -> anyhow::Result<Outcome> {
    // First the input: a module may take a minute to build.
    let mut input = input(args)?;
    let (_, mut chain) = super::chain(&args.module)?;
    let (mut read, mut made, mut failed) = (0, 0, 0);
    loop {
        let records = take(&mut input, read, args.module.key.as_deref())?;
        if records.is_empty() {
            break;
        }
        let from = Position::Offset(read);
        read += records.len() as i64;
        let batch = Batch {
            records,
            ..Batch::empty(Lane::new("test", 0), Some(from), Position::Offset(read))
        };
        let batch = chain.apply(batch)?;
        made += batch.records.len();
        failed += batch.rejects.len();
        show(&batch, args.json)?;
    }
    if !args.json {
        output::note(&format!(
            "{} in, {} out, {}",
            output::many(read as u64, "record"),
            output::thousands(made as i64),
            output::many(failed as u64, "error")
        ));
    }
    Ok(if failed == 0 {
        Outcome::Done
    } else {
        Outcome::Failed
    })
}

type Lines = Box<dyn Iterator<Item = std::io::Result<Vec<u8>>>>;

fn input(args: &SmartModuleTestArgs) -> anyhow::Result<Lines> {
    if let Some(text) = &args.text {
        return Ok(Box::new(std::iter::once(Ok(text.as_bytes().to_vec()))));
    }
    Ok(match &args.file {
        Some(path) => Box::new(super::file_lines(path)?),
        None => Box::new(super::lines(BufReader::new(std::io::stdin()))),
    })
}

/// The next records, at offsets from `read` on.
fn take(input: &mut Lines, read: i64, key: Option<&str>) -> anyhow::Result<Records> {
    let mut records = Records::default();
    for line in input.by_ref().take(BATCH) {
        let offset = read + records.len() as i64;
        records.push(RecordRef::new(offset, 0, key.map(str::as_bytes), &line?));
    }
    Ok(records)
}

fn show(batch: &Batch, json: bool) -> std::io::Result<()> {
    for record in batch.records.iter() {
        let value = String::from_utf8_lossy(record.value);
        if json {
            let key = record.key.map(String::from_utf8_lossy);
            let record = serde_json::json!({"offset": record.offset, "key": key, "value": value});
            output::line(&record.to_string())?;
        } else {
            output::line(&value)?;
        }
    }
    for reject in &batch.rejects {
        if json {
            let error = serde_json::json!({"offset": reject.offset, "error": reject.reason});
            output::line(&error.to_string())?;
        } else {
            output::error(&format!("record {}: {}", reject.offset, reject.reason));
        }
    }
    Ok(())
}
