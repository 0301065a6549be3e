//! The floor of the count leg: librdkafka's own batch call, each record looked at and dropped.

use anyhow::{Result, bail};
use rdkafka::bindings as rdsys;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{Outcome, Topic};
use crate::process::{now_ns, peak_bytes};

/// Messages taken by one call.
const BATCH: usize = 1000;

/// A consumer of the whole topic from its beginning.
pub(crate) fn consumer(topic: &Topic) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &topic.brokers)
        .set("group.id", "floor")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("enable.auto.commit", "false")
        // The default of a second is how long fetching stops whenever the reader falls behind.
        .set("fetch.queue.backoff.ms", "20")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..topic.partitions {
        partitions.add_partition_offset(&topic.topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    Ok(consumer)
}

#[allow(unsafe_code)]
pub(super) fn run(topic: &Topic) -> Result<Outcome> {
    let consumer = consumer(topic)?;
    // SAFETY: the client lives until the end of this function; the queue is let go before.
    let queue = unsafe { rdsys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
    let mut messages = [std::ptr::null_mut(); BATCH];
    let (mut records, mut bytes, mut first_ns, mut idle) = (0, 0, 0, 0);
    while records < topic.records {
        let timeout_ms = 1000;
        // SAFETY: the queue is live, and `messages` has room for as many as are asked for.
        let taken = unsafe {
            rdsys::rd_kafka_consume_batch_queue(queue, timeout_ms, messages.as_mut_ptr(), BATCH)
        };
        idle = if taken > 0 { 0 } else { idle + 1 };
        if taken < 0 || idle > 20 {
            bail!("nothing more to read after {records} records");
        }
        for message in &messages[..taken as usize] {
            // SAFETY: one of the messages that the call gave us; destroyed once, here.
            let (error, len) = unsafe {
                let seen = ((**message).err, (**message).len);
                rdsys::rd_kafka_message_destroy(*message);
                seen
            };
            if error != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                bail!("librdkafka: {error:?}");
            }
            records += 1;
            bytes += len as u64;
        }
        if first_ns == 0 && records > 0 {
            first_ns = now_ns();
        }
    }
    let last_ns = now_ns();
    // SAFETY: ours, and not used again.
    unsafe { rdsys::rd_kafka_queue_destroy(queue) };
    // Leaving politely takes librdkafka a while, and is not what is measured.
    std::mem::forget(consumer);
    Ok(Outcome {
        first_ns,
        last_ns,
        records,
        bytes,
        peak_bytes: peak_bytes(std::process::id()),
    })
}
