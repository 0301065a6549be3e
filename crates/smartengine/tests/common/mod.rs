//! What the tests share: an engine, batches and guests.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::print_stderr)] // not every test uses everything

use std::path::Path;
use std::sync::OnceLock;

use gristmill_flow::Transform;
use gristmill_record::{Batch, Lane, Position, RecordRef, Records};
use gristmill_smartbuild::{BuildError, Sources};
use gristmill_smartengine::{Chain, Engine, EngineOptions, Limits, Module, Step};

pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(EngineOptions::default()).unwrap())
}

/// A module of `smartmodules/` or its test guests; `None`, and a word about it, where there is no
/// wasm toolchain.
pub fn guest(name: &str) -> Option<Module> {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../smartmodules");
    let sources = Sources::new(vec![modules.clone(), modules.join("test-guests")]);
    match sources.resolve(name, &mut |line| eprintln!("{line}")) {
        Ok(built) => Some(engine().load(name, &built.wasm).unwrap()),
        Err(error @ BuildError::Toolchain { .. })
            if std::env::var("GRISTMILL_TEST_REQUIRE").as_deref() != Ok("1") =>
        {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

pub fn wat(text: &str) -> Module {
    engine()
        .load_bytes("wat", &wat::parse_str(text).unwrap())
        .unwrap()
}

pub fn step(module: Module) -> Step {
    Step {
        module,
        params: [].into(),
        lookback: None,
        limits: Limits::default(),
    }
}

pub fn with(module: Module, name: &str, value: &str) -> Step {
    Step {
        params: [(name.to_owned(), value.to_owned())].into(),
        ..step(module)
    }
}

pub fn chain(steps: impl IntoIterator<Item = Step>) -> Chain {
    Chain::new(steps.into_iter().collect()).unwrap()
}

/// A batch of `values` at offsets from 100 on, keys `k0`, `k1`, …, a header `h` with the index. It
/// starts where the source was resumed, which no other batch here does.
pub fn batch<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Batch {
    let mut records = Records::default();
    for (index, value) in values.into_iter().enumerate() {
        let (key, header) = (format!("k{index}"), index.to_string());
        let offset = 100 + index as i64;
        let timestamp_ms = 1_700_000_000_000 + index as i64;
        records.push_with_headers(
            RecordRef::new(offset, timestamp_ms, Some(key.as_bytes()), value.as_ref()),
            [("h", header.as_bytes())],
        );
    }
    let next = Position::Offset(100 + records.len() as i64);
    Batch {
        records,
        ..Batch::empty(Lane::new("edits", 1), Some(Position::Offset(100)), next)
    }
}

/// A batch of `values` that goes on where `previous` ended.
pub fn then<V: AsRef<[u8]>>(previous: &Batch, values: impl IntoIterator<Item = V>) -> Batch {
    let batch = batch(values);
    let start = previous.next.offset().unwrap();
    let next = Position::Offset(start + batch.records.len() as i64);
    Batch {
        from: Some(Position::Offset(start)),
        next,
        ..batch
    }
}

/// Apply, and hold what must hold for every module: positions stay, and what comes out has the
/// offset, timestamp and headers of what it was made from.
#[track_caller]
pub fn apply(chain: &mut Chain, input: Batch) -> Batch {
    let output = chain.apply(input.clone()).unwrap();
    assert_eq!(
        (&output.lane, &output.from, &output.next),
        (&input.lane, &input.from, &input.next)
    );
    for record in output.records.iter() {
        let origin = input
            .records
            .iter()
            .find(|origin| origin.offset == record.offset)
            .unwrap();
        assert_eq!(record.timestamp_ms, origin.timestamp_ms);
        assert_eq!(record.headers, origin.headers);
        assert!(
            !output
                .rejects
                .iter()
                .any(|reject| reject.offset == record.offset)
        );
    }
    for reject in &output.rejects {
        let origin = input
            .records
            .iter()
            .find(|origin| origin.offset == reject.offset)
            .unwrap();
        assert_eq!(reject.key.as_deref(), origin.key);
        assert_eq!(
            reject.value, origin.value,
            "a reject is the record as it entered the chain"
        );
        assert_eq!(reject.timestamp_ms, origin.timestamp_ms);
    }
    output
}

/// Index in its batch and value of each record.
pub fn values(batch: &Batch) -> Vec<(i64, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    batch
        .records
        .iter()
        .map(|record| (record.offset - 100, text(record.value)))
        .collect()
}

/// Index in its batch and reason of each reject.
pub fn rejects(batch: &Batch) -> Vec<(i64, String)> {
    batch
        .rejects
        .iter()
        .map(|reject| (reject.offset - 100, reject.reason.clone()))
        .collect()
}

pub fn indices(pairs: &[(i64, String)]) -> Vec<i64> {
    pairs.iter().map(|(index, _)| *index).collect()
}
