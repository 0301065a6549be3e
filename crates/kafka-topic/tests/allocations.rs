//! No allocation a record on the way from the topic into counts.
//!
//! Every allocation of this process is counted while records go through the reader's thread, its
//! queue and the counter. (librdkafka's own are C's, and not seen here.) A binary of its own: the
//! allocator is the process's.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests are tests"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use gristmill_counter::{Coalescer, KeyTemplate};
use gristmill_flow::{LegStats, Source, SourceEvent};
use gristmill_flow_testing::kafka;
use gristmill_kafka_topic::{KafkaConfig, ReaderConfig, TopicReader, TopicSpec, ensure_topics};
use gristmill_record::Positions;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::time::timeout;

const RECORDS: usize = 60_000;
/// After so many, buffers have their sizes and the counter knows its keys.
const WARM_UP: usize = 20_000;
const PATIENCE: Duration = Duration::from_secs(60);

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is left to the system's allocator; counting changes nothing of what it is given or
// gives.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from the system's allocator with this layout.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn fill(brokers: &[String], topic: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers.join(","))
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    let value = "v".repeat(200);
    let types = ["edit", "log", "new", "categorize"];
    for number in 0..RECORDS {
        let headers = OwnedHeaders::new()
            .insert(Header {
                key: "sse-id",
                value: Some(&value),
            })
            .insert(Header {
                key: "sse-event",
                value: Some("message"),
            });
        let key = types[number % types.len()];
        let mut record = BaseRecord::to(topic)
            .key(key)
            .payload(value.as_bytes())
            .partition((number % 3) as i32)
            .headers(headers);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(10));
        }
    }
    producer.flush(PATIENCE).unwrap();
}

/// Allocations a record from topic to counts, once all is warm.
async fn allocations_a_record(kafka: &KafkaConfig, topic: &str, headers: bool) -> f64 {
    let group = format!("{topic}.{headers}");
    let stats = Arc::new(LegStats::default());
    let mut config = ReaderConfig::new(kafka.clone(), topic, group, stats);
    config.headers = headers;
    let mut reader = TopicReader::open(config).unwrap();
    let mut counter = Coalescer::new(KeyTemplate::parse("{key}").unwrap());
    let (mut seen, mut counted) = (0, 0);
    let mut warm = None;
    while seen < RECORDS {
        match timeout(PATIENCE, reader.next()).await.unwrap().unwrap() {
            SourceEvent::Assigned(lanes) => {
                reader.resume(&lanes, &Positions::new()).await.unwrap();
            }
            SourceEvent::Batch(batch) => {
                let first = batch.records.get(0);
                let has_headers = first.is_some_and(|record| !record.headers.is_empty());
                assert_eq!(has_headers, headers && !batch.records.is_empty());
                counter.count(&batch);
                counted += counter.increments().map(|(_, n)| n as usize).sum::<usize>();
                seen += batch.records.len();
            }
            event => panic!("{event:?}"),
        }
        if warm.is_none() && seen >= WARM_UP {
            warm = Some((seen, ALLOCATIONS.load(Relaxed)));
        }
    }
    let (warm_seen, before) = warm.unwrap();
    let allocations = ALLOCATIONS.load(Relaxed) - before;
    reader.close().await;
    assert_eq!(counted, RECORDS);
    allocations as f64 / (seen - warm_seen) as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn no_record_costs_an_allocation() {
    let Some(brokers) = kafka::brokers() else {
        return;
    };
    let kafka = KafkaConfig {
        brokers: brokers.clone(),
        client_id: "gristmill-test".to_owned(),
        properties: BTreeMap::new(),
    };
    let topic = kafka::unique("allocations");
    let spec = TopicSpec {
        name: topic.clone(),
        partitions: 3,
        replication_factor: 3,
        config: BTreeMap::new(),
    };
    ensure_topics(&kafka, &[spec]).await.unwrap();
    let to = topic.clone();
    tokio::task::spawn_blocking(move || fill(&brokers, &to))
        .await
        .unwrap();
    for headers in [false, true] {
        let each = allocations_a_record(&kafka, &topic, headers).await;
        eprintln!("allocations a record, headers {headers}: {each:.4}");
        // A few a batch of hundreds are what is left.
        assert!(each < 0.05, "{each} allocations a record");
    }
}
