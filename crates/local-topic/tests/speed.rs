//! Measurements: `cargo test --release -p gristmill-local-topic --test speed -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "what a measurement says")]

use std::time::{Duration, Instant};

use gristmill_counter::KeyTemplate;
use gristmill_flow::{Sink, Source, SourceEvent};
use gristmill_local_topic::{
    LocalCounts, LocalLog, LocalReader, LocalWriter, ReaderConfig, WriterConfig,
};
use gristmill_record::{Batch, Lane, Position, Positions, RecordRef};

const RECORDS: i64 = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn records_per_second() {
    for size in [3, 500, 2000] {
        let dir = tempfile::tempdir().unwrap();
        let log = LocalLog::open(dir.path().join("data")).unwrap();
        log.ensure_topic("edits", 3).unwrap();
        let config = WriterConfig {
            topic: "edits".to_owned(),
            dead_letter_topic: None,
            connector: "speed".to_owned(),
        };
        let mut writer = LocalWriter::new(log.clone(), config).unwrap();
        let records = RECORDS.min(size * 500);
        let mut latest = Vec::new();
        let started = Instant::now();
        for at in (0..records).step_by(size as usize) {
            let batch = batch(at, size);
            let begun = Instant::now();
            writer.write(&batch).await.unwrap();
            latest.push(begun.elapsed());
        }
        report("write", size, records, started.elapsed());
        latest.sort();
        let (p50, p99) = (latest[latest.len() / 2], latest[latest.len() * 99 / 100]);
        eprintln!("  a commit: p50 {p50:?}, p99 {p99:?}");
        let bytes = std::fs::metadata(dir.path().join("data/topics.redb"))
            .unwrap()
            .len();
        eprintln!(
            "  on disk: {:.2} bytes a byte",
            bytes as f64 / (records * 1000) as f64
        );
        let mut reader = LocalReader::new(log.clone(), ReaderConfig::new("edits")).unwrap();
        let mut counts =
            LocalCounts::new(log.clone(), "p", "c", KeyTemplate::parse("{key}").unwrap());
        let (mut read, mut counting) = (0, Duration::ZERO);
        let started = Instant::now();
        let end = log.topics().unwrap()[0].ends.iter().sum::<i64>();
        while read < end {
            match reader.next().await.unwrap() {
                SourceEvent::Assigned(lanes) => {
                    reader.resume(&lanes, &Positions::new()).await.unwrap();
                }
                SourceEvent::Batch(batch) => {
                    read += batch.records.len() as i64;
                    let begun = Instant::now();
                    counts.write(&batch).await.unwrap();
                    counting += begun.elapsed();
                }
                other => panic!("{other:?}"),
            }
        }
        report("read", size, read, started.elapsed() - counting);
        report("count", size, read, counting);
    }
}

/// A copy of the open files is what a crash leaves: opening it repairs them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn opening_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path().join("data")).unwrap();
    log.ensure_topic("edits", 3).unwrap();
    let config = WriterConfig {
        topic: "edits".to_owned(),
        dead_letter_topic: None,
        connector: "speed".to_owned(),
    };
    let mut writer = LocalWriter::new(log.clone(), config).unwrap();
    for at in (0..300_000).step_by(2000) {
        writer.write(&batch(at, 2000)).await.unwrap();
    }
    let crashed = dir.path().join("crashed");
    std::fs::create_dir(&crashed).unwrap();
    for file in ["topics.redb", "counts.redb"] {
        std::fs::copy(dir.path().join("data").join(file), crashed.join(file)).unwrap();
    }
    let started = Instant::now();
    let log = LocalLog::open(crashed).unwrap();
    eprintln!("300 MB after a crash: open in {:?}", started.elapsed());
    assert_eq!(log.topics().unwrap()[0].ends.iter().sum::<i64>(), 300_000);
}

fn batch(at: i64, size: i64) -> Batch {
    let (from, next) = (Position::Offset(at), Position::Offset(at + size));
    let mut batch = Batch::empty(Lane::new("speed", 0), Some(from), next);
    let value = [b'x'; 1000];
    for n in at..at + size {
        let key = (n % 100).to_string();
        batch
            .records
            .push(RecordRef::new(n, n, Some(key.as_bytes()), &value));
    }
    batch
}

fn report(what: &str, size: i64, records: i64, time: Duration) {
    let rate = records as f64 / time.as_secs_f64();
    eprintln!("{what:>6}, written in batches of {size:>4}: {rate:>9.0} records/s");
}
