//! Records on their way to a producer.

use std::time::Duration;

use gristmill_flow::header;
use gristmill_record::RecordRef;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord};

use crate::context::Context;

/// What a record costs beside its bytes, at most: batch header (61), lengths and deltas as
/// varints.
const OVERHEAD: usize = 128;
/// The same of one header.
const HEADER_OVERHEAD: usize = 10;

/// Upper bound of a record's size in a batch of its own.
pub(super) fn size(record: &RecordRef<'_>) -> usize {
    let headers = record
        .headers
        .iter()
        .map(|(n, v)| n.len() + v.len() + HEADER_OVERHEAD);
    OVERHEAD + record.key.map_or(0, <[u8]>::len) + record.value.len() + headers.sum::<usize>()
}

/// Why a record cannot be written to a topic that takes `limit` bytes.
pub(super) fn refusal(record: &RecordRef<'_>, topic: &str, limit: usize) -> Option<String> {
    let size = size(record);
    (size > limit).then(|| {
        format!(
            "{size} bytes are more than topic `{topic}` takes ({limit}): raise its \
             max.message.bytes to keep such records"
        )
    })
}

/// Hand a record to the producer; waits while its queue is full.
pub(super) async fn send(
    producer: &BaseProducer<Context>,
    topic: &str,
    record: &RecordRef<'_>,
) -> Result<(), KafkaError> {
    send_parts(
        producer,
        topic,
        record.timestamp_ms,
        record.key,
        record.value,
        headers(record),
    )
    .await
}

/// Hand a dead letter to the producer, cut so that it fits into `limit` bytes.
pub(super) async fn send_cut(
    producer: &BaseProducer<Context>,
    topic: &str,
    record: &RecordRef<'_>,
    limit: usize,
) -> Result<(), KafkaError> {
    let size = size(record);
    if size <= limit {
        return send(producer, topic, record).await;
    }
    let note = |kept: usize| format!(" (value cut from {} to {kept} bytes)", record.value.len());
    let over = size - limit + note(usize::MAX).len();
    let kept = record.value.len().saturating_sub(over);
    // A key that does not fit by itself cannot be kept either.
    let key = record.key.filter(|key| kept > 0 || key.len() < limit / 4);
    let mut headers = OwnedHeaders::new();
    let mut noted = false;
    for (name, value) in record.headers.iter() {
        let mut value = value.to_vec();
        if name == header::REASON && !noted {
            noted = true;
            // A reason is one line; one that is not must not keep the letter from fitting.
            value.truncate(limit / 8);
            value.extend(note(kept).as_bytes());
        }
        headers = headers.insert(Header {
            key: &clean(name),
            value: Some(&value),
        });
    }
    if !noted {
        let note = note(kept);
        headers = headers.insert(Header {
            key: header::REASON,
            value: Some(note.trim()),
        });
    }
    let value = &record.value[..kept];
    send_parts(
        producer,
        topic,
        record.timestamp_ms,
        key,
        value,
        Some(headers),
    )
    .await
}

pub(super) async fn send_parts(
    producer: &BaseProducer<Context>,
    topic: &str,
    timestamp_ms: i64,
    key: Option<&[u8]>,
    value: &[u8],
    headers: Option<OwnedHeaders>,
) -> Result<(), KafkaError> {
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).payload(value);
    record.key = key;
    record.headers = headers;
    // Kafka has no "none": without one the record gets the time it is sent at. (0, the epoch
    // itself, is librdkafka's word for that too.)
    record.timestamp = (timestamp_ms >= 0).then_some(timestamp_ms);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                record = back;
                producer.poll(Duration::ZERO);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err((error, _)) => return Err(error),
        }
    }
}

fn headers(record: &RecordRef<'_>) -> Option<OwnedHeaders> {
    if record.headers.is_empty() {
        return None;
    }
    let pairs = record.headers.iter();
    Some(pairs.fold(OwnedHeaders::new(), |headers, (name, value)| {
        headers.insert(Header {
            key: &clean(name),
            value: Some(value),
        })
    }))
}

/// librdkafka takes names as C strings, and its wrapper panics on a NUL in one.
fn clean(name: &str) -> std::borrow::Cow<'_, str> {
    if name.contains('\0') {
        name.replace('\0', "\u{FFFD}").into()
    } else {
        name.into()
    }
}
