//! `gristmill smartmodule bench`: what a record costs in the real WASM.

use std::time::{Duration, Instant};

use gristmill_flow::Transform;
use gristmill_record::{Batch, Lane, Position, RecordRef};
use gristmill_replay::{Generator, GeneratorOptions};

use crate::args::SmartModuleBenchArgs;
use crate::output::thousands;
use crate::{Outcome, UsageError, output};

/// Input that is kept in memory; beyond the processor's caches, so that what is measured is what a
/// stream would give.
const INPUT_BYTES_MAX: usize = 64 << 20;
/// Generated events, unless told otherwise: 21 MB.
const EVENTS: u64 = 20_000;

/// What was measured; `--json` prints it on one line.
#[derive(Debug, serde::Serialize)]
struct Measured {
    module: String,
    batch: usize,
    records: u64,
    rejected: u64,
    seconds: f64,
    records_per_s: f64,
    us_per_record: f64,
    us_per_record_p50: f64,
    us_per_record_p99: f64,
    mb_per_s: f64,
    /// Bytes of the module's memory at the end.
    memory_bytes: usize,
    /// Instances made: one, and one for each that outgrew its memory mark or failed.
    instances: u64,
}

pub(super) fn run(args: &SmartModuleBenchArgs) -> anyhow::Result<Outcome> {
    let batches = batches(args)?;
    let (built, mut chain) = super::chain(&args.module)?;
    let mut reached = 0;
    let mut first_reject = None;
    let mut pass = |batch: &Batch| -> anyhow::Result<(Duration, u64)> {
        // Each batch goes on where the last one ended, or the module would start anew for a replay.
        let mut batch = batch.clone();
        batch.from = Some(Position::Offset(reached));
        reached += batch.records.len() as i64;
        batch.next = Position::Offset(reached);
        let started = Instant::now();
        let batch = chain.apply(batch)?;
        let spent = started.elapsed();
        if let Some(reject) = batch.rejects.first() {
            first_reject.get_or_insert_with(|| reject.reason.clone());
        }
        Ok((spent, batch.rejects.len() as u64))
    };
    // Caches and branch predictors warm up on a tenth of it.
    let warm_up = Instant::now();
    for batch in batches.iter().cycle() {
        pass(batch)?;
        if warm_up.elapsed() > args.run_for / 10 {
            break;
        }
    }
    let (mut records, mut rejected, mut bytes) = (0_u64, 0, 0_u64);
    let mut spent = Duration::ZERO;
    let mut each = Vec::new();
    let started = Instant::now();
    for batch in batches.iter().cycle() {
        let (time, refused) = pass(batch)?;
        spent += time;
        rejected += refused;
        records += batch.records.len() as u64;
        bytes += batch.records.bytes() as u64;
        each.push(time.as_secs_f64() * 1e6 / batch.records.len() as f64);
        if started.elapsed() > args.run_for {
            break;
        }
    }
    each.sort_by(f64::total_cmp);
    let seconds = spent.as_secs_f64();
    let usage = chain.usage();
    let measured = Measured {
        module: built.name,
        batch: args.batch,
        records,
        rejected,
        seconds,
        records_per_s: records as f64 / seconds,
        us_per_record: seconds * 1e6 / records as f64,
        us_per_record_p50: each[each.len() / 2],
        us_per_record_p99: each[each.len() * 99 / 100],
        mb_per_s: bytes as f64 / 1e6 / seconds,
        memory_bytes: usage.memory_bytes,
        instances: usage.instances,
    };
    show(&measured, args.json)?;
    if let Some(reason) = first_reject {
        output::note(&format!("the first error: {reason}"));
    }
    Ok(Outcome::Done)
}

/// The input as batches, each of `--batch` records but the last.
fn batches(args: &SmartModuleBenchArgs) -> anyhow::Result<Vec<Batch>> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut bytes = 0;
    let key = args.module.key.as_deref().map(str::as_bytes);
    let mut push = |value: &[u8], timestamp_ms: i64| {
        let full = batches
            .last()
            .is_none_or(|batch| batch.records.len() == args.batch);
        if full {
            let next = Position::Offset(0);
            batches.push(Batch::empty(Lane::new("bench", 0), None, next));
        }
        if let Some(batch) = batches.last_mut() {
            let offset = batch.records.len() as i64;
            let record = RecordRef::new(offset, timestamp_ms, key, value);
            batch.records.push(record);
        }
        bytes += value.len();
        bytes < INPUT_BYTES_MAX
    };
    if let Some(path) = &args.file {
        for line in super::file_lines(path)? {
            if !push(&line?, 0) {
                output::note("the file is long: its first 64 MB are used");
                break;
            }
        }
    } else {
        let mut generator = Generator::new(GeneratorOptions {
            seed: args.seed,
            ..GeneratorOptions::default()
        });
        let mut event = gristmill_replay::Event::default();
        for _ in 0..args.generate.unwrap_or(EVENTS) {
            generator.fill(&mut event);
            if !push(event.data.as_bytes(), event.timestamp_ms) {
                break;
            }
        }
    }
    if batches.is_empty() {
        return Err(UsageError("there is no record to measure with".to_owned()).into());
    }
    Ok(batches)
}

fn show(measured: &Measured, json: bool) -> anyhow::Result<()> {
    if json {
        output::line(&serde_json::to_string(measured)?)?;
        return Ok(());
    }
    let m = measured;
    output::line(&format!(
        "{}: {} records/s, {:.3} us a record, {:.0} MB/s",
        m.module,
        thousands(m.records_per_s as i64),
        m.us_per_record,
        m.mb_per_s
    ))?;
    output::line(&format!(
        "  by batch of {}: p50 {:.3} us, p99 {:.3} us a record",
        m.batch, m.us_per_record_p50, m.us_per_record_p99
    ))?;
    output::line(&format!(
        "  {} in {:.2} s, {}, {} KiB of memory, {}",
        output::many(m.records, "record"),
        m.seconds,
        output::many(m.rejected, "error"),
        thousands(m.memory_bytes as i64 / 1024),
        output::many(m.instances, "instance")
    ))?;
    Ok(())
}
