//! The seams on a stand-in for a cluster that speaks Fluvio's protocol.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stand_in {
    mod conformance;
    mod crashes;
    mod reader;
    mod writer;
}

use gristmill_fluvio_topic::stand_in::StandIn;
use gristmill_fluvio_topic::{Compression, FluvioWriter, WriterConfig};
use gristmill_record::{Batch, Lane, Position, RecordRef, Records};

/// A cluster with `edits` of three partitions and its dead-letter topic.
async fn cluster() -> StandIn {
    let cluster = StandIn::start().await.unwrap();
    cluster.create("edits", 3);
    cluster.create("edits-dead-letter", 1);
    cluster
}

fn config(cluster: &StandIn) -> WriterConfig {
    WriterConfig {
        fluvio: cluster.config(),
        topic: "edits".to_owned(),
        dead_letter_topic: Some("edits-dead-letter".to_owned()),
        id: "wikipedia.recentchange".to_owned(),
        replicas: 1,
        compression: Compression::None,
        settle: std::time::Duration::ZERO,
    }
}

fn writer(cluster: &StandIn) -> FluvioWriter {
    FluvioWriter::new(config(cluster))
}

fn lane() -> Lane {
    Lane::new("recentchange", 0)
}

/// A batch from offset `from` on, a record for each value, which is its key too.
fn batch(from: i64, values: &[&str]) -> Batch {
    let next = from + values.len() as i64;
    let mut batch = Batch::empty(lane(), Some(Position::Offset(from)), Position::Offset(next));
    for (offset, value) in (from..).zip(values) {
        let (key, value) = (value.as_bytes(), value.as_bytes());
        batch.records.push(RecordRef::new(
            offset,
            1_700_000_000_000 + offset,
            Some(key),
            value,
        ));
    }
    batch
}

/// All values of a topic, sorted.
fn values(cluster: &StandIn, topic: &str) -> Vec<String> {
    let partitions = cluster.topics()[topic];
    let of = |records: Records| -> Vec<String> {
        let text = |record: RecordRef<'_>| String::from_utf8(record.value.to_vec()).unwrap();
        records.iter().map(text).collect()
    };
    let mut values: Vec<String> = (0..partitions)
        .flat_map(|partition| of(cluster.records(topic, partition)))
        .collect();
    values.sort();
    values
}
