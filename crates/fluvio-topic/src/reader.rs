//! A topic as a source.
//!
//! ```text
//! a task a partition: stream fetch ─▶ batches ─▶ bounded queue ─▶ next
//! a task: how many partitions are there now? ─▶ Assigned
//! ```
//!
//! Fluvio has no consumer groups: which partitions are a reader's is said by its configuration. Two that
//! read one partition for one sink are told apart by the sink.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fluvio_protocol::link::ErrorCode;
use futures_util::StreamExt;
use gristmill_flow::{LegStats, Source, SourceError, SourceEvent};
use gristmill_record::{Batch, Lane, Position, Positions, Records};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::FluvioConfig;
use crate::cluster::{Cluster, Stream, unreadable};
use crate::codec::decode;
use crate::error::{RETRY_AFTER, Trouble};
use crate::letter::unpack;

/// Events that are read ahead.
const QUEUE: usize = 4;
/// How often the cluster is asked for new partitions.
const SURVEY_EVERY: Duration = Duration::from_secs(10);
/// After so long without a record the SPU is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(20);
/// A partition's new leader may take so long to have what the old one had.
const CATCH_UP: Duration = Duration::from_secs(5);

/// What a [`FluvioReader`] reads, and how much at once.
#[derive(Debug, Clone)]
pub struct ReaderConfig {
    /// The cluster.
    pub fluvio: FluvioConfig,
    /// The topic.
    pub topic: String,
    /// Only these partitions; `None` for all.
    pub partitions: Option<Vec<i32>>,
    /// This one (from 0) of so many readers that share the partitions.
    pub share: (u32, u32),
    /// Where partitions start that the sink has no position for.
    pub start: Start,
    /// Most records in a batch.
    pub records_max: usize,
    /// A batch is closed once its records hold this many bytes.
    pub bytes_max: usize,
    /// Give dead letters as they are on Kafka: the refused record, with headers.
    pub letters: bool,
    /// Told the lag of each partition, and how many there are to share.
    pub stats: Arc<LegStats>,
}

/// Where a partition starts that has never been read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// At its first record.
    #[default]
    Beginning,
    /// After what it holds when the reader gets it.
    End,
}

impl ReaderConfig {
    /// All of `topic`, in batches of up to 2,048 records and about 1 MiB.
    pub fn new(fluvio: FluvioConfig, topic: impl Into<String>) -> Self {
        Self {
            fluvio,
            topic: topic.into(),
            partitions: None,
            share: (0, 1),
            start: Start::Beginning,
            records_max: 2048,
            bytes_max: 1 << 20,
            letters: false,
            stats: Arc::default(),
        }
    }

    /// Whether `partition` is this reader's, by its place among those that are shared.
    fn is_ours(&self, partition: i32) -> bool {
        let place = match &self.partitions {
            None => u32::try_from(partition).ok(),
            Some(named) => named
                .iter()
                .position(|named| *named == partition)
                .map(|place| place as u32),
        };
        let (index, of) = self.share;
        place.is_some_and(|place| place % of.max(1) == index)
    }
}

/// Reads the partitions of a topic, or its share of them, and waits for more.
pub struct FluvioReader {
    config: Arc<ReaderConfig>,
    name: Arc<str>,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    survey: Option<AbortOnDropHandle<()>>,
    /// Partitions that were handed out.
    known: i32,
    reading: BTreeMap<i32, Reading>,
    /// Counts resumptions: what was read for an earlier one is dropped.
    turn: u64,
}

/// A partition that is being read.
struct Reading {
    turn: u64,
    _task: AbortOnDropHandle<()>,
}

enum Event {
    /// The topic has so many partitions, or cannot be found.
    Partitions(Result<i32, SourceError>),
    Read {
        turn: u64,
        batch: Batch,
        /// Behind the last committed record.
        end: i64,
    },
    Failed {
        turn: u64,
        partition: i32,
        error: SourceError,
    },
}

impl FluvioReader {
    /// Connects on first use.
    pub fn new(config: ReaderConfig) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        Self {
            name: config.topic.as_str().into(),
            config: Arc::new(config),
            events,
            sender,
            survey: None,
            known: 0,
            reading: BTreeMap::new(),
            turn: 0,
        }
    }

    /// The partitions that came since the last time, of these ours.
    fn assign(&mut self, partitions: i32) -> Option<SourceEvent> {
        let shared = |partition: &i32| match &self.config.partitions {
            Some(named) => named.contains(partition),
            None => true,
        };
        let all = (0..partitions).filter(shared).count() as u64;
        self.config.stats.partitions.store(all, Relaxed);
        let is_first = self.known == 0;
        let fresh = self.known..partitions;
        self.known = self.known.max(partitions);
        let ours = fresh.filter(|partition| self.config.is_ours(*partition));
        let lanes: Vec<Lane> = ours
            .map(|number| Lane::new(self.name.clone(), number))
            .collect();
        (is_first || !lanes.is_empty()).then_some(SourceEvent::Assigned(lanes))
    }

    /// What `event` means to the leg; nothing if it is of an earlier turn.
    fn take(&mut self, event: Event) -> Result<Option<SourceEvent>, SourceError> {
        let is_current = |partition: i32, turn: u64| {
            let reading = self.reading.get(&partition);
            reading.is_some_and(|reading| reading.turn == turn)
        };
        match event {
            Event::Partitions(Ok(partitions)) => Ok(self.assign(partitions)),
            Event::Partitions(Err(error)) => Err(error),
            Event::Read { turn, batch, end } if is_current(batch.lane.partition, turn) => {
                let next = batch.next.offset().unwrap_or(end);
                let partition = batch.lane.partition;
                self.config.stats.set_lag(partition, (end - next).max(0));
                Ok(Some(SourceEvent::Batch(batch)))
            }
            Event::Failed {
                turn,
                partition,
                error,
            } if is_current(partition, turn) => Err(error),
            Event::Read { .. } | Event::Failed { .. } => Ok(None),
        }
    }
}

impl Source for FluvioReader {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        if self.survey.is_none() {
            let task = survey(self.config.clone(), self.sender.clone());
            self.survey = Some(AbortOnDropHandle::new(tokio::spawn(task)));
        }
        loop {
            let Some(event) = self.events.recv().await else {
                return Ok(SourceEvent::End);
            };
            if let Some(event) = self.take(event)? {
                return Ok(event);
            }
        }
    }

    fn reads_ahead(&self) -> bool {
        true
    }

    async fn resume(&mut self, lanes: &[Lane], from: &Positions) -> Result<(), SourceError> {
        let mut cluster = Cluster::connect(&self.config.fluvio).await?;
        for lane in lanes {
            let partition = u32::try_from(lane.partition).ok();
            let partition = partition.filter(|_| lane.topic == self.name);
            let Some(partition) = partition else {
                let reason = format!("{lane}: no partition of {}", self.name);
                return Err(SourceError::Fatal(reason));
            };
            let there = cluster.offsets(&lane.topic, partition).await?;
            let at = match (from.get(lane), self.config.start) {
                (Some(Position::Offset(offset)), _) => *offset,
                (Some(position), _) => {
                    let reason = format!("{lane}: stored position `{position}` is no offset");
                    return Err(SourceError::Fatal(reason));
                }
                (None, Start::Beginning) => there.start,
                (None, Start::End) => there.end,
            };
            self.turn += 1;
            let behind = (there.end - at).max(0);
            self.config.stats.set_lag(lane.partition, behind);
            let task = read(
                self.config.clone(),
                (lane.clone(), partition),
                at,
                (self.turn, self.sender.clone()),
            );
            let reading = Reading {
                turn: self.turn,
                _task: AbortOnDropHandle::new(tokio::spawn(task)),
            };
            self.reading.insert(lane.partition, reading);
        }
        Ok(())
    }

    fn committed(&mut self, _lane: &Lane, _next: &Position) {}

    async fn close(&mut self) {
        self.reading.clear();
        self.survey = None;
    }
}

/// Tell how many partitions there are, again and again. A cluster that does not answer is told once the
/// reader has nothing yet; later its partitions' readers tell it.
async fn survey(config: Arc<ReaderConfig>, sender: mpsc::Sender<Event>) {
    let mut known = None;
    loop {
        let found = match Cluster::connect(&config.fluvio).await {
            Ok(cluster) => cluster.partitions(&config.topic),
            Err(error) => Err(error),
        };
        let found = found.map(|partitions| i32::try_from(partitions).unwrap_or(i32::MAX));
        let wait = if found.is_ok() || known.is_some() {
            SURVEY_EVERY
        } else {
            RETRY_AFTER
        };
        let is_news = match &found {
            Ok(partitions) => known.replace(*partitions) != Some(*partitions),
            Err(_) => known.is_none(),
        };
        let event = Event::Partitions(found.map_err(Into::into));
        if is_news && sender.send(event).await.is_err() {
            return;
        }
        tokio::time::sleep(wait).await;
    }
}

/// Read a partition from `at` on until nobody wants it, or it cannot be read any more.
async fn read(
    config: Arc<ReaderConfig>,
    (lane, partition): (Lane, u32),
    mut at: i64,
    (turn, sender): (u64, mpsc::Sender<Event>),
) {
    let mut beyond_since = None;
    loop {
        let reader = Partition {
            config: &config,
            lane: &lane,
            partition,
            turn,
            sender: &sender,
        };
        let before = at;
        let error = match reader.stream(&mut at, &mut beyond_since).await {
            Ok(()) => return,
            Err(error) => SourceError::from(error),
        };
        let is_fatal = matches!(error, SourceError::Fatal(_));
        let event = Event::Failed {
            turn,
            partition: lane.partition,
            error,
        };
        if sender.send(event).await.is_err() || is_fatal {
            return;
        }
        if before == at {
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}

/// One partition, and where to put what is in it.
struct Partition<'a> {
    config: &'a ReaderConfig,
    lane: &'a Lane,
    partition: u32,
    turn: u64,
    sender: &'a mpsc::Sender<Event>,
}

impl Partition<'_> {
    /// Read over one connection from `at` on. `Ok` when nobody wants it any more.
    async fn stream(
        &self,
        at: &mut i64,
        beyond_since: &mut Option<tokio::time::Instant>,
    ) -> Result<(), Trouble> {
        let name = (&*self.lane.topic, self.partition);
        let mut cluster = Cluster::connect(&self.config.fluvio).await?;
        let there = cluster.offsets(name.0, name.1).await?;
        self.check(*at, (there.start, there.end), beyond_since)?;
        let mut stream = cluster.stream(name.0, name.1, *at).await?;
        loop {
            let Some(response) = self.answer(&mut cluster, &mut stream).await? else {
                continue;
            };
            let found = response.partition;
            match &found.error_code {
                ErrorCode::None => {}
                ErrorCode::OffsetEvicted { next_available, .. } => {
                    return Err(self.deleted(*at, *next_available));
                }
                code => return Err(Trouble::told(code, &self.lane.to_string())),
            }
            let (mut records, mut next) = (Records::default(), *at);
            for batch in &found.records.batches {
                let end = decode(batch, *at, &mut records);
                let broken = |reason| Trouble::Lasting(format!("{}: {reason}", self.lane));
                next = end.map_err(broken)?.max(next);
            }
            if next == *at && found.high_watermark > *at {
                return Err(unreadable(name, *at, found.high_watermark));
            }
            let end = found.high_watermark.max(next);
            if !self.hand_on(&records, (at, next), end).await {
                return Ok(());
            }
            // Only now: the SPU sends no more before, so what is read ahead is bounded.
            cluster.read_up_to(name, response.stream_id, next).await?;
        }
    }

    /// What the stream gives next; `None` if it is silent and its SPU is there.
    async fn answer(
        &self,
        cluster: &mut Cluster,
        stream: &mut Stream,
    ) -> Result<Option<Response>, Trouble> {
        let at = &self.config.fluvio.endpoint;
        match tokio::time::timeout(SILENCE, stream.next()).await {
            Ok(Some(Ok(response))) => Ok(Some(response)),
            Ok(Some(Err(error))) => Err(Trouble::socket(&error, at)),
            Ok(None) => Err(Trouble::Passing(format!(
                "{}: the cluster at {at} closed the connection",
                self.lane
            ))),
            Err(_) => {
                let there = cluster.offsets(&self.lane.topic, self.partition);
                there.await.map(|_| None)
            }
        }
    }

    /// Whether the partition goes on at `at`.
    fn check(
        &self,
        at: i64,
        (start, end): (i64, i64),
        beyond_since: &mut Option<tokio::time::Instant>,
    ) -> Result<(), Trouble> {
        if at < start {
            return Err(self.deleted(at, start));
        }
        if at <= end {
            *beyond_since = None;
            return Ok(());
        }
        let lane = self.lane;
        let since = *beyond_since.get_or_insert_with(tokio::time::Instant::now);
        if since.elapsed() < CATCH_UP {
            return Err(Trouble::Passing(format!(
                "{lane}: its leader ends at {end}, before the position {at}"
            )));
        }
        Err(Trouble::Lasting(format!(
            "{lane} ends at offset {end}, before the position {at}: the topic was recreated or truncated; \
             delete the sink's position to read it from its start"
        )))
    }

    fn deleted(&self, at: i64, start: i64) -> Trouble {
        Trouble::Lasting(format!(
            "{}: {} records, from offset {at} on, were deleted by the topic's retention before they were \
             read: give the topic a longer one, and delete the sink's position to go on at offset {start}",
            self.lane,
            start - at
        ))
    }

    /// Put `records` into the queue in batches that are not too large. False if nobody wants them.
    async fn hand_on(&self, records: &Records, (at, next): (&mut i64, i64), end: i64) -> bool {
        let mut rest = records.iter().peekable();
        while *at < next {
            let mut batch = Batch::empty(
                self.lane.clone(),
                Some(Position::Offset(*at)),
                Position::Offset(next),
            );
            while let Some(record) = rest.next() {
                match self.config.letters {
                    true => unpack(&record, &mut batch.records),
                    false => batch.records.push(record),
                }
                let is_full = batch.records.len() >= self.config.records_max.max(1)
                    || batch.records.bytes() >= self.config.bytes_max;
                if is_full && let Some(following) = rest.peek() {
                    batch.next = Position::Offset(following.offset);
                    break;
                }
            }
            let reached = batch.next.offset().unwrap_or(next);
            let event = Event::Read {
                turn: self.turn,
                batch,
                end,
            };
            if self.sender.send(event).await.is_err() {
                return false;
            }
            *at = reached;
        }
        true
    }
}

type Response = fluvio_spu_schema::server::stream_fetch::DefaultStreamFetchResponse;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_that_share_a_topic_have_each_partition_once() {
        let fluvio = FluvioConfig {
            endpoint: String::new(),
            client_id: String::new(),
        };
        for partitions in [None, Some(vec![6, 1, 4])] {
            let mut all = Vec::new();
            for index in 0..3 {
                let config = ReaderConfig {
                    partitions: partitions.clone(),
                    share: (index, 3),
                    ..ReaderConfig::new(fluvio.clone(), "t")
                };
                all.extend((0..8).filter(|partition| config.is_ours(*partition)));
            }
            all.sort_unstable();
            assert_eq!(all, partitions.map_or((0..8).collect(), |_| vec![1, 4, 6]));
        }
    }
}
