//! Guests built with Fluvio's stock SDK, unchanged.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::*;
use gristmill_record::Lane;
use gristmill_smartengine::{Kind, Limits, Lookback, Step};

fn pairs(expect: &[(i64, &str)]) -> Vec<(i64, String)> {
    expect
        .iter()
        .map(|(index, value)| (*index, (*value).to_owned()))
        .collect()
}

#[test]
fn filter_map_extracts_the_type() {
    let Some(module) = guest("extract-type") else {
        return;
    };
    assert_eq!(module.kind(), Kind::FilterMap);
    let mut chain = chain([step(module)]);
    let output = apply(
        &mut chain,
        batch([
            r#"{"type":"edit"}"#,
            r#"{"no":1}"#,
            r#"{"type":"#,
            r#"{"type":142}"#,
        ]),
    );
    assert_eq!(values(&output), pairs(&[(0, "edit"), (3, "142")]));
    assert_eq!(output.records.get(0).unwrap().key, Some(&b"k0"[..]));
    assert_eq!(
        rejects(&output),
        pairs(&[(
            2,
            "extract-type: filter_map at edits[1] offset 102: malformed JSON at byte 8: EOF while \
             parsing a value"
        )])
    );
    assert_eq!(output.rejects[0].stage, "extract-type");
}

#[test]
fn parameters_reach_init_and_its_refusal_is_told() {
    let Some(module) = guest("extract-type") else {
        return;
    };
    let mut pointer = chain([with(module.clone(), "field", "/meta/domain")]);
    let output = apply(&mut pointer, batch([r#"{"meta":{"domain":"canary"}}"#]));
    assert_eq!(values(&output), pairs(&[(0, "canary")]));
    let refused = gristmill_smartengine::Chain::new(vec![with(module, "feild", "type")]);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "SmartModule extract-type: init: unknown parameter `feild`; extract-type takes: field"
    );
}

#[test]
fn map_sees_offsets_and_timestamps() {
    let Some(module) = guest("stock-map") else {
        return;
    };
    let mut chain = chain([step(module)]);
    let output = apply(&mut chain, batch(["a", "bad", "", "c"]));
    assert_eq!(
        values(&output),
        pairs(&[
            (0, "100 1700000000000 a"),
            (2, "102 1700000000002 "),
            (3, "103 1700000000003 c")
        ])
    );
    assert_eq!(indices(&rejects(&output)), [1]);
}

#[test]
fn array_map_belongs_to_its_input() {
    let Some(module) = guest("stock-array-map") else {
        return;
    };
    let mut chain = chain([step(module)]);
    let output = apply(&mut chain, batch(["a,b", "", "bad", "c,d,e"]));
    assert_eq!(
        values(&output),
        pairs(&[(0, "a"), (0, "b"), (3, "c"), (3, "d"), (3, "e")])
    );
    assert_eq!(indices(&rejects(&output)), [2]);
}

#[test]
fn aggregate_carries_its_accumulator_by_lane() {
    let Some(module) = guest("stock-aggregate") else {
        return;
    };
    let mut chain = chain([step(module)]);
    let output = apply(&mut chain, batch(["1", "2", "x", "3"]));
    assert_eq!(values(&output), pairs(&[(0, "1"), (1, "3"), (3, "6")]));
    assert_eq!(indices(&rejects(&output)), [2]);
    let mut other = batch(["10"]);
    other.lane = Lane::new("edits", 2);
    assert_eq!(values(&apply(&mut chain, other)), pairs(&[(0, "10")]));
    let next = apply(&mut chain, then(&output, ["4"]));
    assert_eq!(values(&next), pairs(&[(0, "10")]));
}

#[test]
fn a_replayed_batch_is_aggregated_once() {
    let Some(module) = guest("stock-aggregate") else {
        return;
    };
    let mut chain = chain([step(module)]);
    let first = apply(&mut chain, batch(["1", "2"]));
    let second = then(&first, ["3"]);
    assert_eq!(
        values(&apply(&mut chain, second.clone())),
        pairs(&[(0, "6")])
    );
    // The sink refused it: the leg re-seeks, first to its start, then to the start of all.
    assert_eq!(
        values(&apply(&mut chain, second.clone())),
        pairs(&[(0, "6")])
    );
    assert_eq!(apply(&mut chain, batch(["1", "2"])), first);
    assert_eq!(values(&apply(&mut chain, second)), pairs(&[(0, "6")]));
}

#[test]
fn a_replayed_batch_is_not_taken_for_seen() {
    let Some(module) = guest("stock-filter") else {
        return;
    };
    let lookback = Some(Lookback {
        last: 10,
        age: None,
    });
    let mut chain = chain([Step {
        lookback,
        ..step(module)
    }]);
    chain.look_back(&batch(["w"]).records).unwrap();
    let first = apply(&mut chain, batch(["w", "x", "y"]));
    assert_eq!(values(&first), pairs(&[(1, "x"), (2, "y")]));
    assert_eq!(apply(&mut chain, batch(["w", "x", "y"])), first);
}

#[test]
fn a_refusal_in_mid_chain_rejects_the_original_whole() {
    let (Some(split), Some(map)) = (guest("stock-array-map"), guest("stock-map")) else {
        return;
    };
    let mut chain = chain([step(split), step(map)]);
    // `x,b` comes first so that an output of record 1 precedes its sibling's refusal.
    let output = apply(&mut chain, batch(["a", "b,bad,c", "d,e"]));
    assert_eq!(
        values(&output),
        pairs(&[
            (0, "100 1700000000000 a"),
            (2, "102 1700000000002 d"),
            (2, "102 1700000000002 e")
        ])
    );
    assert_eq!(indices(&rejects(&output)), [1]);
    assert_eq!(output.rejects[0].stage, "stock-map");
}

#[test]
fn any_pattern_of_bad_records_costs_only_them() {
    let Some(module) = guest("stock-map") else {
        return;
    };
    let mut chain = chain([step(module)]);
    for every in [1, 2, 3, 7, 100, 511] {
        let bad = |index: usize| index % every == every - 1;
        let output = apply(
            &mut chain,
            batch((0..512).map(|i| if bad(i) { "bad" } else { "good" })),
        );
        let expect: Vec<i64> = (0..512).filter(|i| bad(*i)).map(|i| i as i64).collect();
        assert_eq!(indices(&rejects(&output)), expect, "every {every}");
        assert_eq!(output.records.len(), 512 - expect.len());
    }
}

#[test]
fn a_panic_costs_the_guilty_records_only() {
    let Some(module) = guest("stock-filter") else {
        return;
    };
    let mut chain = chain([step(module)]);
    let value = |i: usize| match i {
        5 | 6 | 300 => "panic".to_owned(),
        _ => i.to_string(),
    };
    let output = apply(&mut chain, batch((0..512).map(value)));
    assert_eq!(indices(&rejects(&output)), [5, 6, 300]);
    assert_eq!(output.records.len(), 509);
    assert!(
        output.rejects[0]
            .reason
            .contains("filter at edits[1] offset 105: trapped")
    );
    assert_eq!(
        values(&apply(&mut chain, batch(["after"]))),
        pairs(&[(0, "after")])
    );
}

#[test]
fn a_new_instance_looks_back() {
    let Some(module) = guest("stock-filter") else {
        return;
    };
    let lookback = Some(Lookback { last: 2, age: None });
    let mut chain = chain([Step {
        lookback,
        ..step(module)
    }]);
    chain.look_back(&batch(["x", "y", "z"]).records).unwrap();
    // Seen: the last two of what was shown.
    let output = apply(&mut chain, batch(["x", "y", "z", "a"]));
    assert_eq!(values(&output), pairs(&[(0, "x"), (3, "a")]));
    // The panic takes the instance; the next one knows the last two records that went well.
    let output = apply(&mut chain, then(&output, ["panic"]));
    assert_eq!(indices(&rejects(&output)), [0]);
    let output = apply(&mut chain, then(&output, ["y", "z", "a"]));
    assert_eq!(values(&output), pairs(&[(0, "y")]));
}

#[test]
fn stock_guests_leak_and_are_recycled() {
    let Some(module) = guest("stock-map") else {
        return;
    };
    let limits = Limits {
        memory_bytes: 8 << 20,
        ..Limits::default()
    };
    let mut chain = chain([Step {
        limits,
        ..step(module)
    }]);
    let value = "v".repeat(1000);
    // 100 batches leak 50 MB.
    for _ in 0..100 {
        let output = apply(&mut chain, batch((0..512).map(|_| &value)));
        assert_eq!((output.records.len(), output.rejects.len()), (512, 0));
    }
}

#[test]
fn recycling_keeps_the_accumulator() {
    let Some(module) = guest("stock-aggregate") else {
        return;
    };
    let limits = Limits {
        memory_bytes: 3 << 20,
        ..Limits::default()
    };
    let mut chain = chain([Step {
        limits,
        ..step(module)
    }]);
    let mut sum = 0;
    let mut previous = batch(["0"]);
    for _ in 0..60 {
        let output = apply(&mut chain, then(&previous, (0..512).map(|_| "1")));
        assert_eq!(output.records.len(), 512, "{:?}", rejects(&output).first());
        sum += 512;
        assert_eq!(values(&output).last().unwrap().1, sum.to_string());
        previous = output;
    }
}

#[test]
fn extreme_offsets_and_timestamps_keep_their_records_apart() {
    let Some(module) = guest("stock-map") else {
        return;
    };
    let mut chain = chain([step(module)]);
    let mut input = batch([""; 0]);
    let extremes = [
        i64::MIN,
        -1,
        0,
        1,
        i64::from(i32::MAX) + 5,
        i64::MAX - 1,
        i64::MAX,
    ];
    for (at, offset) in extremes.iter().enumerate() {
        let timestamp_ms = extremes[extremes.len() - 1 - at];
        let record = gristmill_record::RecordRef::new(*offset, timestamp_ms, None, b"v");
        input.records.push(record);
    }
    let output = apply(&mut chain, input);
    let offsets: Vec<i64> = output.records.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, extremes);
    for record in output.records.iter() {
        let expect = format!("{} {} v", record.offset, record.timestamp_ms);
        assert_eq!(String::from_utf8_lossy(record.value), expect);
    }
}

#[test]
fn what_a_module_does_not_take_is_said_at_the_start() {
    let (Some(map), Some(filter)) = (guest("stock-map"), guest("stock-filter")) else {
        return;
    };
    let new = |step| {
        gristmill_smartengine::Chain::new(vec![step])
            .unwrap_err()
            .to_string()
    };
    assert!(new(with(map.clone(), "a", "b")).contains("takes no parameters"));
    let lookback = Some(Lookback { last: 1, age: None });
    assert!(
        new(Step {
            lookback,
            ..step(map)
        })
        .contains("does not look back")
    );
    assert!(new(with(filter, "drop", "")).ends_with("init: `drop` is empty"));
}

#[test]
fn outputs_of_all_modules_keep_the_lanes_order() {
    let (Some(split), Some(filter)) = (guest("stock-array-map"), guest("stock-filter")) else {
        return;
    };
    let mut chain = chain([step(split), step(filter)]);
    let output = apply(&mut chain, batch((0..100).map(|i| format!("{i},x{i},{i}"))));
    let offsets: Vec<i64> = output.records.iter().map(|record| record.offset).collect();
    assert!(offsets.is_sorted());
    let distinct: BTreeSet<_> = values(&output).into_iter().collect();
    assert_eq!((distinct.len(), output.records.len()), (200, 200));
}
