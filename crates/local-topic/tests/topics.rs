//! Topics, positions and tails of one directory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use gristmill_flow::{Sink, SinkError, Source, SourceError, SourceEvent, TopicTail};
use gristmill_local_topic::{
    LocalCounts, LocalError, LocalLog, LocalReader, LocalTail, LocalWriter, ReaderConfig, Start,
    WriterConfig,
};
use gristmill_record::{Batch, Lane, Position, Positions, RecordRef};

fn writer(log: &LocalLog, topic: &str) -> LocalWriter {
    let config = WriterConfig {
        topic: topic.to_owned(),
        dead_letter_topic: None,
        connector: "test".to_owned(),
    };
    LocalWriter::new(log.clone(), config).unwrap()
}

/// Append keyless records with these timestamps.
async fn append(log: &LocalLog, topic: &str, at: i64, timestamps: &[i64]) {
    let from = Some(Position::Offset(at));
    let mut batch = Batch::empty(Lane::new("test", 0), from, Position::Offset(at + 1));
    for timestamp in timestamps {
        let value = timestamp.to_string();
        batch
            .records
            .push(RecordRef::new(0, *timestamp, None, value.as_bytes()));
    }
    writer(log, topic).write(&batch).await.unwrap();
}

#[test]
fn a_topic_keeps_and_gains_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    assert_eq!(log.ensure_topic("edits", 3).unwrap(), 3);
    assert_eq!(log.ensure_topic("edits", 1).unwrap(), 3);
    assert_eq!(log.ensure_topic("other", 1).unwrap(), 1);
    assert_eq!(log.ensure_topic("edits", 5).unwrap(), 5);
    drop(log);
    let log = LocalLog::open(dir.path()).unwrap();
    let topics = log.topics().unwrap();
    let topics: Vec<_> = topics
        .iter()
        .map(|t| (t.name.as_str(), t.ends.len()))
        .collect();
    assert_eq!(topics, [("edits", 5), ("other", 1)]);
    for name in ["", "..", "a/b", "ü", &"x".repeat(250)] {
        assert!(
            matches!(log.ensure_topic(name, 1), Err(LocalError::Name(_))),
            "{name}"
        );
    }
    for partitions in [-1, 0, 1025] {
        let error = log.ensure_topic("new", partitions).unwrap_err();
        assert!(matches!(error, LocalError::Partitions { .. }), "{error}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    log.ensure_topic("edits", 1).unwrap();
    let error = log.read("edist", 0, 0, 1, 1).unwrap_err();
    assert!(matches!(error, LocalError::Unknown { .. }), "{error}");
    for partition in [-1, 1] {
        let error = log.read("edits", partition, 0, 1, 1).unwrap_err();
        assert!(matches!(error, LocalError::Unknown { .. }), "{error}");
    }
    for offset in [-1, 1] {
        let error = log.read("edits", 0, offset, 1, 1).unwrap_err();
        assert!(matches!(error, LocalError::OutOfRange { .. }), "{error}");
    }
    assert!(log.read("edits", 0, 0, 1, 1).unwrap().records.is_empty());
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(LocalLog::open(file), Err(LocalError::Open { .. })));
}

/// Within one process the lock holds as well.
#[test]
fn a_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    let error = LocalLog::open(dir.path()).unwrap_err();
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
    drop(log);
    LocalLog::open(dir.path()).unwrap();
}

#[tokio::test]
async fn a_position_outside_of_the_topic_ends_the_leg() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    log.ensure_topic("edits", 1).unwrap();
    append(&log, "edits", 0, &[1, 2, 3]).await;
    let lane = Lane::new("edits", 0);
    for offset in [-1, 4] {
        let mut reader = LocalReader::new(log.clone(), ReaderConfig::new("edits")).unwrap();
        let from = Positions::from([(lane.clone(), Position::Offset(offset))]);
        let error = reader
            .resume(std::slice::from_ref(&lane), &from)
            .await
            .unwrap_err();
        let SourceError::Fatal(reason) = error else {
            panic!("{error}");
        };
        assert!(
            reason.contains("edits[0]") && reason.contains("0 to 3"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_start_counts_only_without_a_position() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    log.ensure_topic("edits", 1).unwrap();
    append(&log, "edits", 0, &[0, 1, 2, 3]).await;
    let lane = Lane::new("edits", 0);
    let stored = Positions::from([(lane.clone(), Position::Offset(1))]);
    for (start, from, expect) in [
        (Start::Beginning, Positions::new(), 0),
        (Start::Offset(2), Positions::new(), 2),
        (Start::End, Positions::new(), 4),
        (Start::End, stored.clone(), 1),
    ] {
        let stats = std::sync::Arc::new(gristmill_flow::LegStats::default());
        let config = ReaderConfig {
            start,
            stats: stats.clone(),
            ..ReaderConfig::new("edits")
        };
        let mut reader = LocalReader::new(log.clone(), config).unwrap();
        assert!(matches!(reader.next().await, Ok(SourceEvent::Assigned(_))));
        reader
            .resume(std::slice::from_ref(&lane), &from)
            .await
            .unwrap();
        assert_eq!(stats.lag(), [(0, 4 - expect)].into());
        if expect < 4 {
            let Ok(SourceEvent::Batch(batch)) = reader.next().await else {
                panic!("no batch");
            };
            assert_eq!(batch.from, Some(Position::Offset(expect)));
            assert_eq!(stats.lag(), [(0, 0)].into());
        }
    }
}

#[tokio::test]
async fn batches_without_keys_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    log.ensure_topic("edits", 3).unwrap();
    let mut writer = writer(&log, "edits");
    for at in 0..6 {
        let from = Some(Position::Offset(at));
        let mut batch = Batch::empty(Lane::new("test", 0), from, Position::Offset(at + 1));
        batch.records.push(RecordRef::new(0, 0, None, b"x"));
        batch.records.push(RecordRef::new(0, 0, None, b"y"));
        writer.write(&batch).await.unwrap();
    }
    assert_eq!(log.topics().unwrap()[0].ends, [4, 4, 4]);
}

/// Timestamps go back and forth, so records before `since` may follow ones after it.
#[tokio::test]
async fn a_tail_holds_everything_since() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    log.ensure_topic("edits", 1).unwrap();
    for (at, timestamps) in [[10, 20], [50, 30], [40, 35], [60, 55]].iter().enumerate() {
        append(&log, "edits", at as i64, timestamps).await;
    }
    for (since, expect) in [
        (0, vec![10, 20, 50, 30, 40, 35, 60, 55]),
        (20, vec![10, 20, 50, 30, 40, 35, 60, 55]),
        (21, vec![50, 30, 40, 35, 60, 55]),
        (50, vec![50, 30, 40, 35, 60, 55]),
        (51, vec![60, 55]),
        (61, vec![]),
    ] {
        let mut seen = Vec::new();
        let mut tail = LocalTail::new(log.clone(), "edits");
        let visited = tail
            .read(since, &mut |record| seen.push(record.timestamp_ms))
            .await;
        assert_eq!(seen, expect, "since {since}");
        assert_eq!(visited.unwrap(), expect.len() as u64);
    }
    let mut missing = LocalTail::new(log, "not-yet");
    assert_eq!(
        missing.read(0, &mut |_| panic!("a record")).await.unwrap(),
        0
    );
}

#[tokio::test]
async fn a_huge_record_fits() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    log.ensure_topic("edits", 1).unwrap();
    let value = vec![b'x'; 50 << 20];
    let from = Some(Position::Offset(0));
    let mut batch = Batch::empty(Lane::new("test", 0), from, Position::Offset(1));
    batch.records.push(RecordRef::new(0, 0, None, b"before"));
    batch.records.push(RecordRef::new(0, 0, None, &value));
    batch.records.push(RecordRef::new(0, 0, None, b"after"));
    writer(&log, "edits").write(&batch).await.unwrap();
    drop(batch);
    let slice = log.read("edits", 0, 1, 1, 1).unwrap();
    assert_eq!((slice.records.len(), slice.next, slice.end), (1, 2, 3));
    assert_eq!(slice.records.get(0).unwrap().value, value);
}

#[tokio::test]
async fn a_refused_key_leaves_nothing_behind_and_connectors_are_apart() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    let template = gristmill_counter::KeyTemplate::parse("{value}").unwrap();
    let mut counts = LocalCounts::new(log.clone(), "p", "c", template.clone());
    let mut other = LocalCounts::new(log.clone(), "p", "c2", template);
    let mut batch = Batch::empty(Lane::new("edits", 0), None, Position::Offset(3));
    for value in ["a", "", "a"] {
        batch
            .records
            .push(RecordRef::new(0, 0, None, value.as_bytes()));
    }
    let Err(SinkError::Reject(refused)) = counts.write(&batch).await else {
        panic!("not refused");
    };
    assert_eq!(refused.len(), 1);
    assert!(counts.counts().unwrap().is_empty());
    batch.records.clear();
    batch.records.push(RecordRef::new(0, 0, None, b"a"));
    counts.write(&batch).await.unwrap();
    other.write(&batch).await.unwrap();
    assert_eq!(log.counts("p", "c").unwrap(), [("a".to_owned(), 1)].into());
    assert_eq!(log.counts("p", "c2").unwrap(), [("a".to_owned(), 1)].into());
    assert!(log.counts("p", "c3").unwrap().is_empty());
}
