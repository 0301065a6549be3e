//! Records a second through the writer and the reader, on a topic of its own:
//! `cargo run -p gristmill-kafka-topic --example throughput -- BROKERS [RECORDS [TOPIC]]`;
//! with TOPIC it only reads, so that the memory it prints is the reader's.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement, run by hand"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_flow::{LegStats, Sink, Source, SourceEvent};
use gristmill_kafka_topic::{
    Compression, Delivery, KafkaConfig, Oversize, ReaderConfig, TopicReader, TopicSpec,
    TopicWriter, WriterConfig, ensure_topics,
};
use gristmill_record::{Batch, Lane, Position, Positions, RecordRef, Records};

const BATCH: usize = 2000;

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let brokers = args.next().expect("BROKERS, comma-separated");
    let count: usize = args.next().map_or(300_000, |text| text.parse().unwrap());
    let kafka = KafkaConfig {
        brokers: brokers.split(',').map(str::to_owned).collect(),
        client_id: "throughput".to_owned(),
        properties: BTreeMap::new(),
    };
    if let Some(topic) = args.next() {
        return read(&kafka, &topic, count).await;
    }
    for delivery in [Delivery::AtLeastOnce, Delivery::ExactlyOnce] {
        let stamp = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let topic = format!("throughput-{stamp}");
        write(&kafka, &topic, delivery, count).await;
        read(&kafka, &topic, count).await;
        println!("topic {topic}");
    }
}

async fn write(kafka: &KafkaConfig, topic: &str, delivery: Delivery, count: usize) {
    let spec = TopicSpec {
        name: topic.to_owned(),
        partitions: 3,
        replication_factor: 3,
        config: BTreeMap::new(),
    };
    let checkpoints = format!("{topic}.checkpoints");
    ensure_topics(kafka, &[spec, TopicSpec::checkpoint(&checkpoints, 3)])
        .await
        .unwrap();
    let mut writer = TopicWriter::open(WriterConfig {
        kafka: kafka.clone(),
        topic: topic.to_owned(),
        dead_letter_topic: None,
        checkpoint_topic: checkpoints,
        transactional_id: topic.to_owned(),
        compression: Compression::Lz4,
        delivery,
        oversize: Oversize::Reject,
    })
    .unwrap();
    let lane = Lane::new("stream", 0);
    writer.positions(std::slice::from_ref(&lane)).await.unwrap();
    // As compressible as real JSON, by about four: three quarters of each value repeat.
    let mut value: Vec<u8> = (0..1000).map(|i: u32| b' ' + (i * i % 90) as u8).collect();
    let mut state = 1_u32;
    let began = Instant::now();
    for n in 0..count / BATCH {
        let mut records = Records::with_capacity(BATCH, BATCH * 1010);
        for i in 0..BATCH {
            let number = n * BATCH + i;
            let key = number.to_string();
            for byte in &mut value[750..] {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (state >> 24) as u8;
            }
            records.push(RecordRef::new(
                number as i64,
                1_700_000_000_000,
                Some(key.as_bytes()),
                &value,
            ));
        }
        let batch = Batch {
            lane: lane.clone(),
            from: None,
            next: Position::Offset(n as i64),
            records,
            rejects: Vec::new(),
        };
        writer.write(&batch).await.unwrap();
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!("write {delivery:?}: {rate:.0} records/s in batches of {BATCH}");
    writer.close().await;
}

async fn read(kafka: &KafkaConfig, topic: &str, count: usize) {
    let stats = Arc::new(LegStats::default());
    let began = Instant::now();
    let mut reader =
        TopicReader::open(ReaderConfig::new(kafka.clone(), topic, topic, stats)).unwrap();
    let (mut seen, mut first) = (0, began);
    while seen < count {
        match tokio::time::timeout(Duration::from_secs(30), reader.next())
            .await
            .unwrap()
            .unwrap()
        {
            SourceEvent::Assigned(lanes) => {
                first = Instant::now();
                reader.resume(&lanes, &Positions::new()).await.unwrap();
            }
            SourceEvent::Batch(batch) => seen += batch.records.len(),
            _ => {}
        }
    }
    let (rate, whole) = (
        count as f64 / first.elapsed().as_secs_f64(),
        began.elapsed(),
    );
    println!("read: {rate:.0} records/s after joining the group, {whole:.1?} in all");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!(
        "{}",
        status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap_or_default()
    );
    reader.close().await;
}
