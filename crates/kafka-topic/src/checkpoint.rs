//! Positions on the compacted checkpoint topic.
//!
//! One record a lane, keyed `<transactional id> <lane>`, and one for the writer itself, keyed
//! `<transactional id>`, that says which copy of it wrote last. Values are small JSON objects with
//! a version, so that a later Gristmill can read an earlier one's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gristmill_record::{Lane, Position};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use crate::KafkaConfig;
use crate::context::Reading;
use crate::error::{Doing, Trouble};

const VERSION: u32 = 1;
/// How long a read may go without an answer, or wait for another writer's open transaction.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is stored of one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) position: Position,
    /// Which write stored it: no two have the same.
    pub(crate) write: String,
}

/// What is stored of one writer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checkpoints {
    /// By the lane's text.
    pub(crate) lanes: BTreeMap<String, Checkpoint>,
    /// The copy that opened the writer last.
    pub(crate) owner: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Value {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    write: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
}

/// Key of a lane's record.
pub(crate) fn lane_key(transactional_id: &str, lane: &Lane) -> String {
    format!("{transactional_id} {lane}")
}

/// Value of a lane's record.
pub(crate) fn lane_value(position: &Position, write: &str) -> Vec<u8> {
    let (offset, token) = match position {
        Position::Offset(offset) => (Some(*offset), None),
        Position::Token(token) => (None, Some(token.to_string())),
    };
    encode(&Value {
        v: VERSION,
        offset,
        token,
        write: Some(write.to_owned()),
        owner: None,
    })
}

/// Value of the writer's own record.
pub(crate) fn owner_value(owner: &str) -> Vec<u8> {
    let owner = Some(owner.to_owned());
    encode(&Value {
        v: VERSION,
        offset: None,
        token: None,
        write: None,
        owner,
    })
}

fn encode(value: &Value) -> Vec<u8> {
    // Numbers and strings always have a JSON form.
    serde_json::to_vec(value).unwrap_or_default()
}

impl Checkpoints {
    /// Take in one record of the checkpoint topic, if it is of this writer.
    fn take(
        &mut self,
        transactional_id: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), String> {
        let Some(key) = key.and_then(|key| std::str::from_utf8(key).ok()) else {
            return Ok(());
        };
        let Some(rest) = key.strip_prefix(transactional_id) else {
            return Ok(());
        };
        let lane = match rest.strip_prefix(' ') {
            Some(lane) => lane,
            None if rest.is_empty() => "",
            // Another writer, whose id starts with ours.
            None => return Ok(()),
        };
        let Some(value) = value else {
            // A tombstone: whoever wrote it wants this writer to forget.
            if lane.is_empty() {
                self.owner = None
            } else {
                drop(self.lanes.remove(lane))
            };
            return Ok(());
        };
        let unreadable = |reason: String| {
            format!(
                "checkpoint `{key}` is unreadable ({reason}): delete it (a record with this key \
                 and a null value) to start anew"
            )
        };
        let value: Value =
            serde_json::from_slice(value).map_err(|error| unreadable(error.to_string()))?;
        if value.v > VERSION {
            return Err(unreadable(format!(
                "version {}: made by a newer Gristmill",
                value.v
            )));
        }
        if lane.is_empty() {
            self.owner = value.owner;
            return Ok(());
        }
        let position = match (value.offset, value.token) {
            (Some(offset), None) => Position::Offset(offset),
            (None, Some(token)) => Position::Token(token.into()),
            _ => return Err(unreadable("neither an offset nor a token".to_owned())),
        };
        let write = value.write.unwrap_or_default();
        self.lanes
            .insert(lane.to_owned(), Checkpoint { position, write });
        Ok(())
    }
}

/// Read what is stored of a writer, up to the topic's end as it is now. Blocks.
///
/// The end is the high watermark, not the last stable offset: behind an open transaction of
/// another writer there may be a checkpoint of ours, so that one is waited out.
pub(crate) fn read(
    kafka: &KafkaConfig,
    topic: &str,
    transactional_id: &str,
) -> Result<Checkpoints, Trouble> {
    let doing = Doing::Read { topic, group: None };
    let explain = |error: &KafkaError| {
        doing.explain(
            error
                .rdkafka_error_code()
                .unwrap_or(Code::OperationTimedOut),
            kafka,
        )
    };
    let consumer = |isolation: &str| -> Result<BaseConsumer<Reading>, Trouble> {
        let mut config = kafka
            .client()
            .map_err(|error| Trouble::Lasting(error.to_string()))?;
        config
            .set("isolation.level", isolation)
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            // Positions are read one at a time; a large fetch would only cost memory.
            .set("fetch.message.max.bytes", "262144")
            .set("queued.max.messages.kbytes", "2048")
            .set("fetch.wait.max.ms", "50")
            // Only needed by librdkafka's assign(); no group is joined.
            .set("group.id", "gristmill-checkpoints")
            .set("enable.auto.commit", "false");
        config
            .create_with_context(Reading::default())
            .map_err(|error| Trouble::Lasting(kafka.refused(error).to_string()))
    };
    // librdkafka asks for the last stable offset where the consumer is read_committed.
    let (low, high) = consumer("read_uncommitted")?
        .fetch_watermarks(topic, 0, PATIENCE)
        .map_err(|error| explain(&error))?;
    let mut checkpoints = Checkpoints::default();
    if low >= high {
        return Ok(checkpoints);
    }
    let consumer = consumer("read_committed")?;
    let mut partition = TopicPartitionList::new();
    partition
        .add_partition_offset(topic, 0, Offset::Offset(low))
        .and_then(|()| consumer.assign(&partition))
        .map_err(|error| explain(&error))?;
    let mut deadline = Instant::now() + PATIENCE;
    let mut blocked = false;
    while Instant::now() < deadline {
        let reached = match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => {
                checkpoints
                    .take(transactional_id, message.key(), message.payload())
                    .map_err(|reason| Trouble::Lasting(format!("topic `{topic}`: {reason}")))?;
                deadline = Instant::now() + PATIENCE;
                message.offset() + 1
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                let end = consumer.context().take_end()?;
                blocked = end < high;
                end
            }
            Some(Err(error)) => match explain(&error) {
                trouble @ Trouble::Lasting(_) => return Err(trouble),
                Trouble::Passing(reason) => {
                    tracing::debug!(reason, topic, "reading checkpoints");
                    continue;
                }
            },
            None => continue,
        };
        if reached >= high {
            return Ok(checkpoints);
        }
    }
    Err(if blocked {
        Trouble::Passing(format!(
            "topic `{topic}`: another writer's transaction is open before the last checkpoint; \
             waiting for it to end (its transaction.timeout.ms, a minute by default)"
        ))
    } else {
        doing.explain(Code::OperationTimedOut, kafka)
    })
}
