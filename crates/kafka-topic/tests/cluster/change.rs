//! Topics that change under a running reader, and brokers that cannot do what a writer needs.

use std::sync::Arc;
use std::time::Duration;

use gristmill_flow::{LegStats, Sink, SinkError, Source, SourceError, SourceEvent};
use gristmill_flow_testing::kafka;
use gristmill_kafka_topic::{Delivery, KafkaConfig, ReaderConfig, TopicReader, ensure_topics};
use gristmill_record::Positions;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::time::{Instant, timeout};

use crate::{PATIENCE, at, batch, cluster, spec, stream, topic, writer, writer_config};

fn reader(kafka: &KafkaConfig, topic: &str) -> TopicReader {
    let mut kafka = kafka.clone();
    kafka.properties.insert(
        "topic.metadata.refresh.interval.ms".to_owned(),
        "500".to_owned(),
    );
    let group = format!("{topic}.group");
    TopicReader::open(ReaderConfig::new(
        kafka,
        topic,
        group,
        Arc::<LegStats>::default(),
    ))
    .unwrap()
}

fn admin(kafka: &KafkaConfig) -> AdminClient<DefaultClientContext> {
    let brokers = kafka.brokers.join(",");
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .unwrap()
}

/// Values to one partition, without transactions: one offset each.
fn append(kafka: &KafkaConfig, topic: &str, partition: i32, values: &[&str]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.brokers.join(","))
        .create()
        .unwrap();
    for value in values {
        let record = BaseRecord::<(), str>::to(topic).partition(partition);
        producer.send(record.payload(value)).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// What a leg does, with a sink that takes everything, until `count` records came in all.
async fn read(
    reader: &mut TopicReader,
    stored: &mut Positions,
    seen: &mut Vec<String>,
    count: usize,
) -> Result<(), SourceError> {
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < count {
        assert!(Instant::now() < deadline, "{} of {count}", seen.len());
        let Ok(event) = timeout(Duration::from_secs(1), reader.next()).await else {
            continue;
        };
        match event {
            Ok(SourceEvent::Assigned(lanes)) => loop {
                let result = match reader.topic_id().await {
                    Ok(_) => reader.resume(&lanes, stored).await,
                    Err(error) => Err(error),
                };
                match result {
                    Err(SourceError::Retry { after, .. }) => tokio::time::sleep(after).await,
                    result => break result?,
                }
            },
            Ok(SourceEvent::Batch(batch)) => {
                let values = batch.records.iter().map(|record| record.value);
                seen.extend(values.map(|value| String::from_utf8_lossy(value).into_owned()));
                stored.insert(batch.lane, batch.next);
            }
            Ok(SourceEvent::Revoked(_)) => {}
            Ok(SourceEvent::End) => panic!("a topic has no end"),
            Err(SourceError::Retry { after, .. }) => tokio::time::sleep(after).await,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_are_read_from_their_beginning() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "grows", 1).await;
    append(&kafka, &topic, 0, &["a", "b"]);
    let (mut stored, mut seen) = (Positions::new(), Vec::new());
    let mut reader = reader(&kafka, &topic);
    read(&mut reader, &mut stored, &mut seen, 2).await.unwrap();
    let more = NewPartitions::new(&topic, 3);
    let results = admin(&kafka)
        .create_partitions(&[more], &AdminOptions::new())
        .await
        .unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    // Records are there before the reader knows of the partitions.
    append(&kafka, &topic, 2, &["c", "d"]);
    append(&kafka, &topic, 1, &["e"]);
    append(&kafka, &topic, 0, &["f"]);
    read(&mut reader, &mut stored, &mut seen, 6).await.unwrap();
    seen.sort_unstable();
    assert_eq!(seen, ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(stored.len(), 3);
}

/// Delete the topic and create it again under its name.
async fn recreate(kafka: &KafkaConfig, topic: &str) {
    let deleted = admin(kafka)
        .delete_topics(&[topic], &AdminOptions::new())
        .await
        .unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    loop {
        // The name is free once every broker has forgotten the old topic.
        let states = ensure_topics(kafka, &[spec(topic, 1)]).await.unwrap();
        if states[0].created {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Its offsets say nothing there: the new topic is longer than the old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_and_filled_beyond_the_position_is_another_one() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "refilled", 1).await;
    append(&kafka, &topic, 0, &["a", "b"]);
    let (mut stored, mut seen) = (Positions::new(), Vec::new());
    let mut first = reader(&kafka, &topic);
    read(&mut first, &mut stored, &mut seen, 2).await.unwrap();
    let id = first.topic_id().await.unwrap();
    assert!(id.is_some(), "this broker gives ids");
    assert_eq!(first.topic_id().await.unwrap(), id);

    recreate(&kafka, &topic).await;
    append(&kafka, &topic, 0, &["u", "v", "w", "x"]);
    // Whoever reads on is told, at the latest when the ids are compared.
    let error = read(&mut first, &mut stored, &mut seen, usize::MAX)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, SourceError::Fatal(r) if r.contains("was recreated")),
        "{error:?}"
    );
    drop(first);
    // And whoever comes later has the id to compare.
    let mut second = reader(&kafka, &topic);
    assert_ne!(second.topic_id().await.unwrap(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_under_a_reader_ends_it_with_the_remedy() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "anew", 1).await;
    append(&kafka, &topic, 0, &["a", "b", "c"]);
    let (mut stored, mut seen) = (Positions::new(), Vec::new());
    let mut reader = reader(&kafka, &topic);
    read(&mut reader, &mut stored, &mut seen, 3).await.unwrap();
    recreate(&kafka, &topic).await;
    append(&kafka, &topic, 0, &["x"]);
    let error = read(&mut reader, &mut stored, &mut seen, 4)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, SourceError::Fatal(r) if r.contains("recreated") && r.contains("delete")),
        "{error:?}"
    );
    assert_eq!(seen, ["a", "b", "c"], "nothing of the new topic was taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_transactions_is_refused_with_the_remedy() {
    // No broker of today is without them; this one answers as an old one does.
    let old = MockCluster::new(1).unwrap();
    for name in ["t", "t.dead-letter", "t.checkpoints"] {
        old.create_topic(name, 1, 1).unwrap();
    }
    let unsupported = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION;
    old.request_errors(RDKafkaApiKey::InitProducerId, &[unsupported; 100]);
    let kafka = at(vec![old.bootstrap_servers()]);
    let error = writer(&kafka, "t")
        .positions(&[stream()])
        .await
        .unwrap_err();
    assert!(
        matches!(&error, SinkError::Fatal(r) if r.contains("has no transactions")
            && r.contains("delivery: at-least-once")),
        "{error:?}"
    );
}

/// On the user's word, and with nothing of transactions: neither fence nor `transactional.id`.
#[tokio::test(flavor = "multi_thread")]
async fn at_least_once_needs_no_transactions() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "untransacted", 1).await;
    if !kafka::deny_transactions(&topic) {
        return;
    }
    let mut config = writer_config(&kafka, &topic);
    let error = writer(&kafka, &topic)
        .positions(&[stream()])
        .await
        .unwrap_err();
    assert!(
        matches!(&error, SinkError::Fatal(r) if r.contains("transactional id")),
        "{error:?}"
    );
    config.delivery = Delivery::AtLeastOnce;
    let mut writer = gristmill_kafka_topic::TopicWriter::open(config).unwrap();
    writer.positions(&[stream()]).await.unwrap();
    writer.write(&batch(0, 0..10)).await.unwrap();
    let expected: Vec<usize> = (0..10).collect();
    assert_eq!(crate::numbers(&kafka, &topic).await, expected);
}

/// One timeout for the whole transaction is enough: the others follow it.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_transaction_timeout_is_taken() {
    let Some(mut kafka) = cluster() else { return };
    let topic = topic(&kafka, "short", 1).await;
    kafka
        .properties
        .insert("transaction.timeout.ms".to_owned(), "5000".to_owned());
    let mut writer = writer(&kafka, &topic);
    writer.positions(&[stream()]).await.unwrap();
    writer.write(&batch(0, 0..10)).await.unwrap();
    assert_eq!(crate::numbers(&kafka, &topic).await.len(), 10);
}
