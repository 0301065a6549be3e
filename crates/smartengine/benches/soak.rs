//! Ten million records through a guest on Fluvio's stock SDK, which never frees what it allocates:
//! resident memory must stay flat and throughput steady. `RECORDS=…` makes it shorter or longer.

#![allow(clippy::unwrap_used, clippy::print_stdout, dead_code)]

#[path = "modules/contest.rs"]
mod contest;
#[path = "modules/contestants.rs"]
mod contestants;

use gristmill_flow::Transform;
use gristmill_smartengine::{Engine, EngineOptions};

use contest::cpu_ns;

const BATCH: usize = 512;

fn main() {
    let total: usize = std::env::var("RECORDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(10_000_000);
    let events = contestants::events(8 * BATCH);
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let mut chain = contestants::chain(&engine, "stock-nothing-map");
    let mut feed = contestants::Feed::new();
    let mut done = 0;
    let mut tenths = Vec::new();
    while done < total {
        // The peak counts: an instance's memory goes from 1 to 32 MiB before it is recycled, and
        // where in that a tenth ends is chance.
        let (mut cpu, start, mut resident) = (0, done, 0);
        let until = total.min(done + total.div_ceil(10));
        for slice in events.chunks(BATCH).cycle() {
            let batch = feed.batch(slice);
            let started = cpu_ns();
            let output = chain.apply(batch).unwrap();
            cpu += cpu_ns() - started;
            assert_eq!(
                (output.records.len(), output.rejects.len()),
                (slice.len(), 0)
            );
            done += slice.len();
            if done.is_multiple_of(16 * BATCH) {
                resident = resident_kib().max(resident);
            }
            if done >= until {
                break;
            }
        }
        let micros = cpu as f64 / 1e3 / (done - start) as f64;
        println!("{done:9} records: {micros:.3} us a record, at most {resident} KiB resident");
        tenths.push((micros, resident));
    }
    // The first tenth warms up.
    let later = &tenths[1.min(tenths.len() - 1)..];
    let spread = |values: &[f64]| {
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        values.iter().copied().fold(0.0, f64::max) / least
    };
    let micros: Vec<f64> = later.iter().map(|(micros, _)| *micros).collect();
    let resident: Vec<f64> = later.iter().map(|(_, kib)| *kib as f64).collect();
    for (what, value, at_most) in [
        ("memory: most to least", spread(&resident), 1.05),
        ("time a record: most to least", spread(&micros), 1.5),
    ] {
        let verdict = contest::Verdict {
            what: what.to_owned(),
            measured: value,
            at_most,
            unit: "times",
        };
        println!("{verdict}");
    }
}

/// 0 where the system does not say.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}
