//! `gristmill smartmodule`: build one, and run its real WASM on a few records.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use anyhow::Context;
use gristmill_flow::Transform;
use gristmill_record::{Batch, Lane, Position, RecordRef, Records};
use gristmill_runner::module_sources;
use gristmill_smartengine::{Chain, Engine, EngineOptions, Limits, Step};

use crate::args::{SmartModuleTestArgs, SmartModuleVerb};
use crate::{Outcome, UsageError, output};

pub(super) fn run(verb: SmartModuleVerb) -> anyhow::Result<Outcome> {
    match verb {
        SmartModuleVerb::Build { name, output } => build(&name, output.as_deref()),
        SmartModuleVerb::Test(args) => test(&args),
    }
}

/// Modules are looked for from the working directory up, as for a pipeline file in it.
fn resolve(name: &str) -> anyhow::Result<gristmill_smartbuild::Built> {
    let sources = module_sources(Path::new("pipeline.yaml"));
    Ok(sources.resolve(name, &mut |text| output::note(text))?)
}

fn build(name: &str, to: Option<&Path>) -> anyhow::Result<Outcome> {
    let built = resolve(name)?;
    let path = match to {
        None => built.wasm,
        Some(to) => {
            std::fs::copy(&built.wasm, to)
                .with_context(|| format!("cannot write {}", to.display()))?;
            to.to_owned()
        }
    };
    output::line(&path.display().to_string())?;
    Ok(Outcome::Done)
}

fn test(args: &SmartModuleTestArgs) -> anyhow::Result<Outcome> {
    let params = args
        .params
        .iter()
        .map(|param| {
            let (name, value) = param
                .split_once('=')
                .ok_or_else(|| UsageError(format!("-e {param}: expected NAME=VALUE")))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    let records = records(args)?;
    let built = resolve(&args.module)?;
    let engine = Engine::new(EngineOptions::default())?;
    let step = Step {
        module: engine.load(&built.name, &built.wasm)?,
        params,
        lookback: None,
        limits: Limits::default(),
    };
    let input = records.len() as i64;
    let batch = Batch {
        records,
        ..Batch::empty(
            Lane::new("test", 0),
            Some(Position::Offset(0)),
            Position::Offset(input),
        )
    };
    let batch = Chain::new(vec![step])?.apply(batch)?;
    show(&batch, args.json)?;
    Ok(if batch.rejects.is_empty() {
        Outcome::Done
    } else {
        Outcome::Failed
    })
}

fn records(args: &SmartModuleTestArgs) -> anyhow::Result<Records> {
    let mut records = Records::default();
    let key = args.key.as_deref().map(str::as_bytes);
    let mut push = |value: &[u8]| {
        let offset = records.len() as i64;
        records.push(RecordRef::new(offset, 0, key, value));
    };
    if let Some(text) = &args.text {
        push(text.as_bytes());
    } else {
        let input: Box<dyn BufRead> = match &args.file {
            Some(path) => Box::new(std::io::BufReader::new(
                std::fs::File::open(path)
                    .with_context(|| format!("cannot read {}", path.display()))?,
            )),
            None => Box::new(std::io::stdin().lock()),
        };
        for line in input.split(b'\n') {
            let line = line?;
            push(line.strip_suffix(b"\r").unwrap_or(&line));
        }
    }
    Ok(records)
}

fn show(batch: &Batch, json: bool) -> std::io::Result<()> {
    for record in batch.records.iter() {
        let value = String::from_utf8_lossy(record.value);
        if json {
            let key = record.key.map(String::from_utf8_lossy);
            output::line(
                &serde_json::json!({"offset": record.offset, "key": key, "value": value})
                    .to_string(),
            )?;
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
    if !json {
        output::note(&format!(
            "{} records out, {} errors",
            batch.records.len(),
            batch.rejects.len()
        ));
    }
    Ok(())
}
