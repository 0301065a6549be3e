//! What a record costs: `extract-type` on the stock SDK, by batch size, against native serde_json
//! that validates the same documents and takes the same field. Ratios are what counts.
//!
//! `cargo bench -p gristmill-smartengine`; events per size with `EVENTS=…`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use gristmill_flow::Transform;
use gristmill_record::{Batch, Lane, Position, RecordRef, Records};
use gristmill_smartbuild::Sources;
use gristmill_smartengine::{Chain, Engine, EngineOptions, Limits, Step};

/// An event in the shape and size of Wikimedia's: `type` after about 400 bytes of 1,060.
fn event(index: usize) -> String {
    let kind = [
        "edit",
        "edit",
        "categorize",
        "log",
        "edit",
        "new",
        "edit",
        "categorize",
    ][index % 8];
    let text = "lorem ipsum dolor sit amet, consetetur sadipscing elitr ".repeat(3);
    format!(
        r#"{{"$schema":"/mediawiki/recentchange/1.0.0","meta":{{"uri":"https://en.wikipedia.org/wiki/Page_{index}","request_id":"5b7c2a1e-{index:08}-4a3c-9d7e-1f2e3d4c5b6a","id":"a1b2c3d4-{index:08}-4e5f-8a9b-0c1d2e3f4a5b","dt":"2026-01-01T00:00:00Z","domain":"en.wikipedia.org","stream":"mediawiki.recentchange","topic":"eqiad.mediawiki.recentchange","partition":0,"offset":{index}}},"id":{index},"type":"{kind}","namespace":0,"title":"Page {index}","title_url":"https://en.wikipedia.org/wiki/Page_{index}","comment":"{text}","timestamp":1767225600,"user":"Someone","bot":false,"minor":true,"length":{{"old":1200,"new":1234}},"revision":{{"old":111111111,"new":222222222}},"server_url":"https://en.wikipedia.org","server_name":"en.wikipedia.org","server_script_path":"/w","wiki":"enwiki","parsedcomment":"{text}"}}"#
    )
}

fn batch(size: usize) -> Batch {
    let mut records = Records::default();
    for index in 0..size {
        records.push(RecordRef::new(
            index as i64,
            0,
            None,
            event(index).as_bytes(),
        ));
    }
    let next = Position::Offset(size as i64);
    Batch {
        records,
        ..Batch::empty(Lane::new("bench", 0), None, next)
    }
}

/// Microseconds a record, the best of five runs over `events` events.
fn micros(events: usize, batch: &Batch, mut run: impl FnMut(Batch)) -> f64 {
    let calls = events.div_ceil(batch.records.len());
    let mut best = f64::MAX;
    let mut reached = 0;
    for _ in 0..5 {
        let inputs: Vec<_> = (0..calls.min(64)).map(|_| batch.clone()).collect();
        let mut done = 0;
        let mut spent = 0.0;
        for input in inputs.iter().cycle().take(calls) {
            // Each goes on where the last one ended, else the chain starts anew for a replay.
            let (from, next) = (reached, reached + input.records.len() as i64);
            let mut input = input.clone();
            input.from = Some(Position::Offset(from));
            input.next = Position::Offset(next);
            reached = next;
            let started = Instant::now();
            run(input);
            spent += started.elapsed().as_secs_f64();
            done += batch.records.len();
        }
        best = f64::min(best, spent * 1e6 / done as f64);
    }
    best
}

fn main() {
    let events = std::env::var("EVENTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(50_000);
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../smartmodules");
    let built = Sources::new(vec![modules])
        .resolve("extract-type", &mut |line| println!("{line}"))
        .unwrap();
    let cache = tempfile::tempdir().unwrap();
    let start = |what: &str| {
        let started = Instant::now();
        let options = EngineOptions {
            cache_dir: Some(cache.path().join("cache")),
        };
        let module = Engine::new(options)
            .unwrap()
            .load("extract-type", &built.wasm)
            .unwrap();
        let step = Step {
            module,
            params: [].into(),
            lookback: None,
            limits: Limits::default(),
        };
        Chain::new(vec![step.clone()]).unwrap();
        println!(
            "start, {what}: {:.1} ms",
            started.elapsed().as_secs_f64() * 1e3
        );
        step
    };
    start("compiled anew");
    let step = start("compiled before");
    let mut chain = Chain::new(vec![step]).unwrap();

    let native = micros(events, &batch(512), |batch| {
        #[derive(serde::Deserialize)]
        struct Event<'a> {
            #[serde(rename = "type")]
            kind: Option<&'a str>,
        }
        for record in batch.records.iter() {
            let event: Event<'_> = serde_json::from_slice(record.value).unwrap();
            black_box(event.kind);
        }
    });
    println!("{} bytes an event", event(100).len());
    println!("native serde_json      {native:6.3} us a record   1.00");
    for size in [512, 128, 32, 8, 1] {
        let each = micros(events, &batch(size), |batch| {
            let size = batch.records.len();
            let output = chain.apply(batch).unwrap();
            assert_eq!(output.records.len(), size);
            black_box(&output);
        });
        println!(
            "extract-type, by {size:4}  {each:6.3} us a record   {:.2}",
            each / native
        );
    }
}
