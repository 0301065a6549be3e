//! The suite of `flow-testing` on a real cluster's topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use gristmill_flow::LegStats;
use gristmill_flow_testing::conformance::{self, SinkHarness, SourceHarness};
use gristmill_kafka_topic::{KafkaConfig, ReaderConfig, TopicReader, TopicWriter};
use gristmill_record::{Position, RecordRef, Records};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::{PATIENCE, cluster, everything, topic, writer};

struct Written {
    kafka: KafkaConfig,
    topic: String,
    tokens: bool,
}

impl SinkHarness for Written {
    type Sink = TopicWriter;

    async fn open(&mut self) -> TopicWriter {
        writer(&self.kafka, &self.topic)
    }

    async fn effect(&mut self) -> BTreeMap<String, u64> {
        let mut effect = BTreeMap::new();
        for (_, _, value, _) in everything(&self.kafka, &self.topic).await {
            *effect.entry(String::from_utf8(value).unwrap()).or_default() += 1;
        }
        effect
    }

    async fn dead_letters(&mut self) -> Records {
        let mut records = Records::default();
        let letters = everything(&self.kafka, &format!("{}.dead-letter", self.topic)).await;
        for (at, (timestamp_ms, key, value, headers)) in letters.iter().enumerate() {
            let record = RecordRef::new(at as i64, *timestamp_ms, key.as_deref(), value);
            let headers = headers.iter().map(|(n, v)| (n.as_str(), v.as_slice()));
            records.push_with_headers(record, headers);
        }
        records
    }

    fn position(&self, n: i64) -> Position {
        if self.tokens {
            Position::Token(format!("[{{\"offset\":{n}}}]").into())
        } else {
            Position::Offset(n)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_keeps_every_promise_of_a_sink() {
    let Some(kafka) = cluster() else { return };
    for tokens in [false, true] {
        conformance::sink(async |case| Written {
            topic: topic(&kafka, case, 3).await,
            kafka: kafka.clone(),
            tokens,
        })
        .await;
    }
}

struct Read {
    kafka: KafkaConfig,
    topic: String,
    producer: BaseProducer,
}

impl SourceHarness for Read {
    type Source = TopicReader;

    async fn open(&mut self) -> TopicReader {
        let group = format!("{}.group", self.topic);
        let stats = Arc::<LegStats>::default();
        let mut config = ReaderConfig::new(self.kafka.clone(), &self.topic, group, stats);
        config.batch_records_max = 7;
        TopicReader::open(config).unwrap()
    }

    /// Without transactions: the suite expects the n-th value at offset n.
    async fn append(&mut self, partition: i32, values: &[String]) {
        for value in values {
            let record = BaseRecord::<(), str>::to(&self.topic)
                .partition(partition)
                .payload(value);
            self.producer.send(record).unwrap();
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    fn partitions(&self) -> i32 {
        3
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_keeps_every_promise_of_a_source() {
    let Some(kafka) = cluster() else { return };
    conformance::source(async |case| Read {
        topic: topic(&kafka, case, 3).await,
        producer: ClientConfig::new()
            .set("bootstrap.servers", kafka.brokers.join(","))
            .set("enable.idempotence", "true")
            .create()
            .unwrap(),
        kafka: kafka.clone(),
    })
    .await;
}
