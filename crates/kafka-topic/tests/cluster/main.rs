//! Readers and writers against a real cluster (`cargo xtask cluster up`).
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests are tests"
)]

mod admin;
mod change;
mod conformance;
mod reader;
mod writer;

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_flow_testing::kafka;
use gristmill_kafka_topic::{
    Compression, Delivery, FollowConfig, Follower, From, KafkaConfig, Oversize, TopicSpec,
    TopicWriter, Until, WriterConfig, ensure_topics,
};
use gristmill_record::{Batch, Lane, Position, RecordRef, Records};

/// Long enough for a busy two-core machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn cluster() -> Option<KafkaConfig> {
    Some(at(kafka::brokers()?))
}

fn at(brokers: Vec<String>) -> KafkaConfig {
    KafkaConfig {
        brokers,
        client_id: "gristmill-test".to_owned(),
        properties: BTreeMap::new(),
    }
}

fn spec(name: &str, partitions: i32) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        partitions,
        replication_factor: 3,
        config: BTreeMap::new(),
    }
}

/// A topic of that many partitions, with a dead-letter and a checkpoint topic beside it.
async fn topic(kafka: &KafkaConfig, stem: &str, partitions: i32) -> String {
    let name = kafka::unique(stem);
    let specs = [
        spec(&name, partitions),
        spec(&format!("{name}.dead-letter"), 1),
        TopicSpec::checkpoint(format!("{name}.checkpoints"), 3),
    ];
    let states = ensure_topics(kafka, &specs).await.unwrap();
    assert!(states.iter().all(|state| state.created), "{states:?}");
    name
}

fn writer_config(kafka: &KafkaConfig, topic: &str) -> WriterConfig {
    WriterConfig {
        kafka: kafka.clone(),
        topic: topic.to_owned(),
        dead_letter_topic: Some(format!("{topic}.dead-letter")),
        checkpoint_topic: format!("{topic}.checkpoints"),
        transactional_id: format!("{topic}.source"),
        compression: Compression::default(),
        delivery: Delivery::default(),
        oversize: Oversize::default(),
    }
}

fn writer(kafka: &KafkaConfig, topic: &str) -> TopicWriter {
    TopicWriter::open(writer_config(kafka, topic)).unwrap()
}

fn stream() -> Lane {
    Lane::new("stream", 0)
}

fn token(n: usize) -> Position {
    Position::Token(format!("{{\"id\":{n}}}").into())
}

/// Batch `n` of the stream: each record's key and value are its number.
fn batch(n: usize, numbers: std::ops::Range<usize>) -> Batch {
    let mut records = Records::default();
    for number in numbers {
        let text = number.to_string();
        records.push(RecordRef::new(
            number as i64,
            1_700_000_000_000 + number as i64,
            Some(text.as_bytes()),
            text.as_bytes(),
        ));
    }
    Batch {
        lane: stream(),
        from: (n > 0).then(|| token(n)),
        next: token(n + 1),
        records,
        rejects: Vec::new(),
    }
}

/// A record with everything it has.
type Owned = (i64, Option<Vec<u8>>, Vec<u8>, Vec<(String, Vec<u8>)>);

fn owned(record: RecordRef<'_>) -> Owned {
    let headers = record
        .headers
        .iter()
        .map(|(n, v)| (n.to_owned(), v.to_vec()))
        .collect();
    (
        record.timestamp_ms,
        record.key.map(<[u8]>::to_vec),
        record.value.to_vec(),
        headers,
    )
}

/// Everything committed to a topic so far.
async fn everything(kafka: &KafkaConfig, topic: &str) -> Vec<Owned> {
    let config = FollowConfig {
        kafka: kafka.clone(),
        topic: topic.to_owned(),
        from: From::Beginning,
        until: Until::End,
    };
    let mut follower = Follower::open(config).await.unwrap();
    let mut all = Vec::new();
    while let Some(batch) = follower.next().await.unwrap() {
        all.extend(batch.records.iter().map(owned));
    }
    all
}

/// The numbers that [`batch`] made, sorted.
async fn numbers(kafka: &KafkaConfig, topic: &str) -> Vec<usize> {
    let all = everything(kafka, topic).await;
    let mut numbers: Vec<usize> = all
        .iter()
        .map(|record| String::from_utf8_lossy(&record.2).parse().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers
}
