//! What a good programmer would write for this one job: librdkafka, serde_json, Redis, one loop.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, bail};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::{Outcome, Topic, drain, kind_of};
use crate::process::{now_ns, peak_bytes};

/// The very script of the Redis sink.
const SCRIPT: &str = concat!(
    include_str!("../../../connectors/redis-sink/src/checks.lua"),
    include_str!("../../../connectors/redis-sink/src/apply.lua")
);
/// Records counted by one round trip, as in Gristmill's reader.
const BATCH: u64 = 2048;

#[derive(Default)]
struct Partition {
    counts: HashMap<String, i64>,
    gathered: u64,
    from: i64,
    next: i64,
}

pub(super) fn run(topic: &Topic, redis: &str, at_least_once: bool) -> Result<Outcome> {
    let consumer = drain::consumer(topic)?;
    let mut redis = redis::Client::open(redis)?.get_connection()?;
    let script = redis::Script::new(SCRIPT);
    let mut partitions: Vec<Partition> = Vec::new();
    partitions.resize_with(topic.partitions as usize, Partition::default);
    let (mut records, mut bytes, mut first_ns, mut idle) = (0, 0, 0, 0);
    let mut write = |index: usize, partition: &mut Partition| -> Result<()> {
        if at_least_once {
            let mut pipe = redis::pipe();
            for (key, count) in &partition.counts {
                pipe.cmd("INCRBY").arg(key).arg(count).ignore();
            }
            pipe.query::<()>(&mut redis)?;
            let mut offsets = TopicPartitionList::new();
            let next = Offset::Offset(partition.next);
            offsets.add_partition_offset(&topic.topic, index as i32, next)?;
            consumer.commit(&offsets, CommitMode::Async)?;
        } else {
            let mut call = script.key("floor:offsets");
            call.key("floor:keys");
            partition.counts.keys().for_each(|key| {
                call.key(key);
            });
            call.arg(index)
                .arg(partition.from)
                .arg(partition.next)
                .arg(1);
            partition.counts.values().for_each(|count| {
                call.arg(count);
            });
            let answer: Vec<i64> = call.invoke(&mut redis)?;
            if answer != [0] {
                bail!("the script answered {answer:?}");
            }
        }
        partition.counts.clear();
        partition.gathered = 0;
        partition.from = partition.next;
        Ok(())
    };
    while records < topic.records {
        let Some(message) = consumer.poll(Duration::from_secs(1)) else {
            idle += 1;
            if idle > 20 {
                bail!("nothing more to read after {records} records");
            }
            continue;
        };
        let message = message?;
        idle = 0;
        let payload = message.payload().unwrap_or_default();
        let index = message.partition() as usize;
        let partition = &mut partitions[index];
        if let Some(kind) = kind_of(payload)? {
            match partition.counts.get_mut(&*kind) {
                Some(count) => *count += 1,
                None => {
                    partition.counts.insert(kind.into_owned(), 1);
                }
            }
        }
        records += 1;
        bytes += payload.len() as u64;
        partition.gathered += 1;
        partition.next = message.offset() + 1;
        if partition.gathered == BATCH {
            write(index, partition)?;
            if first_ns == 0 {
                first_ns = now_ns();
            }
        }
    }
    for (index, partition) in partitions.iter_mut().enumerate() {
        if partition.gathered > 0 {
            write(index, partition)?;
        }
    }
    let last_ns = now_ns();
    std::mem::forget(consumer);
    Ok(Outcome {
        first_ns,
        last_ns,
        records,
        bytes,
        peak_bytes: peak_bytes(std::process::id()),
    })
}
