//! Our SmartModules load into Fluvio's engine unchanged and do there what they do here.
//!
//! `GRISTMILL_WASM` names the folder with the built modules; `cargo xtask ci --only fluvio` makes it.

use std::path::PathBuf;

use fluvio_protocol::record::{Record, RecordData};
use fluvio_smartengine::{
    SmartEngine, SmartModuleChainBuilder, SmartModuleChainInstance, SmartModuleConfig,
    SmartModuleInitialData,
};
use fluvio_smartmodule::dataplane::smartmodule::{SmartModuleInput, SmartModuleOutput};
use serde_json::Value;

/// What Fluvio's engine speaks.
const VERSION: i16 = fluvio_smartengine::DEFAULT_SMARTENGINE_VERSION;

fn load(module: &str, with: &[(&str, &str)]) -> SmartModuleChainInstance {
    let folder = std::env::var_os("GRISTMILL_WASM").expect("GRISTMILL_WASM: the built modules");
    let wasm = std::fs::read(PathBuf::from(folder).join(format!("{module}.wasm"))).unwrap();
    let mut config = SmartModuleConfig::builder();
    config.smartmodule_names(vec![module.to_owned()]);
    if module == "running-aggregate" {
        config.initial_data(SmartModuleInitialData::with_aggregate(Vec::new()));
    }
    for (key, value) in with {
        config.param(*key, *value);
    }
    let config = config.build().unwrap();
    SmartModuleChainBuilder::from((config, wasm))
        .initialize(&SmartEngine::new())
        .unwrap_or_else(|error| panic!("{module}: {error:#}"))
}

fn process(chain: &mut SmartModuleChainInstance, values: &[&str]) -> SmartModuleOutput {
    let records: Vec<Record> = (0..)
        .zip(values)
        .map(|(offset, value)| {
            let mut record = Record::new_key_value("key", *value);
            record.get_mut_header().set_offset_delta(offset);
            record
        })
        .collect();
    let input = SmartModuleInput::try_from_records(records, VERSION).unwrap();
    chain.process(input).unwrap()
}

fn texts(output: &SmartModuleOutput) -> Vec<String> {
    let text = |data: &RecordData| String::from_utf8(data.as_ref().to_vec()).unwrap();
    output.successes.iter().map(|r| text(r.value())).collect()
}

#[test]
fn extract_type_on_its_whole_table_of_cases() {
    let cases = include_str!("../../smartmodules/extract-type/tests/cases.ndjson");
    let mut ran = 0;
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| case[key].as_str();
        let mut chain = load("extract-type", &[("field", text("field").unwrap())]);
        let output = process(&mut chain, &[text("json").unwrap()]);
        match text("error") {
            None => {
                assert!(output.error.is_none(), "{line}: {:?}", output.error);
                assert_eq!(texts(&output), Vec::from_iter(text("text")), "{line}");
                let keys = output.successes.iter().map(|record| record.key());
                for key in keys {
                    assert_eq!(key.map(|key| key.as_ref()), Some(&b"key"[..]), "{line}");
                }
            }
            Some(expect) => {
                let error = output.error.unwrap_or_else(|| panic!("{line}: no error"));
                assert!(error.hint.contains(expect), "{line}: {}", error.hint);
            }
        }
        ran += 1;
    }
    assert!(ran > 70);
}

#[test]
fn the_first_bad_record_ends_the_batch_as_fluvio_has_it() {
    let mut chain = load("extract-type", &[]);
    let output = process(&mut chain, &[r#"{"type":"a"}"#, "{", r#"{"type":"b"}"#]);
    assert_eq!(texts(&output), ["a"]);
    assert_eq!(output.error.map(|error| error.offset), Some(1));
}

#[test]
fn every_module_loads_and_runs() {
    type Case<'c> = (
        &'c str,
        &'c [(&'c str, &'c str)],
        &'c [&'c str],
        &'c [&'c str],
    );
    let cases: [Case<'_>; 4] = [
        (
            "drop-canaries",
            &[],
            &[
                r#"{"meta":{"domain":"canary"}}"#,
                r#"{"meta":{"domain":"x"}}"#,
            ],
            &[r#"{"meta":{"domain":"x"}}"#],
        ),
        (
            "json-filter",
            &[("field", "type"), ("equals", "edit")],
            &[r#"{"type":"edit"}"#, r#"{"type":"new"}"#],
            &[r#"{"type":"edit"}"#],
        ),
        (
            "json-project",
            &[("fields", "type")],
            &[r#"{"id":1,"type":"edit"}"#],
            &[r#"{"type":"edit"}"#],
        ),
        ("array-split", &[], &["[1,2]"], &["1", "2"]),
    ];
    for (module, with, values, expect) in cases {
        let output = process(&mut load(module, with), values);
        assert!(output.error.is_none(), "{module}: {:?}", output.error);
        assert_eq!(texts(&output), expect, "{module}");
    }
}
