//! Ten million records through a guest on Fluvio's stock SDK, which never frees its outputs: is
//! memory flat, is throughput steady?
//!
//! `cargo run --release -p gristmill-smartengine --example soak`; other numbers with `RECORDS=…`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use gristmill_flow::Transform;
use gristmill_record::{Batch, Lane, Position, RecordRef, Records};
use gristmill_smartbuild::Sources;
use gristmill_smartengine::{Chain, Engine, EngineOptions, Limits, Step};

const BATCH: usize = 512;
/// Ten lines of report, whatever the number of records.
const PARTS: usize = 10;

fn main() -> ExitCode {
    let records = std::env::var("RECORDS").ok().and_then(|n| n.parse().ok());
    let records: usize = records.unwrap_or(10_000_000);
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../smartmodules");
    let built = Sources::new(vec![modules.clone(), modules.join("test-guests")])
        .resolve("stock-map", &mut |line| println!("{line}"))
        .unwrap();
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let step = Step {
        module: engine.load("stock-map", &built.wasm).unwrap(),
        params: [].into(),
        lookback: None,
        limits: Limits::default(),
    };
    let mut chain = Chain::new(vec![step]).unwrap();
    let mut input = batch();
    println!(
        "stock-map, {records} records of {} bytes",
        input.records.bytes() / BATCH
    );
    println!("  records    resident    records/s   instances");
    let (mut resident, mut rates) = (Vec::new(), Vec::new());
    let mut done = 0;
    for part in 1..=PARTS {
        let (started, before) = (Instant::now(), done);
        while done < records * part / PARTS {
            let output = chain.apply(input.clone()).unwrap();
            assert_eq!((output.records.len(), output.rejects.len()), (BATCH, 0));
            done += BATCH;
            let next = Position::Offset((done + BATCH) as i64);
            input.from = Some(std::mem::replace(&mut input.next, next));
        }
        let rate = (done - before) as f64 / started.elapsed().as_secs_f64();
        let kib = resident_kib();
        let instances = chain.usage().instances;
        println!("{done:>9} {kib:>7} KiB {rate:>12.0} {instances:>11}");
        resident.push(kib);
        rates.push(rate);
    }
    // The first part warms up: allocators, caches, the compiled code's pages.
    let growth = resident[PARTS - 1] as f64 / resident[0] as f64 - 1.0;
    let rates = &rates[1..];
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let off = rates.iter().map(|rate| (rate / mean - 1.0).abs());
    println!(
        "memory {:+.1} % from the first part to the last, throughput within {:.1} % of its mean",
        growth * 100.0,
        off.fold(0.0, f64::max) * 100.0
    );
    // Throughput depends on who else uses the machine; memory does not.
    match growth < 0.1 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Records of about the size of a recentchange event.
fn batch() -> Batch {
    let mut records = Records::default();
    for index in 0..BATCH {
        let value = format!("{index:04}{}", "recentchange ".repeat(81));
        let key = index.to_string();
        let record = RecordRef::new(index as i64, 1, Some(key.as_bytes()), value.as_bytes());
        records.push(record);
    }
    let (from, next) = (Position::Offset(0), Position::Offset(BATCH as i64));
    Batch {
        records,
        ..Batch::empty(Lane::new("soak", 0), Some(from), next)
    }
}

/// Resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}
