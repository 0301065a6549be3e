//! The reader's thread: polls, cuts batches, answers commands.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use gristmill_flow::{LegStats, SourceError, SourceEvent};
use gristmill_record::{Lane, Pool};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::queue::Queue;
use super::{ReaderConfig, Start};
use crate::context::{Cause, Change, Reading};
use crate::error::{Doing, Trouble};
use crate::messages::{MessageQueue, Taken};
use crate::{ConfigError, native};

use super::lane::Open;

/// How long a poll waits for the group to give partitions; commands are looked at in between.
const IDLE_POLL: Duration = Duration::from_millis(20);
/// The same while there are some: a quiet topic need not keep the processor awake, and what waits
/// meanwhile (a rebalance, a command) is rare.
const READING_POLL: Duration = Duration::from_millis(100);
/// How long the queue may be full before the partitions are paused, so that polling can go on (a
/// consumer that does not poll is thrown out of its group) without fetching. Pausing drops what
/// librdkafka has fetched, so a sink that is merely slower must not cause it.
const FULL_PATIENCE: Duration = Duration::from_secs(1);
/// How often the group's offsets are committed.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// How long to wait for what only hastens.
const ROUSE_TIMEOUT: Duration = Duration::from_millis(500);
/// How often the topic's id is compared with the one that was read first.
const COMPARE_INTERVAL: Duration = Duration::from_secs(10);
/// How long that may hold up the reading.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a request to a broker may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A leader that has just taken over may not know the partition's whole length yet.
const FAILOVER_PATIENCE: Duration = Duration::from_secs(5);
/// How long, and how often, a partition that was assigned is asked whether it has started.
const START_PATIENCE: Duration = Duration::from_millis(500);
const START_POLL: Duration = Duration::from_millis(2);
/// How often a lost connection is asked after.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Buffers kept for later batches. Those that are given back while a batch is gathered, and not
/// all that are under way, so that a backlog's memory is not held after it.
const BUFFERS_KEPT_MAX: usize = 4;
/// All partitions together gather no more than so many full batches: with a hundred of them a
/// batch each would be beyond any bound on memory.
const GATHERED_BATCHES_MAX: usize = 3;

pub(super) enum Command {
    Resume {
        offsets: BTreeMap<i32, Option<i64>>,
        reply: oneshot::Sender<Result<(), SourceError>>,
    },
    TopicId {
        reply: oneshot::Sender<Result<Option<String>, SourceError>>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

pub(super) struct Thread {
    config: ReaderConfig,
    topic: Arc<str>,
    c_topic: CString,
    consumer: Arc<BaseConsumer<Reading>>,
    queue: Arc<Queue>,
    /// Partitions that are ours; `None` until they are resumed.
    lanes: BTreeMap<i32, Option<Open>>,
    /// Buffers for batches.
    pool: Pool,
    full_since: Option<Instant>,
    paused: bool,
    committed_at: Instant,
    /// A trouble was reported, and when it was last asked after.
    trouble: Option<Instant>,
    assignments: usize,
    /// Since when a partition's position is beyond its end.
    beyond_since: BTreeMap<i32, Instant>,
    /// The topic's id as the leg was told it, and when it was last compared.
    topic_id: Option<String>,
    compared_at: Instant,
}

/// A consumer for `config`, not connected yet.
pub(super) fn consumer(config: &ReaderConfig) -> Result<BaseConsumer<Reading>, ConfigError> {
    let mut client = config.kafka.client()?;
    let mut default = |key: &str, value: &str| {
        if !config.kafka.properties.contains_key(key) {
            client.set(key, value);
        }
    };
    // What librdkafka holds is bounded by these: decompressed records (4 MiB), and one response
    // per broker on its way.
    default("fetch.message.max.bytes", "262144");
    default("fetch.max.bytes", "1048576");
    // At the end of a partition the end itself is learnt of within this time.
    default("fetch.wait.max.ms", "200");
    // So little is less than the leg works off in the default's second, or in 20 ms.
    default("fetch.queue.backoff.ms", "2");
    // A member that was killed holds its partitions for this long.
    default("session.timeout.ms", "10000");
    default("heartbeat.interval.ms", "2000");
    default("topic.metadata.refresh.interval.ms", "10000");
    client
        .set("group.id", &config.group)
        .set("isolation.level", "read_committed")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        .set("queued.max.messages.kbytes", "4096");
    client
        .create_with_context(Reading::default())
        .map_err(|error| config.kafka.refused(error))
}

impl Thread {
    pub(super) fn new(
        config: ReaderConfig,
        topic: Arc<str>,
        consumer: BaseConsumer<Reading>,
        queue: Arc<Queue>,
    ) -> Self {
        Self {
            c_topic: native::c_name(&topic),
            config,
            topic,
            consumer: Arc::new(consumer),
            queue,
            lanes: BTreeMap::new(),
            pool: Pool::new(BUFFERS_KEPT_MAX),
            full_since: None,
            paused: false,
            committed_at: Instant::now(),
            trouble: None,
            assignments: 0,
            beyond_since: BTreeMap::new(),
            topic_id: None,
            compared_at: Instant::now(),
        }
    }

    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let begun = match &self.config.partitions {
            None => self.consumer.subscribe(&[&self.topic]),
            Some(partitions) => {
                self.consumer
                    .context()
                    .take(&self.consumer, &self.topic, partitions.clone())
            }
        };
        if let Err(error) = begun {
            self.queue.push(Err(SourceError::Fatal(format!(
                "cannot subscribe to `{}`: {error}",
                self.topic
            ))));
        }
        // A message borrows its consumer; what is done with the message borrows the rest of us.
        let consumer = Arc::clone(&self.consumer);
        let Some(mut messages) = MessageQueue::new(&consumer) else {
            let reason = format!("librdkafka has no memory to read `{}`", self.topic);
            return self.queue.push(Err(SourceError::Fatal(reason)));
        };
        let mut closing = None;
        while !self.queue.is_closed() && closing.is_none() {
            match commands.try_recv() {
                Ok(Command::Resume { offsets, reply }) => {
                    // The leg may have gone meanwhile.
                    let _ = reply.send(self.resume(&offsets, &messages));
                }
                Ok(Command::TopicId { reply }) => {
                    let _ = reply.send(self.topic_id(REQUEST_TIMEOUT));
                }
                Ok(Command::Close { reply }) => closing = Some(reply),
                Err(_) => self.turn(&consumer, &mut messages),
            }
        }
        drop(messages);
        // The last reference is the one that `close` drops: only then is the group left, and a
        // restart need not wait for the session to time out.
        drop(consumer);
        self.close(closing, commands);
    }

    /// One look at the group, one at the records, and what follows from them.
    fn turn(&mut self, consumer: &BaseConsumer<Reading>, messages: &mut MessageQueue<Reading>) {
        self.commit(CommitMode::Async, COMMIT_INTERVAL);
        self.compare_topic();
        if !self.has_room() && !self.paused {
            return;
        }
        // Without a lane there is only the group to wait for.
        let reads = self.lanes.values().any(Option::is_some);
        self.serve(consumer, if reads { Duration::ZERO } else { IDLE_POLL });
        if !reads {
            return self.probe();
        }
        let waiting = self.lanes.values().flatten().filter_map(Open::since).min();
        let timeout = match waiting {
            Some(since) => self.config.linger.saturating_sub(since.elapsed()),
            None => READING_POLL,
        };
        if messages.take(timeout, |message| self.take(message)) == 0 {
            // Run dry: what is there goes out.
            let due: Vec<i32> = self.lanes.keys().copied().collect();
            due.into_iter().for_each(|partition| self.cut(partition));
            self.probe();
        }
        self.cut_complete();
        self.cut_largest();
    }

    /// Hand out what nothing can follow for now: behind the last record there is at most the marker
    /// of its transaction. Waiting for more would be in vain, and a wake-up.
    fn cut_complete(&mut self) {
        let open = self.lanes.iter().filter_map(|(partition, lane)| {
            let lane = lane.as_ref()?;
            lane.since()?;
            let high = self.high_watermark(*partition)?;
            (high - lane.next() <= 1).then_some(*partition)
        });
        let complete: Vec<i32> = open.collect();
        complete
            .into_iter()
            .for_each(|partition| self.cut(partition));
    }

    /// As of the last fetch.
    fn high_watermark(&self, partition: i32) -> Option<i64> {
        native::cached_high_watermark(&self.consumer, &self.c_topic, partition)
    }

    /// Keep what all partitions gather within bounds.
    fn cut_largest(&mut self) {
        let open = self.lanes.iter().filter_map(|(partition, lane)| {
            let lane = lane.as_ref()?;
            Some((lane.bytes(), *partition))
        });
        let (total, largest) = open.fold((0, (0, 0)), |(total, largest), lane| {
            (total + lane.0, largest.max(lane))
        });
        if total > GATHERED_BATCHES_MAX * self.config.batch_bytes_max {
            self.cut(largest.1);
        }
    }

    /// What the client says beside the records: rebalances, and errors of its own.
    fn serve(&mut self, consumer: &BaseConsumer<Reading>, timeout: Duration) {
        match consumer.poll(timeout) {
            Some(Ok(message)) => self.astray(message.partition()),
            // Of a partition that is not read yet.
            Some(Err(KafkaError::PartitionEOF(_))) | None => {}
            Some(Err(error)) => self.failed(&error),
        }
        for change in consumer.context().take_changes() {
            self.changed(change);
        }
    }

    /// A record came by the group's queue. Before its lane is open it is not ours to hand out:
    /// fetched before the leg said where to go on. Afterwards none comes this way; if one does, the
    /// lane must be sent to where the sink is once more, or the record would be missing.
    fn astray(&mut self, partition: i32) {
        if self.lanes.get(&partition).is_some_and(Option::is_some) {
            tracing::debug!(topic = &*self.topic, partition, "a record astray");
            self.resume_anew(partition);
        }
    }

    /// Ask the leg to send a lane to where the sink is.
    fn resume_anew(&mut self, partition: i32) {
        self.queue.discard(&[partition]);
        self.lanes.insert(partition, None);
        let lane = Lane::new(Arc::clone(&self.topic), partition);
        self.queue.push(Ok(SourceEvent::Assigned(vec![lane])));
    }

    /// Whether the queue takes more; if it has not for long, the partitions are paused, so that
    /// polling can go on.
    fn has_room(&mut self) -> bool {
        if !self.queue.is_full() {
            self.full_since = None;
            if self.paused {
                self.paused = false;
                self.pause_all(false);
            }
            return true;
        }
        if self.paused {
            return false;
        }
        let since = *self.full_since.get_or_insert_with(Instant::now);
        if self.queue.wait_for_room(Duration::from_millis(100)) {
            return true;
        }
        if since.elapsed() > FULL_PATIENCE {
            self.paused = true;
            self.pause_all(true);
        }
        false
    }

    fn pause_all(&self, pause: bool) {
        let mut open = TopicPartitionList::new();
        for (partition, _) in self.lanes.iter().filter(|(_, lane)| lane.is_some()) {
            open.add_partition(&self.topic, *partition);
        }
        let result = if pause {
            self.consumer.pause(&open)
        } else {
            self.unpause(open)
        };
        if let Err(error) = result {
            tracing::warn!(%error, pause, topic = &*self.topic, "pause");
        }
    }

    fn take(&mut self, message: &Taken<'_>) {
        let partition = message.partition();
        match message.error() {
            None => {}
            Some(Code::PartitionEOF) => {
                return self.end_of_partition(partition, message.offset());
            }
            Some(code) => return self.failed(&KafkaError::MessageConsumption(code)),
        }
        // Fetched before the leg said where to go on: not ours to hand out.
        let Some(Some(lane)) = self.lanes.get_mut(&partition) else {
            return;
        };
        if !lane.push(message, self.config.headers) {
            // Sent back by a lookup that outlived the seek.
            tracing::debug!(topic = &*self.topic, partition, "a record that was had");
            return self.resume_anew(partition);
        }
        if lane.is_full(self.config.batch_records_max, self.config.batch_bytes_max) {
            self.cut(partition);
        }
    }

    /// Hand out what is gathered of a partition.
    fn cut(&mut self, partition: i32) {
        let Some(Some(lane)) = self.lanes.get_mut(&partition) else {
            return;
        };
        let Some(batch) = lane.cut() else {
            return;
        };
        let next = lane.next();
        if let Some(high) = self.high_watermark(partition) {
            self.config.stats.set_lag(partition, (high - next).max(0));
        }
        self.trouble = None;
        self.queue.push(Ok(SourceEvent::Batch(batch)));
    }

    /// Nothing more for now: whatever lies between the last record and the end is not for readers
    /// (control markers, aborted records), and the position may pass it.
    fn end_of_partition(&mut self, partition: i32, end: i64) {
        let Some(Some(lane)) = self.lanes.get_mut(&partition) else {
            return;
        };
        let batch = lane.cut_at(end);
        // Before the batch: whoever has seen it must not see an older lag.
        self.config.stats.set_lag(partition, 0);
        if let Some(batch) = batch {
            self.queue.push(Ok(SourceEvent::Batch(batch)));
        }
        self.trouble = None;
    }

    fn changed(&mut self, change: Change) {
        let lanes = |partitions: &[i32]| -> Vec<Lane> {
            partitions
                .iter()
                .map(|p| Lane::new(Arc::clone(&self.topic), *p))
                .collect()
        };
        let event = match change {
            Change::Assigned(partitions) => {
                let assigned = lanes(&partitions);
                self.lanes
                    .extend(partitions.iter().map(|partition| (*partition, None)));
                self.trouble = None;
                self.count_partitions();
                SourceEvent::Assigned(assigned)
            }
            Change::Revoked(partitions) => {
                let revoked = lanes(&partitions);
                // Their new owner reads them again from where the sink is.
                self.queue.discard(&partitions);
                self.lanes
                    .retain(|partition, _| !partitions.contains(partition));
                self.beyond_since
                    .retain(|partition, _| !partitions.contains(partition));
                SourceEvent::Revoked(revoked)
            }
        };
        self.assignments += 1;
        if self.assignments > 1 {
            LegStats::add(&self.config.stats.rebalances, 1);
        }
        self.queue.push(Ok(event));
    }

    /// Tell how many partitions there are to share. A broker that does not say so now is asked
    /// again when something is assigned the next time.
    fn count_partitions(&self) {
        let count = match &self.config.partitions {
            Some(partitions) => Some(partitions.len()),
            None => {
                let answer = self
                    .consumer
                    .fetch_metadata(Some(&self.topic), REQUEST_TIMEOUT);
                answer.ok().and_then(|metadata| {
                    let topic = metadata.topics().first()?;
                    Some(topic.partitions().len()).filter(|count| *count > 0)
                })
            }
        };
        if let Some(count) = count {
            self.config.stats.partitions.store(count as u64, Relaxed);
        }
    }

    /// Ask which topic it is that goes by the name.
    fn topic_id(&mut self, timeout: Duration) -> Result<Option<String>, SourceError> {
        self.compared_at = Instant::now();
        let id = native::topic_id(self.consumer.client(), &self.c_topic, timeout);
        let id = id.map_err(|code| SourceError::from(self.explain(code)))?;
        if self.topic_id.is_some() && id != self.topic_id {
            return Err(SourceError::Fatal(format!(
                "`{}` was recreated while it was read: delete the sink's position of it to count \
                 it from the beginning, or use another pipeline name",
                self.topic
            )));
        }
        self.topic_id.clone_from(&id);
        Ok(id)
    }

    /// A topic that is made anew so fast that no fetch of ours finds it missing is read on by
    /// librdkafka at the old one's offset.
    fn compare_topic(&mut self) {
        let due = self.compared_at.elapsed() >= COMPARE_INTERVAL;
        // Brokers that do not answer are somebody else's to report, and hold nobody up here.
        if !due || self.topic_id.is_none() || self.trouble.is_some() {
            return;
        }
        if let Err(error @ SourceError::Fatal(_)) = self.topic_id(COMPARE_TIMEOUT) {
            self.queue.push(Err(error));
        }
    }

    /// Go to where the sink is.
    fn resume(
        &mut self,
        offsets: &BTreeMap<i32, Option<i64>>,
        messages: &MessageQueue<Reading>,
    ) -> Result<(), SourceError> {
        let partitions: Vec<i32> = offsets.keys().copied().collect();
        self.queue.discard(&partitions);
        let mut targets = TopicPartitionList::new();
        let mut open = Vec::new();
        for (partition, stored) in offsets {
            let Some(lane) = self.lanes.get_mut(partition) else {
                // Revoked meanwhile; the event is in the queue.
                continue;
            };
            // Nothing may be handed out of it until it is where it should be.
            *lane = None;
            let offset = self.check(*partition, *stored)?;
            targets
                .add_partition_offset(&self.topic, *partition, Offset::Offset(offset))
                .map_err(|error| self.retry(&error))?;
            open.push((*partition, offset));
        }
        if open.is_empty() {
            return Ok(());
        }
        let mut paused = TopicPartitionList::new();
        open.iter().for_each(|(partition, _)| {
            paused.add_partition(&self.topic, *partition);
        });
        self.seek(&targets)?;
        // Started, now that it could seek; what was fetched before the seek never comes out.
        open.iter()
            .for_each(|(partition, _)| messages.adopt(&self.c_topic, *partition));
        self.unpause(paused).map_err(|error| self.retry(&error))?;
        for (partition, offset) in open {
            let lane = Lane::new(Arc::clone(&self.topic), partition);
            self.lanes
                .insert(partition, Some(Open::new(lane, offset, &self.pool)));
        }
        if self.paused {
            self.pause_all(true);
        }
        Ok(())
    }

    /// Let partitions be fetched, and have their leaders' threads look at them: by themselves those
    /// do so when they next wake, up to a second later (librdkafka 2.12.1). A request wakes them.
    fn unpause(&self, mut partitions: TopicPartitionList) -> Result<(), KafkaError> {
        self.consumer.resume(&partitions)?;
        // A time that no record has: nothing is looked up.
        let asked = partitions
            .set_all_offsets(Offset::Offset(i64::MAX))
            .and_then(|()| self.consumer.offsets_for_times(partitions, ROUSE_TIMEOUT));
        if let Err(error) = asked {
            tracing::debug!(%error, topic = &*self.topic, "rouse");
        }
        Ok(())
    }

    /// Seek, once librdkafka has started the partitions: it does so on a thread of its own, a few
    /// milliseconds after they were assigned.
    fn seek(&self, targets: &TopicPartitionList) -> Result<(), SourceError> {
        let began = Instant::now();
        loop {
            let result = self
                .consumer
                .seek_partitions(targets.clone(), REQUEST_TIMEOUT);
            let result = result.map_err(|error| self.retry(&error))?;
            let error = result
                .elements()
                .iter()
                .find_map(|element| element.error().err());
            match error {
                None => return Ok(()),
                Some(error)
                    if error.rdkafka_error_code() == Some(Code::State)
                        && began.elapsed() < START_PATIENCE =>
                {
                    #[allow(clippy::disallowed_methods, reason = "a thread of its own")]
                    std::thread::sleep(START_POLL);
                }
                // A broker is away: the leg calls again.
                Some(error) => return Err(self.retry(&error)),
            }
        }
    }

    /// The offset to go on at, if it still is in the topic.
    fn check(&mut self, partition: i32, stored: Option<i64>) -> Result<i64, SourceError> {
        let (low, high) = self
            .consumer
            .fetch_watermarks(&self.topic, partition, REQUEST_TIMEOUT)
            .map_err(|error| self.retry(&error))?;
        let offset = match (stored, self.config.start) {
            (None, Start::Beginning) => low,
            (None, Start::End) => high,
            (Some(offset), _) => offset,
        };
        let lane = Lane::new(Arc::clone(&self.topic), partition);
        if offset > high {
            let since = *{ self.beyond_since.entry(partition) }.or_insert_with(Instant::now);
            if since.elapsed() < FAILOVER_PATIENCE {
                return Err(Trouble::Passing(format!(
                    "{lane}: the sink is at offset {offset} and the topic ends at {high}: looking \
                     again, in case a new leader is catching up"
                ))
                .into());
            }
            return Err(SourceError::Fatal(format!(
                "{lane}: the sink is at offset {offset} and the topic ends at {high}: the topic \
                 was recreated or truncated; delete the sink's position of it to count it from \
                 the beginning, or use another pipeline name"
            )));
        }
        self.beyond_since.remove(&partition);
        if offset < low {
            return Err(SourceError::Fatal(format!(
                "{lane}: {} records were deleted by retention before they were counted (the sink \
                 is at offset {offset}, the topic begins at {low}); set the sink's position to \
                 {low} to go on without them, and raise the topic's retention.ms",
                low - offset
            )));
        }
        self.config.stats.set_lag(partition, high - offset);
        Ok(offset)
    }

    fn explain(&self, cause: impl Into<Cause>) -> Trouble {
        let doing = Doing::Read {
            topic: &self.topic,
            group: Some(&self.config.group),
        };
        doing.explain(cause, &self.config.kafka)
    }

    fn retry(&self, error: &KafkaError) -> SourceError {
        self.explain(
            error
                .rdkafka_error_code()
                .unwrap_or(Code::OperationTimedOut),
        )
        .into()
    }

    fn failed(&mut self, error: &KafkaError) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        if code == Code::AutoOffsetReset || code == Code::OffsetOutOfRange {
            return self.out_of_range();
        }
        // The leg shows what is awaited; a login that was refused explains why all are down.
        let refusal = self
            .consumer
            .context()
            .trouble()
            .filter(|it| it.is_refusal());
        let mut trouble = self.explain(refusal.unwrap_or(code.into()));
        if let KafkaError::MessageConsumptionFatal(code) = error {
            trouble = Trouble::Lasting(format!("reading `{}`: {code}", self.topic));
        }
        match &trouble {
            // One broker of several went away: the others go on, librdkafka comes back to it.
            Trouble::Passing(reason)
                if matches!(code, Code::BrokerTransportFailure | Code::SSL) =>
            {
                return tracing::debug!(reason, "a broker went away");
            }
            Trouble::Passing(_) => self.trouble = Some(Instant::now()),
            Trouble::Lasting(_) => {}
        }
        self.queue.push(Err(trouble.into()));
        // What comes back under the name may be another topic: nothing of it is handed out before
        // the leg has asked.
        if matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic) {
            let open = self.lanes.iter().filter(|(_, lane)| lane.is_some());
            let open: Vec<i32> = open.map(|(partition, _)| *partition).collect();
            open.into_iter()
                .for_each(|partition| self.resume_anew(partition));
        }
    }

    /// A fetch was refused: say of which partition, and why.
    fn out_of_range(&mut self) {
        let open: Vec<(i32, i64)> = self
            .lanes
            .iter()
            .filter_map(|(partition, lane)| Some((*partition, lane.as_ref()?.next())))
            .collect();
        for (partition, next) in open {
            // Not just told: the leg must send the partition somewhere else, or end.
            match self.check(partition, Some(next)) {
                Err(SourceError::Fatal(reason)) => {
                    self.queue.push(Err(SourceError::Fatal(reason)));
                }
                _ => {
                    // A leader that was catching up: librdkafka has stopped fetching.
                    self.resume_anew(partition);
                }
            }
        }
    }

    /// After a trouble was reported: once a broker answers again, an empty batch tells the leg.
    fn probe(&mut self) {
        if self
            .trouble
            .is_none_or(|asked| asked.elapsed() < PROBE_INTERVAL)
        {
            return;
        }
        self.trouble = Some(Instant::now());
        let answer = self
            .consumer
            .fetch_metadata(Some(&self.topic), Duration::from_millis(500));
        let there = answer.is_ok_and(|metadata| {
            metadata
                .topics()
                .iter()
                .any(|topic| topic.error().is_none())
        });
        if there && let Some(lane) = self.lanes.values().flatten().next() {
            self.trouble = None;
            self.queue.push(Ok(SourceEvent::Batch(lane.nothing())));
        }
    }

    /// Commit to the group what the sink has: for lag tools, so errors do not matter.
    fn commit(&mut self, mode: CommitMode, interval: Duration) {
        if self.committed_at.elapsed() < interval {
            return;
        }
        self.committed_at = Instant::now();
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in self.queue.take_commits() {
            if self.lanes.contains_key(&partition) {
                let offset = Offset::Offset(offset);
                // Only a negative offset is refused, and no position is.
                let _ = offsets.add_partition_offset(&self.topic, partition, offset);
            }
        }
        if offsets.count() > 0
            && let Err(error) = self.consumer.commit(&offsets, mode)
        {
            tracing::debug!(%error, topic = &*self.topic, "the group's offsets were not committed");
        }
    }

    fn close(mut self, closing: Option<oneshot::Sender<()>>, commands: &Receiver<Command>) {
        self.commit(CommitMode::Async, Duration::ZERO);
        // Leaves the group, and commits before.
        drop(self.consumer);
        // The queue is closed before the command is sent: it may have come meanwhile.
        let late = commands.try_iter().find_map(|command| match command {
            Command::Close { reply } => Some(reply),
            Command::Resume { .. } | Command::TopicId { .. } => None,
        });
        if let Some(reply) = closing.or(late) {
            let _ = reply.send(());
        }
    }
}
