//! `gristmill smartmodule test`: a few records through the real WASM.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use gristmill_flow::Transform;
use gristmill_record::{Batch, Lane, Position, RecordRef, Records};
use gristmill_smartengine::EngineError;

use crate::args::SmartModuleTestArgs;
use crate::{Outcome, UsageError, output};

/// Records that go through the module at once: as many as a stage takes, so that a file of any
/// size is shown as it is read.
const BATCH: usize = 512;

pub(super) fn run(args: &SmartModuleTestArgs) -> anyhow::Result<Outcome> {
    // First the input: a module may take a minute to build.
    let mut input = input(args)?;
    let (_, mut chain) = super::chain(&args.module).map_err(refused)?;
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
            "{} in, {made} out, {}",
            output::many(read as usize, "record"),
            output::many(failed, "error")
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
        Some(path) => {
            let file = open(path)
                .map_err(|error| UsageError(format!("cannot read {}: {error}", path.display())))?;
            Box::new(lines(BufReader::new(file)))
        }
        None => Box::new(lines(BufReader::new(std::io::stdin()))),
    })
}

/// Opens what can be read: the system opens a directory too, and refuses the first read of it.
fn open(path: &Path) -> std::io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

/// A file that is no module is wrong usage; a module that fails is not.
fn refused(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<EngineError>() {
        Some(EngineError::Read { .. } | EngineError::Invalid { .. }) => {
            UsageError(output::chain(&error)).into()
        }
        _ => error,
    }
}

/// Lines without their ends. Not UTF-8 necessarily: a record is bytes.
pub(super) fn lines(input: impl BufRead) -> impl Iterator<Item = std::io::Result<Vec<u8>>> {
    input.split(b'\n').map(|line| {
        let mut line = line?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
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
