//! Chains that take over from others while records flow.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use gristmill_smartengine::{Limits, Lookback, Step};

fn pairs(expect: &[(i64, &str)]) -> Vec<(i64, String)> {
    expect
        .iter()
        .map(|(index, value)| (*index, (*value).to_owned()))
        .collect()
}

#[test]
fn another_module_takes_over_and_positions_go_on() {
    let (Some(map), Some(split)) = (guest("stock-map"), guest("stock-array-map")) else {
        return;
    };
    let mut old = chain([step(map)]);
    let first = apply(&mut old, batch(["a"]));
    let mut new = chain([step(split)]).succeed(&mut old).unwrap();
    let second = apply(&mut new, then(&first, ["b,c"]));
    assert_eq!(values(&second), pairs(&[(0, "b"), (0, "c")]));
    // And none at all.
    let mut none = chain([]).succeed(&mut new).unwrap();
    assert!(none.is_empty());
    let third = then(&second, ["d"]);
    assert_eq!(apply(&mut none, third.clone()), third);
}

#[test]
fn an_aggregate_goes_on_counting_while_what_is_beside_it_changes() {
    let (Some(sum), Some(map), Some(filter)) = (
        guest("stock-aggregate"),
        guest("stock-map"),
        guest("stock-filter"),
    ) else {
        return;
    };
    let mut old = chain([step(filter.clone()), step(sum.clone())]);
    let first = apply(&mut old, batch(["1", "2"]));
    assert_eq!(values(&first), pairs(&[(0, "1"), (1, "3")]));
    let mut new = chain([step(sum.clone()), step(map)])
        .succeed(&mut old)
        .unwrap();
    let second = apply(&mut new, then(&first, ["4"]));
    assert!(values(&second)[0].1.ends_with(" 7"), "{second:?}");
    // A replay from before the change is taken back as ever.
    let again = apply(&mut new, then(&first, ["5"]));
    assert!(values(&again)[0].1.ends_with(" 8"), "{again:?}");
    // Other limits are no reason to forget either.
    let limits = Limits {
        memory_bytes: 32 << 20,
        ..Limits::default()
    };
    let mut last = chain([Step {
        limits,
        ..step(sum)
    }])
    .succeed(&mut new)
    .unwrap();
    assert_eq!(
        values(&apply(&mut last, then(&again, ["1"]))),
        pairs(&[(0, "9")])
    );
}

#[test]
fn an_instance_stays_where_nothing_of_it_changed() {
    let (Some(filter), Some(map)) = (guest("stock-filter"), guest("stock-map")) else {
        return;
    };
    // What the filter has seen is known to its instance alone.
    let mut old = chain([step(filter.clone())]);
    let first = apply(&mut old, batch(["x"]));
    let mut new = chain([step(filter.clone()), step(map)])
        .succeed(&mut old)
        .unwrap();
    let second = apply(&mut new, then(&first, ["x", "y"]));
    assert_eq!(indices(&values(&second)), [1]);
    // With another parameter it is another filter, which has seen nothing.
    let mut other = chain([with(filter, "drop", "z")])
        .succeed(&mut new)
        .unwrap();
    let third = apply(&mut other, then(&second, ["x", "z"]));
    assert_eq!(values(&third), pairs(&[(0, "x")]));
}

#[test]
fn a_new_build_looks_back_on_what_the_old_one_saw() {
    let Some(filter) = guest("stock-filter") else {
        return;
    };
    let look = |last| {
        chain([Step {
            lookback: Some(Lookback { last, age: None }),
            ..step(filter.clone())
        }])
    };
    let mut old = look(10);
    let first = apply(&mut old, batch(["x", "y", "z"]));
    // Another look-back makes another instance, as another build would.
    let mut new = look(2).succeed(&mut old).unwrap();
    let second = apply(&mut new, then(&first, ["x", "y", "z"]));
    assert_eq!(values(&second), pairs(&[(0, "x")]));
}

#[test]
fn one_that_cannot_look_back_leaves_the_old_one_as_it_was() {
    let Some(filter) = guest("stock-filter") else {
        return;
    };
    // Under the same name, with the same parameters: refuses whatever it is shown.
    let text = r#"(module
      (memory (export "memory") 2)
      (func (export "alloc") (param i32) (result i32) (i32.const 4096))
      (func (export "filter") (param i32 i32 i32) (result i32) unreachable)
      (func (export "look_back") (param i32 i32 i32) (result i32) (i32.const -66)))"#;
    let bad = engine()
        .load_bytes("stock-filter", &wat::parse_str(text).unwrap())
        .unwrap();
    let lookback = Some(Lookback { last: 5, age: None });
    let mut old = chain([Step {
        lookback,
        ..step(filter)
    }]);
    let first = apply(&mut old, batch(["x"]));
    let bad = chain([Step {
        lookback,
        ..step(bad)
    }]);
    let error = bad.succeed(&mut old).unwrap_err().to_string();
    assert_eq!(error, "SmartModule stock-filter: look_back: returned -66");
    let second = apply(&mut old, then(&first, ["x", "y"]));
    assert_eq!(values(&second), pairs(&[(1, "y")]));
}
