//! Figures, not guarantees: `cargo test --release -p gristmill-replay --test throughput -- --ignored --nocapture`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it prints figures"
)]

mod client;

use std::{hint::black_box, time::Instant};

use client::{get, start};
use gristmill_replay::{AtEnd, Event, Generator, GeneratorOptions, Source, Tally};
use http_body_util::BodyExt as _;

const EVENTS: u64 = 1_000_000;

#[test]
#[ignore = "a measurement, for release builds"]
fn generator() {
    let mut generator = Generator::new(GeneratorOptions::default());
    let mut event = Event::default();
    let begin = Instant::now();
    let mut bytes = 0;
    for _ in 0..EVENTS {
        generator.fill(&mut event);
        bytes += black_box(&event).data.len();
    }
    report("generated", begin, bytes);
    let begin = Instant::now();
    assert_eq!(
        Tally::of(&GeneratorOptions::default(), EVENTS).events,
        EVENTS
    );
    report("tallied", begin, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for release builds"]
async fn server() {
    let options = GeneratorOptions::default();
    let source = Source::Generate {
        options,
        events: Some(EVENTS),
    };
    drain("generated and served", source).await;

    let path =
        std::env::temp_dir().join(format!("gristmill-throughput-{}.sse", std::process::id()));
    let source = Source::Generate {
        options: GeneratorOptions::default(),
        events: Some(EVENTS),
    };
    let server = start(source, |it| it.at_end = AtEnd::Close).await;
    let body = get(&server.url(), None)
        .await
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    std::fs::write(&path, &body).unwrap();
    drain("recording served", Source::Sse(path.clone())).await;
    std::fs::remove_file(path).unwrap();
}

async fn drain(what: &str, source: Source) {
    let begin = Instant::now();
    let server = start(source, |it| it.at_end = AtEnd::Close).await;
    println!("{what}: opened in {:.2?}", begin.elapsed());
    let mut body = get(&server.url(), None).await.into_body();
    let begin = Instant::now();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.unwrap().into_data().unwrap().len();
    }
    report(what, begin, bytes);
    assert_eq!(server.stats().events, EVENTS);
}

fn report(what: &str, begin: Instant, bytes: usize) {
    let seconds = begin.elapsed().as_secs_f64();
    let (rate, volume) = (EVENTS as f64 / seconds, bytes as f64 / 1e6 / seconds);
    println!("{what}: {rate:.0} events/s, {volume:.0} MB/s");
}
