//! A topic as a source: a consumer on a thread of its own, and a bounded queue.
//!
//! ```text
//! broker ─▶ librdkafka (≤ 4 MiB) ─▶ thread: cut per partition ─▶ queue (≤ batches, ≤ bytes) ─▶ next
//!                                     ▲ resume: seek, drop what was read ahead
//!                                     ▲ rebalance: Assigned (paused until resumed), Revoked
//!                                     ▲ committed: the group's offset, for lag tools only
//! ```

pub(crate) mod lane;
mod queue;
mod thread;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use gristmill_flow::{LegStats, Source, SourceError, SourceEvent};
use gristmill_record::{Lane, Position, Positions};
use tokio::sync::oneshot;

use crate::{ConfigError, KafkaConfig};
use queue::Queue;
use thread::{Command, Thread};

/// How long [`Source::close`] waits for the group's offsets to be committed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a lane starts that no sink has a position of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record there is.
    #[default]
    Beginning,
    /// At what comes from now on.
    End,
}

/// What and how to read.
#[derive(Debug, Clone)]
pub struct ReaderConfig {
    /// The cluster.
    pub kafka: KafkaConfig,
    /// The topic.
    pub topic: String,
    /// The consumer group, whose members share the topic's partitions.
    pub group: String,
    /// Only these partitions, whoever else is in the group; `None` for what the group gives.
    pub partitions: Option<Vec<i32>>,
    /// Where to start without a position.
    pub start: Start,
    /// Most records in a batch (2048 does well).
    pub batch_records_max: usize,
    /// Most bytes in a batch, but for a single larger record (1 MiB does well).
    pub batch_bytes_max: usize,
    /// How long a batch may wait for more records once the queue has run dry (5 ms does well).
    pub linger: Duration,
    /// Whether records come with their headers. Without, records that have some cost less: for
    /// sinks that have no use for them.
    pub headers: bool,
    /// Where lag, rebalances and the number of partitions are reported.
    pub stats: Arc<LegStats>,
}

impl ReaderConfig {
    /// A configuration with the sizes that do well.
    pub fn new(
        kafka: KafkaConfig,
        topic: impl Into<String>,
        group: impl Into<String>,
        stats: Arc<LegStats>,
    ) -> Self {
        Self {
            kafka,
            topic: topic.into(),
            group: group.into(),
            partitions: None,
            start: Start::default(),
            batch_records_max: 2048,
            batch_bytes_max: 1 << 20,
            linger: Duration::from_millis(5),
            headers: true,
            stats,
        }
    }
}

/// Reads a topic as a member of a consumer group, or some of its partitions by itself.
#[derive(Debug)]
pub struct TopicReader {
    topic: Arc<str>,
    queue: Arc<Queue>,
    commands: Sender<Command>,
}

impl TopicReader {
    /// Start the reader's thread. A broker that is down is a [`SourceError::Retry`] of
    /// [`next`](Source::next), not of this.
    ///
    /// # Errors
    /// [`SourceError::Fatal`] for a configuration that librdkafka does not take.
    pub fn open(config: ReaderConfig) -> Result<Self, SourceError> {
        let fatal = |error: ConfigError| SourceError::Fatal(error.to_string());
        let consumer = thread::consumer(&config).map_err(fatal)?;
        let queue = Arc::new(Queue::new(2 * config.batch_bytes_max));
        let (commands, receiver) = mpsc::channel();
        let topic: Arc<str> = config.topic.as_str().into();
        let thread = Thread::new(config, Arc::clone(&topic), consumer, Arc::clone(&queue));
        std::thread::Builder::new()
            .name(format!("read-{topic}"))
            .spawn(move || thread.run(&receiver))
            .map_err(|error| SourceError::Fatal(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            topic,
            queue,
            commands,
        })
    }
}

impl TopicReader {
    /// Have the reader's thread do something, and wait for its answer.
    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, SourceError> {
        let gone = || SourceError::Fatal(format!("the reader of `{}` has ended", self.topic));
        let (reply, answer) = oneshot::channel();
        self.queue.wake();
        self.commands.send(command(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

impl Source for TopicReader {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        self.queue.pop().await
    }

    fn reads_ahead(&self) -> bool {
        true
    }

    async fn resume(&mut self, lanes: &[Lane], from: &Positions) -> Result<(), SourceError> {
        let mut offsets = BTreeMap::new();
        for lane in lanes.iter().filter(|lane| lane.topic == self.topic) {
            let offset = match from.get(lane) {
                None => None,
                Some(Position::Offset(offset)) => Some(*offset),
                Some(Position::Token(token)) => {
                    return Err(SourceError::Fatal(format!(
                        "{lane}: the sink's position `{token}` is no offset: it was written by \
                         another kind of source; use another pipeline name, or delete it"
                    )));
                }
            };
            offsets.insert(lane.partition, offset);
        }
        self.ask(|reply| Command::Resume { offsets, reply }).await?
    }

    async fn topic_id(&mut self) -> Result<Option<String>, SourceError> {
        self.ask(|reply| Command::TopicId { reply }).await?
    }

    fn committed(&mut self, lane: &Lane, next: &Position) {
        if let Some(offset) = next.offset() {
            self.queue.commit(lane.partition, offset);
        }
    }

    async fn close(&mut self) {
        let (reply, answer) = oneshot::channel();
        self.queue.close();
        if self.commands.send(Command::Close { reply }).is_ok() {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, answer).await;
        }
    }
}

impl Drop for TopicReader {
    fn drop(&mut self) {
        self.queue.close();
    }
}
