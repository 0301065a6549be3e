//! The floor of the ingest leg: the same records out of memory into the topic.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::{Outcome, Produce};
use crate::events::{Keyed, Records};
use crate::process::{now_ns, peak_bytes};

const TIMEOUT: Duration = Duration::from_secs(60);
/// The bounds of a transaction are those of the shipped pipeline.
const TRANSACTION_RECORDS: usize = 10_000;
const TRANSACTION_BYTES: usize = 4 << 20;
const TRANSACTION_AGE: Duration = Duration::from_millis(200);

pub(super) fn run(args: &Produce) -> Result<Outcome> {
    let mut keyed = Keyed::new(Records::default());
    let mut records: Vec<(Option<String>, String, i64)> = Vec::new();
    for _ in 0..args.records {
        keyed.advance();
        let event = &keyed.event;
        records.push((keyed.key.clone(), event.data.clone(), event.timestamp_ms));
    }
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &args.brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5");
    if args.transactional {
        config.set("transactional.id", format!("floor-{}", args.topic));
    }
    let producer: BaseProducer = config.create()?;
    if args.transactional {
        producer.init_transactions(TIMEOUT)?;
    }
    let (first_ns, mut bytes) = (now_ns(), 0);
    let (mut gathered, mut gathered_bytes, mut began) = (0, 0, Instant::now());
    for (key, value, timestamp_ms) in &records {
        if args.transactional && gathered == 0 {
            producer.begin_transaction()?;
            began = Instant::now();
        }
        let mut record: BaseRecord<'_, str, str> = BaseRecord::to(&args.topic).payload(value);
        record.key = key.as_deref();
        record.timestamp = Some(*timestamp_ms);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    record = back;
                    producer.poll(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error).context("send"),
            }
        }
        producer.poll(Duration::ZERO);
        bytes += value.len() as u64;
        gathered += 1;
        gathered_bytes += value.len();
        let full = gathered >= TRANSACTION_RECORDS
            || gathered_bytes >= TRANSACTION_BYTES
            || began.elapsed() > TRANSACTION_AGE;
        if args.transactional && full {
            producer.commit_transaction(TIMEOUT)?;
            (gathered, gathered_bytes) = (0, 0);
        }
    }
    if args.transactional && gathered > 0 {
        producer.commit_transaction(TIMEOUT)?;
    }
    producer.flush(TIMEOUT)?;
    ensure!(producer.in_flight_count() == 0, "not all were delivered");
    Ok(Outcome {
        first_ns,
        last_ns: now_ns(),
        records: args.records,
        bytes,
        peak_bytes: peak_bytes(std::process::id()),
    })
}
