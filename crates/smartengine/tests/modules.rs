//! The modules that we ship, by their real WASM; their rules are tested natively, beside them.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use gristmill_replay::{Generator, GeneratorOptions};
use gristmill_smartengine::Step;

const EVENTS: [&str; 4] = [
    r#"{"meta":{"domain":"en.wikipedia.org"},"wiki":"enwiki","bot":false,"n":[1,"a"]}"#,
    r#"{"meta":{"domain":"canary"},"wiki":"enwiki","bot":true,"n":[]}"#,
    r#"{"meta":{"domain":"de.wikipedia.org"},"wiki":"dewiki","bot":false}"#,
    r#"{"wiki":"enwiki","bot":fals}"#,
];

fn with_all(name: &str, params: &[(&str, &str)]) -> Option<Step> {
    let params = params
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Some(Step {
        params: params.collect(),
        ..step(guest(name)?)
    })
}

/// What becomes of the events, all but the last of which are JSON.
#[track_caller]
fn check(name: &str, params: &[(&str, &str)], expect: &[(i64, &str)]) {
    let Some(step) = with_all(name, params) else {
        return;
    };
    let mut chain = chain([step]);
    for _ in 0..2 {
        let output = apply(&mut chain, batch(EVENTS));
        let expect: Vec<_> = expect.iter().map(|(i, v)| (*i, (*v).to_owned())).collect();
        assert_eq!(values(&output), expect);
        let [(3, reason)] = &rejects(&output)[..] else {
            panic!("{:?}", rejects(&output));
        };
        assert!(
            reason.contains("malformed JSON at byte 27: expected ident"),
            "{reason}"
        );
    }
}

#[test]
fn json_filter() {
    let enwiki = [("field", "wiki"), ("equals", "enwiki")];
    check("json-filter", &enwiki, &[(0, EVENTS[0]), (1, EVENTS[1])]);
    let others = [("field", "wiki"), ("matches", "^en"), ("negate", "true")];
    check("json-filter", &others, &[(2, EVENTS[2])]);
}

#[test]
fn drop_canaries() {
    check("drop-canaries", &[], &[(0, EVENTS[0]), (2, EVENTS[2])]);
}

#[test]
fn json_project() {
    let expect = [
        r#"{"w":"enwiki","domain":"en.wikipedia.org","n":[1,"a"]}"#,
        r#"{"w":"enwiki","domain":"canary","n":[]}"#,
        r#"{"w":"dewiki","domain":"de.wikipedia.org"}"#,
    ];
    let expect: Vec<_> = (0..).zip(expect).collect();
    check(
        "json-project",
        &[("fields", "w=wiki, /meta/domain, n")],
        &expect,
    );
}

#[test]
fn array_split() {
    check(
        "array-split",
        &[("field", "n"), ("text", "true")],
        &[(0, "1"), (0, "a")],
    );
}

#[test]
fn running_aggregate() {
    let states = [
        (0, r#"{"enwiki":1}"#),
        (1, r#"{"enwiki":2}"#),
        (2, r#"{"enwiki":2,"dewiki":1}"#),
    ];
    check("running-aggregate", &[("by", "wiki")], &states);
}

/// The main job's stream without canaries, people's edits alone, by type.
#[test]
fn a_chain_of_them() {
    let steps = [
        with_all("drop-canaries", &[]),
        with_all("json-filter", &[("field", "bot"), ("equals", "false")]),
        with_all("json-project", &[("fields", "kind=type, wiki")]),
        with_all("running-aggregate", &[("by", "kind")]),
    ];
    let Some(steps) = steps.into_iter().collect::<Option<Vec<_>>>() else {
        return;
    };
    let options = GeneratorOptions {
        canary_every: Some(20),
        ..GeneratorOptions::default()
    };
    let events: Vec<_> = Generator::new(options).take(1_000).collect();
    let people = events
        .iter()
        .filter(|event| !event.canary && event.data.contains(r#""bot":false"#));
    let mut counts = std::collections::BTreeMap::<&str, i64>::new();
    for event in people {
        *counts.entry(event.event_type.unwrap()).or_default() += 1;
    }
    let output = apply(
        &mut chain(steps),
        batch(events.iter().map(|event| &event.data)),
    );
    let last = values(&output).pop().unwrap().1;
    let counted: std::collections::BTreeMap<&str, i64> = serde_json::from_str(&last).unwrap();
    assert_eq!(counted, counts);
    assert_eq!(output.records.len() as i64, counts.values().sum::<i64>());
}
