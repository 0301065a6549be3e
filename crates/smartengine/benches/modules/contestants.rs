//! Who takes part.

use std::hint::black_box;
use std::path::Path;

use gristmill_flow::Transform;
use gristmill_record::{Batch, Lane, Pool, Position, RecordRef};
use gristmill_replay::{Generator, GeneratorOptions};
use gristmill_smartbuild::Sources;
use gristmill_smartengine::{Chain, Engine, EngineOptions, Limits, Step};
use gristmill_smartmodule::json;

use crate::contest::{Contest, Sample, cpu_ns};

/// Records a batch, for the comparison of batch sizes.
pub(crate) const SIZES: &[usize] = &[1, 2, 8, 32, 128, 512];
/// Records that are timed together, whatever the batches: the clock's own cost does not show.
const SLICE: usize = 512;

pub(crate) fn events(count: usize) -> Vec<String> {
    Generator::new(GeneratorOptions::default())
        .take(count)
        .map(|event| event.data)
        .collect()
}

pub(crate) fn enter<'a>(contest: &mut Contest<'a>, events: &'a [String]) {
    let engine = Engine::new(EngineOptions::default()).unwrap();
    for (name, module) in [
        ("sdk filter", "nothing-filter"),
        ("stock filter", "stock-nothing-filter"),
        ("sdk map", "nothing-map"),
        ("stock map", "stock-nothing-map"),
    ] {
        let chain = chain(&engine, module);
        enter_chain(contest, name.to_owned(), chain, events, SLICE);
    }
    for size in SIZES {
        let chain = chain(&engine, "extract-type");
        enter_chain(
            contest,
            format!("extract-type, by {size}"),
            chain,
            events,
            *size,
        );
    }
    let stock = chain(&engine, "stock-extract-type");
    enter_chain(
        contest,
        "stock extract-type".to_owned(),
        stock,
        events,
        SLICE,
    );

    #[derive(serde::Deserialize)]
    struct Event<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<std::borrow::Cow<'a, str>>,
    }
    // All that `extract-type` checks: the grammar to the end, and that all of it is UTF-8.
    contest.enter("native serde_json", move || {
        timed(events, |event| {
            let text = std::str::from_utf8(event).unwrap();
            let event: Event<'_> = serde_json::from_str(text).unwrap();
            black_box(event.kind);
        })
    });
    // `from_slice` looks at no UTF-8 in strings that it skips.
    contest.enter("native serde_json, UTF-8 unchecked", move || {
        timed(events, |event| {
            let event: Event<'_> = serde_json::from_slice(event).unwrap();
            black_box(event.kind);
        })
    });
    let path: json::Path = "type".parse().unwrap();
    contest.enter("native gristmill_smartmodule::json", move || {
        timed(events, |event| {
            black_box(path.find(event).unwrap());
        })
    });
}

fn timed(events: &[String], mut one: impl FnMut(&[u8])) -> Sample {
    let started = cpu_ns();
    events.iter().for_each(|event| one(event.as_bytes()));
    Sample {
        records: events.len(),
        cpu_ns: cpu_ns() - started,
    }
}

/// A chain of one module of `smartmodules/` or its test guests.
pub(crate) fn chain(engine: &Engine, module: &str) -> Chain {
    let wasm = wasm(module);
    let step = Step {
        module: engine.load(module, &wasm).unwrap(),
        params: [].into(),
        lookback: None,
        limits: Limits::default(),
    };
    Chain::new(vec![step]).unwrap()
}

pub(crate) fn wasm(module: &str) -> std::path::PathBuf {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../smartmodules");
    let sources = Sources::new(vec![modules.clone(), modules.join("test-guests")]);
    let built = sources.resolve(module, &mut |line| println!("{line}"));
    built.unwrap().wasm
}

/// Each turn runs all events through `chain`, in batches of `size`.
fn enter_chain<'a>(
    contest: &mut Contest<'a>,
    name: String,
    mut chain: Chain,
    events: &'a [String],
    size: usize,
) {
    let mut feed = Feed::new();
    contest.enter(name, move || {
        let mut cpu = 0;
        for slice in events.chunks(SLICE) {
            let batches: Vec<_> = slice
                .chunks(size)
                .map(|events| feed.batch(events))
                .collect();
            let started = cpu_ns();
            for batch in batches {
                let output = chain.apply(batch).unwrap();
                assert!(output.rejects.is_empty());
                black_box(&output);
            }
            cpu += cpu_ns() - started;
        }
        Sample {
            records: events.len(),
            cpu_ns: cpu,
        }
    });
}

/// Makes batches as a topic's reader does: in buffers that were used before.
pub(crate) struct Feed {
    lane: Lane,
    reached: i64,
    pool: Pool,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self {
            lane: Lane::new("bench", 0),
            reached: 0,
            pool: Pool::new(SLICE),
        }
    }

    /// A batch that goes on where the last one ended, else a chain starts anew for a replay.
    pub(crate) fn batch(&mut self, events: &[String]) -> Batch {
        let from = self.reached;
        let mut records = self.pool.records();
        for event in events {
            let timestamp_ms = 1_767_225_600_000 + self.reached;
            let record = RecordRef::new(self.reached, timestamp_ms, None, event.as_bytes());
            records.push(record);
            self.reached += 1;
        }
        let (from, next) = (Position::Offset(from), Position::Offset(self.reached));
        Batch {
            records,
            ..Batch::empty(self.lane.clone(), Some(from), next)
        }
    }
}
