//! Read a topic without a group: for `tap`, `dead-letter list`, and to look back.
//!
//! A thread polls and hands over records of one partition at a time through a bounded channel.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use gristmill_flow::SourceError;
use gristmill_record::{Batch, Lane, Position, Records};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use crate::KafkaConfig;
use crate::context::{Reading, heard};
use crate::error::{Doing, Trouble};
use crate::reader::lane::push;

/// How long an end may stay behind another writer's open transaction before that is told.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
/// A batch is handed over at this many bytes, or when nothing more is there.
const BATCH_BYTES: usize = 256 << 10;
const BATCHES_MAX: usize = 4;

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// At the oldest record.
    Beginning,
    /// At what comes from now on.
    End,
    /// At this many offsets before the end of each partition (fewer records, if some of them are
    /// control markers).
    Last(i64),
    /// At the first record of each partition with this timestamp (milliseconds since the epoch) or
    /// a later one.
    Timestamp(i64),
    /// At these offsets; partitions without one are left out.
    Offsets(BTreeMap<i32, i64>),
}

/// Where to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// At the end as it is when reading begins.
    End,
    /// Never.
    Forever,
}

/// What to read.
#[derive(Debug, Clone)]
pub struct FollowConfig {
    /// The cluster.
    pub kafka: KafkaConfig,
    /// The topic.
    pub topic: String,
    /// Where to begin.
    pub from: From,
    /// Where to stop.
    pub until: Until,
}

/// Gives the committed records of a topic, in each partition's order.
#[derive(Debug)]
pub struct Follower {
    batches: mpsc::Receiver<Result<Batch, SourceError>>,
}

impl Follower {
    /// Find the topic's partitions and begin to read them.
    ///
    /// # Errors
    /// [`SourceError::Retry`] while no broker answers or the topic does not exist;
    /// [`SourceError::Fatal`] without the right to read it.
    pub async fn open(config: FollowConfig) -> Result<Self, SourceError> {
        let (sender, batches) = mpsc::channel(BATCHES_MAX);
        let (ready, opened) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name(format!("follow-{}", config.topic))
            .spawn(move || match Thread::open(config) {
                Ok(mut thread) => {
                    let _ = ready.send(Ok(()));
                    thread.run(&sender);
                }
                Err(trouble) => drop(ready.send(Err(trouble))),
            })
            .map_err(|error| SourceError::Fatal(format!("cannot start a thread: {error}")))?;
        match opened.await {
            Ok(Ok(())) => Ok(Self { batches }),
            Ok(Err(trouble)) => Err(trouble.into()),
            Err(_) => Err(SourceError::Fatal("the reading thread died".to_owned())),
        }
    }

    /// The next records, of one partition (`batch.lane`); `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// [`SourceError::Retry`] is news, not the end: reading goes on when the broker is back.
    pub async fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        self.batches.recv().await.transpose()
    }
}

struct Thread {
    config: FollowConfig,
    consumer: BaseConsumer<Reading>,
    /// Partitions that are not read to their end yet, and that end.
    ends: BTreeMap<i32, i64>,
}

impl Thread {
    fn open(config: FollowConfig) -> Result<Self, Trouble> {
        let lasting = |error: crate::ConfigError| Trouble::Lasting(error.to_string());
        let mut client = config.kafka.client().map_err(lasting)?;
        client
            // Only needed by librdkafka's assign(); no group is joined.
            .set("group.id", "gristmill-follow")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("fetch.message.max.bytes", "524288")
            .set("fetch.max.bytes", "2097152")
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", "4096");
        let mut make = |isolation: &str| {
            client
                .set("isolation.level", isolation)
                .create_with_context(Reading::default())
                .map_err(|error| lasting(config.kafka.refused(error)))
        };
        let (consumer, uncommitted) = (make("read_committed")?, make("read_uncommitted")?);
        let mut thread = Self {
            config,
            consumer,
            ends: BTreeMap::new(),
        };
        thread.assign(&uncommitted)?;
        Ok(thread)
    }

    fn explain(&self, code: Code) -> Trouble {
        let refusal = self
            .consumer
            .context()
            .trouble()
            .filter(|it| it.is_refusal());
        let cause = refusal.unwrap_or(code.into());
        Doing::Read {
            topic: &self.config.topic,
            group: None,
        }
        .explain(cause, &self.config.kafka)
    }

    fn trouble(&self, error: &KafkaError) -> Trouble {
        // Serve what the client has to say about the cause.
        let _ = self.consumer.poll(Duration::ZERO);
        self.explain(
            error
                .rdkafka_error_code()
                .unwrap_or(Code::OperationTimedOut),
        )
    }

    fn assign(&mut self, uncommitted: &BaseConsumer<Reading>) -> Result<(), Trouble> {
        let topic = self.config.topic.clone();
        let metadata = self
            .consumer
            .fetch_metadata(Some(&topic), REQUEST_TIMEOUT)
            .map_err(|error| {
                heard(&self.consumer);
                self.trouble(&error)
            })?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Err(self.explain(Code::UnknownTopicOrPartition));
        };
        if let Some(error) = found.error() {
            return Err(self.explain(error.into()));
        }
        let wanted = |partition: &i32| match &self.config.from {
            From::Offsets(offsets) => offsets.contains_key(partition),
            _ => true,
        };
        let partitions: BTreeSet<i32> = found
            .partitions()
            .iter()
            .map(|p| p.id())
            .filter(wanted)
            .collect();
        let mut at = self.timestamps(&partitions)?;
        let mut targets = TopicPartitionList::new();
        for partition in partitions {
            let (low, high) = self
                .consumer
                .fetch_watermarks(&topic, partition, REQUEST_TIMEOUT)
                .map_err(|error| self.trouble(&error))?;
            // The end includes what was committed a moment ago and is not stable yet: the brokers
            // mark a transaction's partitions after they have confirmed its commit.
            let (_, end) = uncommitted
                .fetch_watermarks(&topic, partition, REQUEST_TIMEOUT)
                .map_err(|error| self.trouble(&error))?;
            let end = end.max(high);
            let from = match &self.config.from {
                From::Beginning => low,
                From::End => high,
                From::Last(records) => high - records,
                From::Timestamp(_) => at.remove(&partition).unwrap_or(high),
                From::Offsets(offsets) => offsets.get(&partition).copied().unwrap_or(low),
            };
            let from = from.clamp(low, high.max(low));
            if self.config.until == Until::Forever || from < end {
                self.ends.insert(partition, end);
                targets
                    .add_partition_offset(&topic, partition, Offset::Offset(from))
                    .map_err(|error| self.trouble(&error))?;
            }
        }
        self.consumer
            .assign(&targets)
            .map_err(|error| self.trouble(&error))
    }

    /// The first offset of each partition at or after the timestamp asked for; a partition that
    /// has none is absent.
    fn timestamps(&self, partitions: &BTreeSet<i32>) -> Result<BTreeMap<i32, i64>, Trouble> {
        let From::Timestamp(timestamp) = self.config.from else {
            return Ok(BTreeMap::new());
        };
        let mut wanted = TopicPartitionList::new();
        for partition in partitions {
            wanted
                .add_partition_offset(&self.config.topic, *partition, Offset::Offset(timestamp))
                .map_err(|error| self.trouble(&error))?;
        }
        let found = self
            .consumer
            .offsets_for_times(wanted, REQUEST_TIMEOUT)
            .map_err(|error| self.trouble(&error))?;
        let mut at = BTreeMap::new();
        for element in found.elements() {
            // One whose leader did not answer is not one without such records.
            element.error().map_err(|error| self.trouble(&error))?;
            if let Offset::Offset(offset) = element.offset() {
                at.insert(element.partition(), offset);
            }
        }
        Ok(at)
    }

    fn run(&mut self, sender: &mpsc::Sender<Result<Batch, SourceError>>) {
        let mut gathered: BTreeMap<i32, Records> = BTreeMap::new();
        let mut heard = Instant::now();
        let mut quiet = Instant::now();
        while !self.ends.is_empty() && !sender.is_closed() {
            let waiting = gathered.values().any(|records| !records.is_empty());
            let timeout = if waiting { Duration::ZERO } else { POLL };
            let (partition, reached) = match self.consumer.poll(timeout) {
                Some(Ok(message)) => {
                    quiet = Instant::now();
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(end) = self.ends.get(&partition) else {
                        continue;
                    };
                    if self.config.until == Until::End && offset >= *end {
                        (partition, offset)
                    } else {
                        push(gathered.entry(partition).or_default(), &message);
                        (partition, offset + 1)
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    quiet = Instant::now();
                    match self.consumer.context().take_end() {
                        Ok(end) => (partition, end),
                        Err(trouble) => {
                            let _ = sender.blocking_send(Err(trouble.into()));
                            return;
                        }
                    }
                }
                Some(Err(error)) => {
                    let error = SourceError::from(self.trouble(&error));
                    let fatal = matches!(error, SourceError::Fatal(_));
                    // News once in a while; the channel must not fill up with them.
                    if fatal || heard.elapsed() > Duration::from_secs(1) {
                        heard = Instant::now();
                        if sender.blocking_send(Err(error)).is_err() || fatal {
                            return;
                        }
                    }
                    continue;
                }
                None => {
                    if self.config.until == Until::End && quiet.elapsed() > OPEN_PATIENCE {
                        quiet = Instant::now();
                        let reason = format!(
                            "topic `{}`: another writer's transaction is open before the end; \
                             waiting for it",
                            self.config.topic
                        );
                        if sender
                            .blocking_send(Err(Trouble::Passing(reason).into()))
                            .is_err()
                        {
                            return;
                        }
                    }
                    for (partition, records) in std::mem::take(&mut gathered) {
                        self.send(sender, partition, records);
                    }
                    continue;
                }
            };
            let at_end = reached >= self.ends.get(&partition).copied().unwrap_or(i64::MAX);
            let ended = at_end && self.config.until == Until::End;
            let full = gathered
                .get(&partition)
                .is_some_and(|records| records.bytes() >= BATCH_BYTES);
            if (full || at_end)
                && let Some(records) = gathered.remove(&partition)
            {
                self.send(sender, partition, records);
            }
            if ended {
                self.ends.remove(&partition);
            }
        }
    }

    fn send(
        &self,
        sender: &mpsc::Sender<Result<Batch, SourceError>>,
        partition: i32,
        records: Records,
    ) {
        let (Some(first), Some(last)) =
            (records.get(0), records.get(records.len().wrapping_sub(1)))
        else {
            return;
        };
        let batch = Batch {
            lane: Lane::new(self.config.topic.as_str(), partition),
            from: Some(Position::Offset(first.offset)),
            next: Position::Offset(last.offset + 1),
            records,
            rejects: Vec::new(),
        };
        // A receiver that is gone is seen at the next turn.
        let _ = sender.blocking_send(Ok(batch));
    }
}
