//! A stock guest, which never frees its outputs, over many records: memory stays flat, what it
//! carries stays exact. `benches/soak.rs` does ten million.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use gristmill_flow::Transform;
use gristmill_record::Position;
use gristmill_smartengine::{Limits, Lookback, Step};

const RECORDS: usize = 300_000;
const BATCH: usize = 512;

/// A tenth of the default, so that an instance is recycled some hundred times.
const LIMITS: Limits = Limits {
    call_time_ms: 1000,
    memory_bytes: 6 << 20,
    output_bytes: 16 << 20,
};

#[test]
fn a_map_over_many_records() {
    let Some(module) = guest("stock-map") else {
        return;
    };
    let mut chain = chain([Step {
        limits: LIMITS,
        ..step(module)
    }]);
    let value = "v".repeat(640);
    let mut input = batch(vec![&value; BATCH]);
    let mut done = 0;
    while done < RECORDS {
        let output = chain.apply(input.clone()).unwrap();
        assert_eq!((output.records.len(), output.rejects.len()), (BATCH, 0));
        done += BATCH;
        let usage = chain.usage();
        assert!(usage.memory_bytes <= LIMITS.memory_bytes / 2, "{usage:?}");
        let next = Position::Offset(input.next.offset().unwrap() + BATCH as i64);
        input.from = Some(std::mem::replace(&mut input.next, next));
    }
    // The guest leaks 0.8 kB a record: half of the limit holds 4,000 records or so.
    let instances = chain.usage().instances;
    assert!((20..2_000).contains(&instances), "{instances} instances");
}

#[test]
fn an_aggregate_over_many_records_counts_every_one() {
    let Some(module) = guest("stock-aggregate") else {
        return;
    };
    let limits = Limits {
        memory_bytes: 3 << 20,
        ..LIMITS
    };
    let mut chain = chain([Step {
        limits,
        ..step(module)
    }]);
    let mut previous = apply(&mut chain, batch(["0"]));
    let mut sum = 0;
    while sum < RECORDS {
        let output = chain.apply(then(&previous, vec!["1"; BATCH])).unwrap();
        sum += BATCH;
        let last = output.records.iter().last().unwrap();
        assert_eq!(String::from_utf8_lossy(last.value), sum.to_string());
        previous = output;
    }
    assert!(chain.usage().instances > 10, "{:?}", chain.usage());
}

#[test]
fn init_and_look_back_run_again_in_each_instance() {
    let Some(module) = guest("stock-filter") else {
        return;
    };
    let limits = Limits {
        memory_bytes: 3 << 20,
        ..LIMITS
    };
    let mut chain = chain([Step {
        limits,
        lookback: Some(Lookback { last: 4, age: None }),
        ..with(module, "drop", "never")
    }]);
    // Each batch ends with what the next one starts with, and holds what `init` says to drop.
    let mut previous = apply(&mut chain, batch(["tail"]));
    let value = "v".repeat(2_000);
    for round in 0..200 {
        let mut values_in = vec!["tail".to_owned(), "never".to_owned()];
        values_in.extend((0..100).map(|index| format!("{value}{round}.{index}")));
        values_in.push("tail".to_owned());
        let output = apply(&mut chain, then(&previous, &values_in));
        let passed = values(&output);
        assert!(
            passed.iter().all(|(_, value)| value != "never"),
            "round {round}"
        );
        assert!(
            passed.first().unwrap().1.starts_with('v'),
            "round {round}: `tail` was seen"
        );
        previous = output;
    }
    assert!(chain.usage().instances > 10, "{:?}", chain.usage());
}
