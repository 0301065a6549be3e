//! What the reader does when the topic or the connection is not as it was.

use std::sync::Arc;
use std::time::Duration;

use gristmill_flow::{LegStats, Source, SourceError, SourceEvent, TopicTail};
use gristmill_fluvio_topic::stand_in::StandIn;
use gristmill_fluvio_topic::{
    FluvioReader, FluvioTail, ReaderConfig, Start, is_missing_topic, read_all, read_before,
    read_new,
};
use gristmill_record::{Batch, Lane, Position, Positions, RecordRef, Records};
use tokio::time::timeout;

use crate::cluster;

const PATIENCE: Duration = Duration::from_secs(30);

fn append(cluster: &StandIn, partition: usize, range: std::ops::Range<i64>) {
    let mut records = Records::default();
    for n in range {
        records.push(RecordRef::new(0, 1_000 + n, None, n.to_string().as_bytes()));
    }
    cluster.append("edits", partition, &records);
}

fn config(cluster: &StandIn) -> ReaderConfig {
    ReaderConfig::new(cluster.config(), "edits")
}

/// Wait for an event that passes `wanted`; errors that pass are waited out, and told to it too.
async fn until<T>(
    source: &mut FluvioReader,
    from: &Positions,
    mut wanted: impl FnMut(&Result<SourceEvent, SourceError>) -> Option<T>,
) -> T {
    let waiting = async {
        loop {
            let event = source.next().await;
            if let Some(found) = wanted(&event) {
                return found;
            }
            match event {
                Ok(SourceEvent::Assigned(lanes)) => source.resume(&lanes, from).await.unwrap(),
                Ok(_) | Err(SourceError::Retry { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(PATIENCE, waiting).await.unwrap()
}

fn a_batch(event: &Result<SourceEvent, SourceError>) -> Option<Batch> {
    match event {
        Ok(SourceEvent::Batch(batch)) => Some(batch.clone()),
        _ => None,
    }
}

fn the_end(event: &Result<SourceEvent, SourceError>) -> Option<String> {
    match event {
        Err(SourceError::Fatal(reason)) => Some(reason.clone()),
        _ => None,
    }
}

fn at(offset: i64) -> Positions {
    let lanes = (0..3).map(|partition| Lane::new("edits", partition));
    lanes.map(|lane| (lane, Position::Offset(offset))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_loses_and_doubles_nothing() {
    let cluster = cluster().await;
    let mut source = FluvioReader::new(ReaderConfig {
        records_max: 3,
        ..config(&cluster)
    });
    let (mut read, mut filled) = (Vec::new(), 0);
    let mut next = 0;
    while read.len() < 200 {
        if filled < 200 && read.len() as i64 + 20 >= filled {
            append(&cluster, 0, filled..filled + 10);
            filled += 10;
        }
        if read.len() % 40 < 3 {
            cluster.cut();
        }
        let batch = until(&mut source, &Positions::new(), a_batch).await;
        assert_eq!(batch.from, Some(Position::Offset(next)));
        next = batch.next.offset().unwrap();
        read.extend(batch.records.iter().map(|record| record.offset));
    }
    assert_eq!(read, (0..200).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_deleted_is_said() {
    let cluster = cluster().await;
    for from in [0, 10, 20] {
        append(&cluster, 1, from..from + 10);
    }
    cluster.trim("edits", 1, 20);
    let mut source = FluvioReader::new(config(&cluster));
    let positions = [(Lane::new("edits", 1), Position::Offset(4))].into();
    let reason = until(&mut source, &positions, the_end).await;
    assert!(
        reason.contains("edits[1]: 16 records, from offset 4 on, were deleted"),
        "{reason}"
    );
    // Who has no position starts at what is there.
    let mut fresh = FluvioReader::new(config(&cluster));
    let batch = until(&mut fresh, &Positions::new(), a_batch).await;
    assert_eq!(batch.from, Some(Position::Offset(20)));
    assert_eq!(batch.records.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_beyond_the_topic_is_waited_for_and_then_explained() {
    let cluster = cluster().await;
    append(&cluster, 0, 0..5);
    let mut source = FluvioReader::new(config(&cluster));
    let mut waited = false;
    let positions = [(Lane::new("edits", 0), Position::Offset(9))].into();
    let reason = until(&mut source, &positions, |event| {
        waited |= matches!(event, Err(SourceError::Retry { reason, .. })
            if reason.contains("its leader ends at 5, before the position 9"));
        the_end(event)
    })
    .await;
    assert!(
        waited && reason.contains("the topic was recreated or truncated"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_added_are_read_from_their_beginning() {
    let cluster = cluster().await;
    let stats = Arc::<LegStats>::default();
    let mut source = FluvioReader::new(ReaderConfig {
        stats: stats.clone(),
        start: Start::Beginning,
        ..config(&cluster)
    });
    append(&cluster, 0, 0..1);
    until(&mut source, &Positions::new(), a_batch).await;
    cluster.create("edits", 4);
    append(&cluster, 3, 0..2);
    let batch = until(&mut source, &Positions::new(), a_batch).await;
    assert_eq!((batch.lane.partition, batch.records.len()), (3, 2));
    assert_eq!(LegStats::get(&stats.partitions), 4);
    assert_eq!(stats.lag()[&3], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_missing_is_waited_for() {
    let cluster = StandIn::start().await.unwrap();
    let mut source = FluvioReader::new(config(&cluster));
    let error = source.next().await.unwrap_err();
    assert!(is_missing_topic(&error), "{error}");
    cluster.create("edits", 1);
    append(&cluster, 0, 0..1);
    let batch = until(&mut source, &Positions::new(), a_batch).await;
    assert_eq!(batch.records.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replicas_do_not_have_is_not_read() {
    let cluster = cluster().await;
    append(&cluster, 0, 0..2);
    cluster.hold("edits", true);
    append(&cluster, 0, 2..4);
    let mut source = FluvioReader::new(config(&cluster));
    let batch = until(&mut source, &Positions::new(), a_batch).await;
    assert_eq!(batch.next, Position::Offset(2));
    assert!(
        timeout(Duration::from_millis(300), source.next())
            .await
            .is_err()
    );
    cluster.hold("edits", false);
    let batch = until(&mut source, &Positions::new(), a_batch).await;
    assert_eq!(batch.next, Position::Offset(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_ahead_is_bounded() {
    let cluster = cluster().await;
    for n in 0..200 {
        append(&cluster, 0, n..n + 1);
    }
    let stats = Arc::<LegStats>::default();
    let mut source = FluvioReader::new(ReaderConfig {
        records_max: 1,
        stats: stats.clone(),
        ..config(&cluster)
    });
    until(&mut source, &Positions::new(), a_batch).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Told when a batch is taken, not when it is read.
    assert_eq!(stats.lag()[&0], 199);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_starts_where_the_time_was_reached() {
    let cluster = cluster().await;
    for from in (0..20_000).step_by(1_000) {
        append(&cluster, 0, from..from + 1_000);
    }
    append(&cluster, 2, 18_990..19_000);
    let mut tail = FluvioTail::new(cluster.config(), "edits");
    let mut seen = Vec::new();
    let visited = tail
        .read(1_000 + 18_995, &mut |record| {
            seen.push((record.timestamp_ms, record.offset));
        })
        .await
        .unwrap();
    assert_eq!(visited as usize, seen.len());
    let late = seen.iter().filter(|(time, _)| *time >= 19_995).count();
    assert_eq!(late, 1_005 + 5);
    assert!(
        visited < 10_000,
        "{visited} of 20010 records for the last 1010"
    );
    let error = FluvioTail::new(cluster.config(), "nothing")
        .read(0, &mut |_| {})
        .await;
    assert!(is_missing_topic(&error.unwrap_err()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_sees_what_is_there_or_what_comes() {
    use std::ops::ControlFlow;
    let cluster = cluster().await;
    append(&cluster, 0, 0..3);
    append(&cluster, 2, 3..5);
    let mut seen = Vec::new();
    let config = cluster.config();
    let mut visit = |partition: i32, record: RecordRef<'_>| {
        seen.push((partition, record.offset));
        match seen.len() {
            4 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    read_all(&config, "edits", &mut visit).await.unwrap();
    assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (2, 0)]);
    let mut before = Vec::new();
    let ends = [(0, 2), (2, 2)].into();
    let last = |end: i64| Some(end - 1);
    read_before(&config, "edits", &ends, (last, 0), |partition, record| {
        before.push((partition, record.offset));
    })
    .await
    .unwrap();
    assert_eq!(before, [(0, 1), (2, 1)]);
    let mut new = Vec::new();
    let mut visit = |partition: i32, record: RecordRef<'_>| {
        new.push((partition, record.offset));
        ControlFlow::Break(())
    };
    let looking = read_new(&config, "edits", &mut visit);
    let writing = async {
        // Whenever it has started to look.
        loop {
            append(&cluster, 1, 7..8);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        result = looking => result.unwrap(),
        () = writing => {}
    }
    assert!(matches!(new.as_slice(), [(1, 0..)]), "{new:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_of_another_kind_is_refused() {
    let cluster = cluster().await;
    let mut source = FluvioReader::new(config(&cluster));
    let token = Position::Token("{}".into());
    let positions = [(Lane::new("edits", 0), token)].into();
    let error = source
        .resume(&[Lane::new("edits", 0)], &positions)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("is no offset"), "{error}");
    let error = source
        .resume(&[Lane::new("other", 0)], &at(0))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("no partition of edits"),
        "{error}"
    );
}
