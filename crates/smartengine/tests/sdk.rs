//! Guests built with our SDK: the same as their twins on Fluvio's stock SDK, and, where they use
//! `simd128`, the same as the SDK natively.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::OnceLock;

use common::*;
use gristmill_replay::{Generator, GeneratorOptions};
use gristmill_smartengine::{Lookback, Module, Step};
use gristmill_smartmodule::json::Path;
use proptest::prelude::*;

fn twins(kind: &str) -> Option<(Module, Module)> {
    Some((
        guest(&format!("sdk-{kind}"))?,
        guest(&format!("stock-{kind}"))?,
    ))
}

/// Keys, values and rejects of both are the same, but for their names.
#[track_caller]
fn same(kind: &str, steps: impl Fn(Module) -> Step, batches: &[Vec<&str>]) {
    let Some((ours, stock)) = twins(kind) else {
        return;
    };
    let (mut ours, mut stock) = (chain([steps(ours)]), chain([steps(stock)]));
    let mut previous = batch([""; 0]);
    for values in batches {
        let input = then(&previous, values);
        let (own, theirs) = (
            apply(&mut ours, input.clone()),
            apply(&mut stock, input.clone()),
        );
        assert_eq!(own.records, theirs.records);
        let reasons = rejects(&theirs).into_iter();
        let reasons: Vec<_> = reasons
            .map(|(index, reason)| (index, reason.replacen("stock-", "sdk-", 1)))
            .collect();
        assert_eq!(rejects(&own), reasons);
        previous = input;
    }
}

#[test]
fn filters_are_the_same() {
    let values = ["a", "b", "a", "bad", "no", "", "", "c", "panic", "d", "b"];
    let batches = [values.to_vec(), vec!["d", "e"]];
    same("filter", step, &batches);
    same("filter", |module| with(module, "drop", "no"), &batches);
    let lookback = Some(Lookback { last: 3, age: None });
    same(
        "filter",
        |module| Step {
            lookback,
            ..step(module)
        },
        &batches,
    );
}

#[test]
fn maps_are_the_same() {
    let long = "v".repeat(5000);
    same(
        "map",
        step,
        &[vec!["a", "bad", "", &long], vec!["bad"], vec!["x"; 600]],
    );
}

#[test]
fn array_maps_are_the_same() {
    same(
        "array-map",
        step,
        &[vec!["a,b", "", "bad", ",", "c,d,e"], vec!["x"]],
    );
}

#[test]
fn aggregates_are_the_same() {
    same(
        "aggregate",
        step,
        &[vec!["1", "2", "x", "-3"], vec!["4"], vec![""]],
    );
}

#[test]
fn an_init_that_refuses_is_told() {
    let Some(module) = guest("sdk-filter") else {
        return;
    };
    let refused = |name: &str, value: &str| {
        let step = with(module.clone(), name, value);
        gristmill_smartengine::Chain::new(vec![step])
            .unwrap_err()
            .to_string()
    };
    assert!(refused("drop", "").ends_with("init: `drop` is empty"));
    let unknown = refused("dorp", "x");
    let expect = "init: unknown parameter `dorp`; sdk-filter takes: drop";
    assert!(unknown.ends_with(expect), "{unknown}");
}

/// Neither inputs nor outputs are left behind: a hundred batches of half a megabyte.
#[test]
fn memory_does_not_grow() {
    let Some(module) = guest("sdk-map") else {
        return;
    };
    let limits = gristmill_smartengine::Limits {
        // One call has 128 kB in and out; a guest past half of the limit would be replaced.
        memory_bytes: 4 << 20,
        ..Default::default()
    };
    let mut chain = chain([Step {
        limits,
        ..step(module)
    }]);
    let value = "v".repeat(1000);
    for _ in 0..100 {
        let output = apply(&mut chain, batch((0..512).map(|_| &value)));
        assert_eq!((output.records.len(), output.rejects.len()), (512, 0));
    }
    assert!(
        format!("{chain:?}").contains("Guest("),
        "the instance is kept"
    );
}

/// Index in its batch, and text or error.
type Told = Vec<(i64, String)>;

/// What the SDK says natively about `field` in each value, as the engine would tell it.
fn natively(field: &str, values: &[Vec<u8>]) -> (Told, Told) {
    let path: Path = field.parse().unwrap();
    let (mut texts, mut errors) = (Vec::new(), Vec::new());
    for (index, value) in (0..).zip(values) {
        let found = path.find(value).and_then(|value| match value {
            Some(value) => value.text(),
            None => Ok(None),
        });
        match found {
            Ok(Some(text)) => texts.push((index, text.into_owned())),
            Ok(None) => {}
            Err(error) => errors.push((
                index,
                format!(
                    "extract-type: filter_map at edits[1] offset {}: {error}",
                    100 + index
                ),
            )),
        }
    }
    (texts, errors)
}

fn check(field: &str, values: &[Vec<u8>]) {
    // Compiling it takes as long as all else here.
    static MODULE: OnceLock<Option<Module>> = OnceLock::new();
    let Some(module) = MODULE.get_or_init(|| guest("extract-type")) else {
        return;
    };
    let mut chain = chain([with(module.clone(), "field", field)]);
    let output = apply(&mut chain, batch(values));
    assert_eq!(
        (common::values(&output), rejects(&output)),
        natively(field, values)
    );
}

#[test]
fn generated_events_by_the_real_wasm() {
    let options = GeneratorOptions {
        canary_every: Some(50),
        malformed_every: Some(70),
        ..GeneratorOptions::default()
    };
    let events: Vec<_> = Generator::new(options)
        .take(2_000)
        .map(|event| event.data.into_bytes())
        .collect();
    for field in ["type", "/meta/domain", "/length/new", "comment", "nowhere"] {
        check(field, &events);
    }
}

/// Strings that end, break and hold characters of every length around the blocks' borders.
#[test]
fn every_alignment_by_the_real_wasm() {
    let mut values = Vec::new();
    for pad in 0..34 {
        for filling in [
            "", "é", "日本", "😀", "\\n", "\\u00e9", "\\ud83d", "\u{1}", "\\",
        ] {
            let text = "y".repeat(pad);
            values.push(format!(r#"{{"k":"{text}","type":"{text}{filling}z"}}"#).into_bytes());
        }
        for bad in [
            &b"\xff"[..],
            b"\xc3",
            b"\xe2\x82",
            b"\xed\xa0\x80",
            b"\xf0\x9f\x98",
        ] {
            let (start, end) = (format!("{{\"type\":\"{}", "y".repeat(pad)), b"z\"}");
            values.push([start.as_bytes(), bad, end].concat());
        }
    }
    check("type", &values);
}

/// Documents of several windows of quotes (2 KiB each), whose borders fall anywhere; whole, cut off,
/// and with one byte that is not UTF-8.
#[test]
fn long_documents_by_the_real_wasm() {
    let events: Vec<_> = Generator::new(GeneratorOptions::default())
        .take(80)
        .map(|event| event.data)
        .collect();
    for four in events.chunks_exact(4) {
        let mut values = Vec::new();
        for pad in (0..80).step_by(3) {
            let (pad, list) = ("é".repeat(pad), four.join(", "));
            let text = format!(r#"{{"pad": "{pad}", "list": [{list}], "type": "{pad}"}}"#);
            let mut bytes = text.into_bytes();
            values.push(bytes.clone());
            values.push(bytes[..bytes.len() - 1 - pad.len() % 7].to_vec());
            bytes[1_990 + pad.len()] = 0xff;
            values.push(bytes);
        }
        check("type", &values);
        check("/list/2/meta/domain", &values);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Events with bytes put in, left out and changed.
    #[test]
    fn mutated_events_by_the_real_wasm(
        seed: u64,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 64),
    ) {
        let options = GeneratorOptions { seed, ..GeneratorOptions::default() };
        let values: Vec<_> = Generator::new(options)
            .zip(changes)
            .map(|(event, (at, byte, how))| {
                let mut value = event.data.into_bytes();
                let at = at.index(value.len());
                match how {
                    0 => value.insert(at, byte),
                    1 => value[at] = byte,
                    2 => value[at] = b"{}[]\",:\\ 0-.eu"[usize::from(byte) % 14],
                    _ => { value.remove(at); }
                }
                value
            })
            .collect();
        check("type", &values);
    }
}
