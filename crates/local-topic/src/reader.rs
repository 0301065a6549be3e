//! An embedded topic as a source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use gristmill_flow::{LegStats, Source, SourceError, SourceEvent};
use gristmill_record::{Batch, Lane, Position, Positions};
use tokio::sync::watch;

use crate::log::{Slice, Topic};
use crate::{LocalError, LocalLog};

/// What a [`LocalReader`] reads, and how much at once.
#[derive(Debug, Clone)]
pub struct ReaderConfig {
    /// The topic; it must exist.
    pub topic: String,
    /// Only these partitions; `None` for all.
    pub partitions: Option<Vec<u32>>,
    /// This one (from 0) of so many readers that share the partitions.
    pub share: (u32, u32),
    /// Where partitions start that the sink has no position for.
    pub start: Start,
    /// Most records in a batch.
    pub records_max: usize,
    /// A batch is closed once its records hold this many bytes.
    pub bytes_max: usize,
    /// Told the lag of each partition, and how many there are to share.
    pub stats: Arc<LegStats>,
}

/// Where a partition starts that has never been read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// At its first record.
    #[default]
    Beginning,
    /// After what it holds when the reader starts.
    End,
    /// At this offset.
    Offset(i64),
}

impl ReaderConfig {
    /// All of `topic`, in batches of up to 2,048 records and about 1 MiB.
    pub fn new(topic: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            partitions: None,
            share: (0, 1),
            start: Start::Beginning,
            records_max: 2048,
            bytes_max: 1 << 20,
            stats: Arc::default(),
        }
    }
}

/// Reads the partitions of an embedded topic, or its share of them, and waits for more.
#[derive(Debug)]
pub struct LocalReader {
    log: LocalLog,
    config: ReaderConfig,
    name: Arc<str>,
    topic: Topic,
    commits: watch::Receiver<u64>,
    assigned: bool,
    /// The next offset of each partition that was resumed.
    at: BTreeMap<u32, i64>,
    /// The partition that is looked at first, so that none starves.
    turn: u32,
}

impl LocalReader {
    /// A reader of a topic of `log`.
    ///
    /// # Errors
    /// [`LocalError::Unknown`] if the topic does not exist, [`LocalError::Storage`].
    pub fn new(log: LocalLog, config: ReaderConfig) -> Result<Self, LocalError> {
        Ok(Self {
            topic: log.existing(&config.topic)?,
            name: config.topic.as_str().into(),
            commits: log.commits(),
            log,
            config,
            assigned: false,
            at: BTreeMap::new(),
            turn: 0,
        })
    }

    /// The partitions that are this reader's, and how many all readers have.
    fn share(&self) -> (Vec<Lane>, usize) {
        let asked = |partition: &u32| match &self.config.partitions {
            Some(partitions) => partitions.contains(partition),
            None => true,
        };
        let all: Vec<u32> = (0..self.topic.partitions).filter(asked).collect();
        let (index, of) = self.config.share;
        let ours = all.iter().skip(index as usize).step_by(of.max(1) as usize);
        (
            ours.map(|partition| self.lane(*partition)).collect(),
            all.len(),
        )
    }

    fn lane(&self, partition: u32) -> Lane {
        Lane::new(self.name.clone(), partition as i32)
    }

    /// The next batch that is there. Changes no state before its only await is over, so that a
    /// dropped call loses nothing.
    async fn poll(&mut self) -> Result<Option<Batch>, SourceError> {
        let (log, topic, turn) = (self.log.clone(), self.topic, self.turn);
        let (records_max, bytes_max) = (self.config.records_max.max(1), self.config.bytes_max);
        let at = self.at.clone();
        let found = blocking(move || {
            let txn = log.begin_read()?;
            let order = (0..topic.partitions).map(|i| (turn + i) % topic.partitions);
            for (partition, offset) in order.filter_map(|p| Some((p, *at.get(&p)?))) {
                let slice =
                    log.slice(&txn, (topic.id, partition), offset, records_max, bytes_max)?;
                if !slice.records.is_empty() {
                    return Ok(Some((partition, offset, slice)));
                }
            }
            Ok(None)
        });
        let Some((partition, from, slice)) = found.await? else {
            return Ok(None);
        };
        let Slice { records, next, end } = slice;
        self.at.insert(partition, next);
        self.turn = (partition + 1) % topic.partitions;
        self.config.stats.set_lag(partition as i32, end - next);
        Ok(Some(Batch {
            lane: self.lane(partition),
            from: Some(Position::Offset(from)),
            next: Position::Offset(next),
            records,
            rejects: Vec::new(),
        }))
    }

    fn start(&self, lane: &Lane, from: Option<&Position>, end: i64) -> Result<i64, SourceError> {
        let offset = match from {
            Some(Position::Offset(offset)) => *offset,
            Some(Position::Token(token)) => {
                return Err(SourceError::Fatal(format!(
                    "{lane}: the stored position `{token}` is no offset"
                )));
            }
            None => match self.config.start {
                Start::Beginning => 0,
                Start::End => end,
                Start::Offset(offset) => offset,
            },
        };
        if (0..=end).contains(&offset) {
            return Ok(offset);
        }
        let lane = lane.to_string();
        Err(fatal(LocalError::OutOfRange { lane, offset, end }))
    }
}

impl Source for LocalReader {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        if !self.assigned {
            self.assigned = true;
            let (lanes, all) = self.share();
            self.config.stats.partitions.store(all as u64, Relaxed);
            return Ok(SourceEvent::Assigned(lanes));
        }
        loop {
            // Marked as seen before looking: a commit in between wakes the wait below.
            self.commits.borrow_and_update();
            if let Some(batch) = self.poll().await? {
                return Ok(SourceEvent::Batch(batch));
            }
            if self.commits.changed().await.is_err() {
                return Ok(SourceEvent::End);
            }
        }
    }

    async fn resume(&mut self, lanes: &[Lane], from: &Positions) -> Result<(), SourceError> {
        let (log, topic) = (self.log.clone(), self.topic);
        let ends = blocking(move || {
            log.read_with(|txn| {
                (0..topic.partitions)
                    .map(|partition| crate::log::end(txn, topic.id, partition))
                    .collect::<Result<Vec<i64>, _>>()
            })
        });
        let ends = ends.await?;
        for lane in lanes {
            let partition = lane.partition as u32;
            let end = ends.get(partition as usize).copied();
            let Some(end) = end.filter(|_| lane.topic == self.name) else {
                let reason = format!("{lane}: no partition of {}", self.name);
                return Err(SourceError::Fatal(reason));
            };
            let offset = self.start(lane, from.get(lane), end)?;
            self.at.insert(partition, offset);
            self.config.stats.set_lag(lane.partition, end - offset);
        }
        Ok(())
    }

    fn committed(&mut self, _lane: &Lane, _next: &Position) {}

    async fn close(&mut self) {}
}

/// Run what waits for the disk on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocalError> + Send + 'static,
) -> Result<T, SourceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(fatal),
        Err(error) => Err(SourceError::Fatal(format!("embedded topics: {error}"))),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn fatal(error: LocalError) -> SourceError {
    SourceError::Fatal(error.to_string())
}
