//! A count leg in embedded mode: what cannot be counted is a dead letter, once, across restarts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use gristmill_counter::KeyTemplate;
use gristmill_flow::{
    CancellationToken, Identity, LaneDeadLetters, Leg, LegStats, Sink, SinkError, header,
};
use gristmill_local_topic::{
    LocalCounts, LocalLog, LocalReader, LocalWriter, ReaderConfig, WriterConfig,
};
use gristmill_record::{Batch, Lane, Position, RecordRef};

fn writer(log: &LocalLog, topic: &str, connector: &str) -> LocalWriter {
    let config = WriterConfig {
        topic: topic.to_owned(),
        dead_letter_topic: None,
        connector: connector.to_owned(),
    };
    LocalWriter::new(log.clone(), config).unwrap()
}

async fn append(log: &LocalLog, at: i64, values: &[&str]) {
    let from = Some(Position::Offset(at));
    let next = Position::Offset(at + values.len() as i64);
    let mut batch = Batch::empty(Lane::new("test", 0), from, next);
    for value in values {
        batch
            .records
            .push(RecordRef::new(0, 0, Some(b"key"), value.as_bytes()));
    }
    writer(log, "edits", "test").write(&batch).await.unwrap();
}

/// One life of the leg, until it has nothing left to read.
async fn live(log: &LocalLog) {
    let stats = Arc::new(LegStats::default());
    let config = ReaderConfig {
        records_max: 2,
        stats: stats.clone(),
        ..ReaderConfig::new("edits")
    };
    let template = KeyTemplate::parse("{value}").unwrap();
    let letters = log.clone();
    let mut leg = Leg {
        name: "counts".to_owned(),
        source: LocalReader::new(log.clone(), config).unwrap(),
        transform: Identity,
        sink: LocalCounts::new(log.clone(), "p", "counts", template),
        dead_letters: LaneDeadLetters::new(move |_lane| {
            let writer = writer(&letters, "edits.dead-letter", "counts");
            async move { Ok::<_, SinkError>(writer) }
        }),
        stats: stats.clone(),
    };
    let stop = CancellationToken::new();
    let (result, ()) = tokio::join!(leg.run(&stop), async {
        while stats.lag().is_empty() || stats.lag().values().any(|lag| *lag > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
    });
    result.unwrap();
}

#[tokio::test]
async fn what_cannot_be_counted_is_kept_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    log.ensure_topic("edits", 1).unwrap();
    log.ensure_topic("edits.dead-letter", 1).unwrap();
    append(&log, 0, &["edit", "", "gristmill:x", "edit", "new"]).await;
    live(&log).await;
    append(&log, 5, &["", "new"]).await;
    live(&log).await;
    live(&log).await;
    let counts = log.counts("p", "counts").unwrap();
    assert_eq!(
        counts,
        [("edit".to_owned(), 2), ("new".to_owned(), 2)].into()
    );
    let letters = log
        .read("edits.dead-letter", 0, 0, 100, 10_000)
        .unwrap()
        .records;
    let offsets: Vec<&[u8]> = letters
        .iter()
        .map(|r| r.headers.get(header::OFFSET).unwrap())
        .collect();
    assert_eq!(offsets, [&b"1"[..], b"2", b"5"]);
    let reason = letters.get(1).unwrap().headers.get(header::REASON).unwrap();
    assert!(String::from_utf8_lossy(reason).contains("gristmill:"));
}
